import { type Attachment, attachError } from '../core/attestation/attachment.ts';
import type { ContractMaterial } from '../core/contract.ts';
import type { CraftedMaterial, Crafting } from '../core/crafting.ts';
import type { Digest } from '../core/digest.ts';
import type { ChainloopError, ErrorCode } from '../core/errors.ts';
import type { Summary } from '../core/material/document.ts';
import type { Command } from './inputs.ts';

/**
 * How a step ended, as its output `status` says it. `passed`: the control plane has accepted the attestation. `open`: it goes on. `violations`:
 * the contract is not satisfied. `deferred`: the control plane did not answer, and nothing is recorded.
 */
export const statuses = ['passed', 'violations', 'failed', 'deferred', 'skipped', 'dry-run', 'open', 'cancelled'] as const;
export type Status = (typeof statuses)[number];

/** All that a step found out, as far as it came. */
export type Outcome = {
  readonly command: Command;
  readonly status: Status;
  /** Why it is not `passed` or `open`; or, with `passed`, that the attestation was not attached to every image. */
  readonly error?: ChainloopError | undefined;
  /** Why it was skipped. */
  readonly reason?: string | undefined;
  readonly found: Found;
};

/** What is known of the attestation. Grows while the step runs, so that a failure can still show it. */
export type Found = {
  crafting?: Crafting;
  controlPlane?: string;
  /** Which job brought a material, by its name. */
  readonly jobs: Map<string, string>;
  /** A few facts about a material, for people. */
  readonly summaries: Map<string, Summary>;
  /** What is wrong with a material, by its name. */
  readonly wrong: Map<string, string>;
  /** The materials that this step was given. */
  given: readonly string[];
  /** The paths that were given, by the name of their material. */
  readonly paths: Map<string, string>;
  signer?: string;
  /** Where the repository of this CI run is: a reusable workflow signs for others too. */
  repository?: string;
  digest?: Digest;
  bundlePath?: string;
  /** What became of the container images, when it was to be attached to them. */
  attachments?: readonly Attachment[];
};

export function nothingFound(): Found {
  return { given: [], jobs: new Map(), summaries: new Map(), wrong: new Map(), paths: new Map() };
}

/** A step that came to its end. */
export function finished(command: Command, status: Status, found: Found): Outcome {
  const bundle = found.bundlePath ?? 'FILE';
  const error = attachError(found.attachments ?? [], `attach it later with: chainloop attestation attach --bundle ${bundle}`);
  return { command, status, found, ...(error !== undefined && { error }) };
}

/** The evidence is not what the contract wants. */
const violations: ReadonlySet<ErrorCode> = new Set([
  'CONTRACT_NOT_SATISFIED',
  'RUNNER_MISMATCH',
  'MATERIAL_UNKNOWN',
  'MATERIAL_KIND_MISMATCH',
  'MATERIAL_INVALID',
  'POLICY_NOT_SATISFIED',
]);

export function isViolation(error: ChainloopError): boolean {
  return violations.has(error.code);
}

/** The materials that the contract requires and nobody brought; of a group, each of its members. */
export function missing({ start, materials }: Crafting): readonly ContractMaterial[] {
  const names = new Set(materials.map(({ name }) => name));
  const groups = new Set(start.contract.materials.filter(({ name }) => names.has(name)).map(({ group }) => group));
  return start.contract.materials.filter(
    ({ name, optional, group }) => !names.has(name) && (group === undefined ? !optional : !groups.has(group)),
  );
}

/** Of those, what this step did not bring either; what is wrong with it counts as not brought. */
export function unbrought({ crafting, given, wrong }: Found): readonly ContractMaterial[] {
  return crafting === undefined ? [] : missing(crafting).filter(({ name }) => !given.includes(name) || wrong.has(name));
}

/** The materials that the attestation is about. */
export function subjects({ start, materials }: Crafting): readonly CraftedMaterial[] {
  const outputs = new Set(start.contract.materials.filter(({ output }) => output).map(({ name }) => name));
  return materials.filter(({ name, digest }) => outputs.has(name) && digest !== undefined);
}

/** `release@3`. */
export function contractLabel({ start: { identity } }: Crafting): string {
  return identity.contractRevision === 0 ? identity.contractName : `${identity.contractName}@${identity.contractRevision}`;
}

/** Who brought a material, as the control plane says it: `'build (arm64)' (id 88001, attempt 1)`. The name is the job's own word. */
export function jobOf(label: string): { readonly name: string; readonly attempt?: number } {
  const [, name = label, attempt] = /^'(.*)' \((?:id \d+)?(?:, )?(?:attempt (\d+))?\)$/s.exec(label) ?? [];
  return { name, ...(attempt === undefined ? {} : { attempt: Number(attempt) }) };
}

/** `build (arm64), attempt 1`. */
export function jobText(label: string): string {
  const { name, attempt } = jobOf(label);
  return attempt === undefined ? name : `${name}, attempt ${attempt}`;
}
