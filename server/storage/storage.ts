import type { Digest } from '../../core/digest.ts';
import { ChainloopError } from '../../core/errors.ts';

/**
 * Where the evidence of one organization lies. Three implementations: an OCI image layout on disk (layout.ts), any OCI registry
 * (registry.ts) and a bucket of S3 (s3.ts). Whatever promises a job or a referee relies on is written here.
 *
 * - **Durability**: when `finish`, `pushBlob` or `putManifest` returns, the content survives a crash of the process and of the machine.
 *   Before that, nobody sees it: there is no half-written blob or manifest, ever.
 * - **Integrity**: `finish` compares the digest of what arrived before the blob is visible; DIGEST_MISMATCH otherwise, and the upload is
 *   gone. A whole read is verified on the way: its last piece is handed out only after the digest matched, else the stream throws
 *   DIGEST_MISMATCH. A read with an offset or a length cannot be verified, and says so.
 * - **Concurrency**: all of it may be called at once. One upload has one writer: a new `append` takes over from one that hangs. Of two
 *   manifests put under one tag at once, one wins.
 * - **Memory**: bounded, whatever the size. Back-pressure goes both ways.
 * - **Errors**: NOT_FOUND (no such upload), CONFLICT (an upload is at another offset), DIGEST_MISMATCH, LIMIT_EXCEEDED, RATE_LIMITED,
 *   DISK_FULL, REGISTRY_UNAUTHORIZED, REGISTRY_ERROR, REGISTRY_UNAVAILABLE, STORAGE_UNAVAILABLE. What is not there is `undefined`.
 */
export type Storage = {
  readonly type: 'layout' | 'registry' | 's3';

  /** The size of a blob, or undefined when it is not there. */
  stat(digest: Digest): Promise<BlobStat | undefined>;
  /** The bytes of a blob from `offset` (default 0), at most `length` of them (default: to the end). */
  fetch(digest: Digest, range?: { readonly offset?: number; readonly length?: number }): Promise<BlobReader | undefined>;

  /** Opens an upload. The session cannot be guessed, and is good for this organization only. RATE_LIMITED when too many are open. */
  beginUpload(): Promise<Upload>;
  /**
   * How far an upload got. Whoever asks has lost the request that wrote to it: what still hangs of that is ended first, so that the answer
   * holds. NOT_FOUND when there is none.
   */
  uploadStatus(session: string): Promise<Upload>;
  /**
   * Adds bytes at `offset`, which must be where the upload is (CONFLICT). When the body throws, what arrived before stays and the error
   * goes through: ask `uploadStatus` where to go on.
   */
  append(session: string, offset: number, body: AsyncIterable<Uint8Array>): Promise<Upload>;
  /** Ends an upload, with its last (or only) bytes when there are some, and makes the blob visible. */
  finish(session: string, digest: Digest, last?: LastBytes): Promise<BlobStat>;
  /** Forgets an upload and frees its space. */
  cancelUpload(session: string): Promise<void>;

  /**
   * Stores a manifest under a tag or its own digest, and makes it a referrer of its subject. The bytes stay as they are. What it refers to
   * is the caller's to check. DIGEST_MISMATCH when the reference is another digest.
   */
  putManifest(reference: string, mediaType: string, bytes: Uint8Array): Promise<Digest>;
  /** By tag or digest; verified. */
  getManifest(reference: string): Promise<Manifest | undefined>;
  /** Tags in code point order, after `last`, at most `n`. */
  tags(page?: { readonly n?: number; readonly last?: string }): Promise<readonly string[]>;
  /** The manifests whose subject this digest is, in the order of their digests, from the one after `after` on. Lazy: annotations may be large. */
  referrers(subject: Digest, after?: Digest): AsyncIterable<Descriptor>;
  /** Removes a manifest by digest, with its entry as a referrer, or a tag. False when the storage refuses that. Absent: it cannot. */
  readonly removeManifest?: (reference: string) => Promise<boolean>;
  /** Removes a blob. Absent: the storage has a collector of its own for what no manifest names. */
  readonly removeBlob?: (digest: Digest) => Promise<void>;

  /** Waits for what is under way and writes what was put off. The storage is of no use afterwards. */
  close(): Promise<void>;
};

export type BlobStat = { readonly sizeBytes: number };

/** `sizeBytes` is of the whole blob. `verified`: the stream throws DIGEST_MISMATCH rather than end with wrong bytes. */
export type BlobReader = { readonly sizeBytes: number; readonly verified: boolean; readonly body: AsyncIterable<Uint8Array> };

/**
 * `session` names the upload from now on: it may change with every call. `offset` is how many bytes are in. `minChunkSizeBytes` is said by
 * `beginUpload` where each `append` but the last must bring that much.
 */
export type Upload = { readonly session: string; readonly offset: number; readonly minChunkSizeBytes?: number | undefined };

/** `offset` is where the sender believes the upload to be; CONFLICT when it is not. */
export type LastBytes = { readonly offset: number; readonly body: AsyncIterable<Uint8Array> };

export type Manifest = { readonly digest: Digest; readonly mediaType: string; readonly bytes: Uint8Array };

/** OCI image specification, "Content Descriptors", as the referrers API lists them. */
export type Descriptor = {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly artifactType?: string | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
};

/** Stores bytes that are in memory, unless they are there already. */
export async function pushBlob(storage: Storage, bytes: Uint8Array, digest: Digest): Promise<void> {
  const stat = await storage.stat(digest);
  if (stat?.sizeBytes !== bytes.byteLength) await sendBlob(storage, bytes, digest);
}

/** Stores bytes that are in memory. */
export async function sendBlob(storage: Storage, bytes: Uint8Array, digest: Digest): Promise<void> {
  const { session } = await storage.beginUpload();
  await storage.finish(session, digest, { offset: 0, body: once(bytes) });
}

/** Copies a blob, unless it is there already; in pieces, verified on both sides. EVIDENCE_MISSING when there is none. */
export async function copyBlob(from: Storage, to: Storage, digest: Digest, signal: AbortSignal): Promise<void> {
  const reader = await from.fetch(digest);
  if (reader === undefined) throw new ChainloopError('EVIDENCE_MISSING', `evidence ${digest}: it is not in storage any more`);
  const { sizeBytes, body } = reader;
  if ((await to.stat(digest))?.sizeBytes === sizeBytes) return;
  const { session } = await to.beginUpload();
  try {
    await to.finish(session, digest, { offset: 0, body: until(signal, body) });
  } catch (error) {
    await to.cancelUpload(session).catch(() => {});
    throw error;
  }
}

async function* until(signal: AbortSignal, body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const piece of body) {
    signal.throwIfAborted();
    yield piece;
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.byteLength > 0) yield bytes;
}
