import type { Contract } from './contract.ts';
import type { Digest } from './digest.ts';
import type { MaterialType, RunnerType } from './names.ts';

/** What a run is about, as the control plane (or, in a dry run, the command line) says. */
export type RunIdentity = {
  readonly organization: string;
  readonly project: string;
  readonly team: string;
  readonly workflowId: string;
  readonly workflowName: string;
  /** Empty in a dry run. */
  readonly runId: string;
  readonly contractName: string;
  readonly contractRevision: number;
};

/** One piece of evidence, measured. STRING has `value`; the others have `digest`. */
export type CraftedMaterial = {
  readonly name: string;
  readonly type: MaterialType;
  readonly digest?: Digest | undefined;
  /** STRING: the text itself. */
  readonly value?: string | undefined;
  /** File kinds: base name. CONTAINER_IMAGE: repository, without tag and digest. */
  readonly fileName?: string | undefined;
  readonly sizeBytes?: number | undefined;
  /** True when the bytes are in the organization's storage. */
  readonly uploaded: boolean;
  /** CONTAINER_IMAGE: the tag that was resolved, if the reference had one. */
  readonly tag?: string | undefined;
  /** CONTAINER_IMAGE: the OCI layout folder that it was found in, absolute. Of this machine, so it is in no statement, and never sent. */
  readonly layout?: string | undefined;
  readonly annotations: Readonly<Record<string, string>>;
};

/** Where the run takes place: who says so is in `authenticated` (false: only the client). */
export type RunnerContext = {
  /** Absent when no CI system was recognised. */
  readonly type?: RunnerType | undefined;
  readonly url?: string | undefined;
  readonly environment?: string | undefined;
  readonly workflowFilePath?: string | undefined;
  readonly authenticated: boolean;
};

/** The commit that the workspace is at. Remote URLs carry no credentials. */
export type GitHead = {
  readonly commit: string;
  readonly authorName?: string | undefined;
  readonly authorEmail?: string | undefined;
  readonly date?: string | undefined;
  readonly message?: string | undefined;
  /** Of a merge commit only: a pull request of GitHub is built on one, and its second parent is the commit that was proposed. */
  readonly parents?: readonly string[] | undefined;
  readonly remotes: readonly { readonly name: string; readonly url: string }[];
};

/** What `init` fixes for the whole attestation. Never changes afterwards. */
export type CraftingStart = {
  readonly version: 1;
  readonly identity: RunIdentity;
  readonly contract: Contract;
  readonly runner: RunnerContext;
  readonly env: Readonly<Record<string, string>>;
  readonly head?: GitHead | undefined;
  readonly initializedAt: string;
  readonly dryRun: boolean;
  /** The origin of the control plane; empty in a dry run. */
  readonly controlPlane: string;
  readonly annotations: Readonly<Record<string, string>>;
};

/** A crafting in progress: its start, and the materials so far, one for each name. */
export type Crafting = {
  readonly start: CraftingStart;
  readonly materials: readonly CraftedMaterial[];
  /** Several jobs share it: which of them brought a material, by its name. */
  readonly jobs?: Readonly<Record<string, string>> | undefined;
  /** Several jobs share it, and no `init` has fixed variables, commit and annotations yet: `start` is without them. */
  readonly provisional?: boolean | undefined;
};

/** What a material is, as people read it: the text of a STRING, else `name@sha256:…`. */
export function materialValue(material: CraftedMaterial): string {
  return material.digest === undefined ? (material.value ?? '') : `${material.fileName ?? material.name}@${material.digest}`;
}
