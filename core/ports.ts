import type { TransparencyLogEntry } from './bundle.ts';
import type { Contract, SigningWay } from './contract.ts';
import type { CraftedMaterial, Crafting, CraftingStart, GitHead, RunnerContext } from './crafting.ts';
import type { Digest } from './digest.ts';

/**
 * What a crafting run needs from the control plane. Every call may be repeated: `init` by its idempotency key, `push` by the bytes
 * of the bundle. Implementations retry what is worth it (unreachable, 429, 503) within a time budget; callers do not. Errors are
 * ChainloopError with the server's code, or CONTROL_PLANE_UNREACHABLE.
 */
export type ControlPlane = {
  init(request: InitRequest): Promise<InitAnswer>;
  push(request: { readonly runId: string; readonly bundle: string }): Promise<PushAnswer>;
  /** Records what was brought to an open run: where it will not be pushed, nothing else says so. */
  bring(request: { readonly runId: string; readonly material: CraftedMaterial }): Promise<void>;
  /** Ends a run that will not be pushed. */
  end(request: { readonly runId: string; readonly state: 'failed' | 'cancelled'; readonly reason: string }): Promise<void>;
};

export type InitRequest = {
  readonly workflow?: string | undefined;
  readonly project?: string | undefined;
  readonly contractRevision?: number | undefined;
  readonly runner: RunnerContext;
  /** The same key gives the same run: a repeated init does not open a second one. */
  readonly idempotencyKey: string;
};

export type InitAnswer = {
  readonly runId: string;
  readonly organization: string;
  readonly project: string;
  readonly team: string;
  readonly workflowId: string;
  readonly workflowName: string;
  readonly contractName: string;
  readonly contractRevision: number;
  readonly contract: Contract;
  readonly initializedAt: string;
  readonly expiresAt: string;
  /** As the control plane recorded it, and the statement must say it: from verified claims (`authenticated`), or what the job said. */
  readonly runner: RunnerContext;
  /** The run has several jobs: its materials are kept by the control plane, not by one job. */
  readonly collected: boolean;
};

export type PushAnswer = { readonly runId: string; readonly digest: Digest; readonly state: 'success' };

/** The place that evidence is uploaded to. Content is verified on both ends; an upload that returns is durable. */
export type EvidenceStore = {
  /** Uploads a file, unless its digest is there already. Hashes it in the same pass; `expected` is checked when given. */
  upload(file: EvidenceFile): Promise<{ readonly digest: Digest; readonly sizeBytes: number; readonly existed: boolean }>;
};

/** A file that was opened once: what is hashed, checked and sent is the same inode, and a change in between is FILE_CHANGED. */
export type EvidenceFile = {
  readonly fileName: string;
  readonly sizeBytes: number;
  readonly mediaType: string;
  /** The digest, in one pass over the file with constant memory. Computed once. */
  digest(): Promise<Digest>;
  /** The bytes from `offset` to the end. May be called again for a retry. A piece is valid until the next one is asked for. */
  read(offset?: number): AsyncIterable<Uint8Array>;
  /** Throws FILE_CHANGED when the file is not what it was at opening. */
  assertUnchanged(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Opens a path. FILE_NOT_FOUND, FILE_UNREADABLE (directories, devices), FILE_EMPTY. */
export type Files = { open(path: string, mediaType?: string): Promise<EvidenceFile> };

/** Resolves an image reference to the digest that its registry, or an OCI layout directory, has for it now. */
export type ImageResolver = {
  resolve(reference: string): Promise<{
    readonly repository: string;
    readonly tag?: string | undefined;
    readonly digest: Digest;
    readonly mediaType: string;
    /** The OCI layout folder that it is in, absolute. */
    readonly layout?: string | undefined;
  }>;
};

/**
 * Puts a signed bundle on a container image as an OCI referrer, in the image's own repository or layout. The same bundle again changes nothing
 * (`existed`). Errors: IMAGE_NOT_FOUND, USAGE, and those of the registry.
 */
export type BundleAttacher = {
  attach(
    image: AttachedImage,
    bundle: { readonly bytes: Uint8Array; readonly predicateType: string /** ISO 8601. */; readonly createdAt: string },
  ): Promise<{ readonly digest: Digest; readonly existed: boolean }>;
};

/** An image as the attestation has it. */
export type AttachedImage = {
  /** `ghcr.io/acme/app`; of a layout, the name of its folder. */
  readonly repository: string;
  readonly digest: Digest;
  /** The OCI layout folder that it is in. */
  readonly layout?: string | undefined;
};

/** Signs the pre-authentication encoding of a DSSE envelope (DSSE v1, "Protocol"). */
export type Signer = {
  /** What a contract may restrict. Absent: seen only when it has signed. */
  readonly way?: SigningWay | undefined;
  sign(pae: Uint8Array): Promise<{
    readonly signature: Uint8Array;
    readonly verification: SignerIdentity;
    /** RFC 3161 responses over the bytes of the signature, DER: what a certificate of minutes is verified with, years later. */
    readonly timestamps?: readonly Uint8Array[] | undefined;
    /** That it stands in transparency logs, proven. */
    readonly transparencyLogEntries?: readonly TransparencyLogEntry[] | undefined;
  }>;
};

/** How a verifier finds the key: by hint (base64 of the SHA-256 of the SPKI DER), or by the certificate itself. */
export type SignerIdentity =
  | { readonly type: 'publicKey'; readonly hint: string; readonly publicKeyPem: string }
  | { readonly type: 'certificate'; readonly certificatesPem: readonly string[] };

/**
 * The memory of one crafting between commands. Writes are atomic and durable: after a crash there is the old or the new state,
 * and adding two materials at once loses neither. `load` throws NO_CRAFTING when there is none.
 */
export type CraftingStore = {
  /**
   * All jobs of a CI run work on it: any of them may come first, an `init` joins, and no failure ends what others work on. `load` throws
   * RUN_ALREADY_FINISHED and RUN_EXPIRED when it is over, unless it is sealed here.
   */
  readonly shared?: boolean;
  /**
   * Keeps the key of an `init` under way, and answers the one that is kept: this one, or that of an init which did not come to its end.
   * Gone with `remove`.
   */
  reserve(key: string): Promise<string>;
  /** Opens the crafting. CRAFTING_OPEN when there is one. */
  begin(start: CraftingStart): Promise<void>;
  load(): Promise<Crafting>;
  /**
   * Records a material. Where jobs share the crafting nothing is replaced: CONFLICT when the name has other content; the answer is the job
   * that brought this very content before, if one did.
   */
  put(material: CraftedMaterial): Promise<string | undefined>;
  /** The sealed, signed bundle: kept before it is sent, so that a retry sends the same bytes. */
  seal(bundle: string): Promise<void>;
  sealed(): Promise<string | undefined>;
  /** The statement, sealed but not signed: kept where signing has to wait, so that what is signed then is the same. */
  keepStatement(statement: Uint8Array): Promise<void>;
  keptStatement(): Promise<Uint8Array | undefined>;
  /** Forgets the bundle and the statement. */
  unseal(): Promise<void>;
  remove(): Promise<void>;
};

/** The workspace's commit, or undefined when it is not a git checkout. */
export type Git = { head(directory: string): Promise<GitHead | undefined> };

export type Clock = () => Date;
