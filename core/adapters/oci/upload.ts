import { createHash } from 'node:crypto';
import { type Digest, digestOf, parseDigest } from '../../digest.ts';
import { ChainloopError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { createPauses } from '../retry.ts';
import { judgeRegistry, RegistryError } from './errors.ts';
import { type Session, TokenRenewed } from './session.ts';
import type { Upload, UploadSteps } from './upload-session.ts';

/** What is uploaded. `read` may be called again, from any offset; a piece may be reused by the source once the next one is asked for. */
export type BlobSource = {
  readonly sizeBytes: number;
  read(offset?: number): AsyncIterable<Uint8Array>;
  /** For messages. */
  readonly fileName?: string | undefined;
};

export type UploadOptions = {
  /** The digest, when it is known: asked for first, so that what is there is not sent again; and checked. */
  readonly expected?: Digest | undefined;
  /** Bytes of the blob that are sent; goes back when the registry lost some. */
  readonly onProgress?: ((sentBytes: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
};

export type Uploaded = { readonly digest: Digest; readonly sizeBytes: number; readonly existed: boolean };

export type HeadBlob = (digest: Digest) => Promise<{ readonly sizeBytes: number } | undefined>;

/**
 * Uploads one blob; the registry has it, verified, when this returns. Up to `limits.singleRequestUploadSizeBytes` it is read,
 * hashed and sent in one request; larger ones are hashed while they are sent, in one pass with constant memory, unless the gateway has a
 * blob of that size: then they are hashed first, and sent only when it is another. Broken connections are resumed where the registry can,
 * else begun again. FILE_CHANGED when the source has another size than it said;
 * DIGEST_MISMATCH when its bytes are not `expected`.
 */
export async function uploadBlob(
  session: Session,
  steps: UploadSteps,
  headBlob: HeadBlob,
  source: BlobSource,
  options: UploadOptions = {},
): Promise<Uploaded> {
  const small = source.sizeBytes <= limits.singleRequestUploadSizeBytes ? await readAll(source) : undefined;
  const known = small === undefined ? options.expected : digestOf(small);
  if (options.expected !== undefined && known !== options.expected) throw mismatch(source, options.expected);
  const isThere = async (digest: Digest): Promise<boolean> => (await headBlob(digest))?.sizeBytes === source.sizeBytes;
  // Under another size it is damaged there: what is sent now replaces it.
  if (known !== undefined && (await isThere(known))) return { digest: known, sizeBytes: source.sizeBytes, existed: true };

  const hash = createSourceHash(source, options.expected);
  const what = `upload of ${source.fileName ?? 'a blob'}`;
  const step = { what, signal: options.signal };
  const pauses = createPauses(session.policy, options.signal);
  let upload: Upload | undefined;
  let bestOffset = 0;
  let renewals = 0;
  let resumed = false;

  for (;;) {
    try {
      if (upload === undefined) {
        const opened = await steps.open(known === undefined ? { ...step, sizeBytes: source.sizeBytes } : step);
        upload = opened;
        // Reading takes a fraction of the time of sending.
        if (opened.isSizeKnown && hash.complete() === undefined && (await isThere(await hash.readAll()))) {
          await steps.cancel(upload);
          return { digest: hash.digest(), sizeBytes: source.sizeBytes, existed: true };
        }
      }
      if (small !== undefined && known !== undefined) {
        await steps.commit(upload, known, { ...step, body: small });
        options.onProgress?.(small.byteLength);
        return { digest: known, sizeBytes: source.sizeBytes, existed: false };
      }
      while (upload.offset < source.sizeBytes) {
        const from: number = upload.offset;
        upload = await steps.append(
          upload,
          { sizeBytes: source.sizeBytes - from, read: () => hash.reading(from, options.onProgress) },
          step,
        );
        if (upload.offset <= from) throw new RegistryError('REGISTRY_ERROR', `${session.name}: ${what} failed: it keeps none of the bytes`);
      }
      const digest = hash.digest();
      await steps.commit(upload, digest, step);
      return { digest, sizeBytes: source.sizeBytes, existed: false };
    } catch (error) {
      // `open` has had its own tries.
      if (upload === undefined) throw error;
      const renewed = error instanceof TokenRenewed && renewals++ < session.policy.attempts;
      const lost = isLost(error, resumed);
      const moved = isMoved(error);
      const verdict = judgeRegistry(error);
      if (!renewed && !lost && !moved && !verdict.retry) {
        await steps.cancel(upload);
        throw error;
      }
      if (!renewed && !(await pauses.wait(verdict.afterMs))) throw error;
      // The answer to a commit may be all that was lost.
      const digest = known ?? hash.complete();
      if (digest !== undefined && (await isThere(digest))) return { digest, sizeBytes: source.sizeBytes, existed: false };
      upload = lost || small !== undefined ? undefined : await steps.status(upload, step);
      if (upload !== undefined && upload.offset > source.sizeBytes) upload = undefined;
      resumed = upload !== undefined;
      if (upload !== undefined && upload.offset > bestOffset) {
        bestOffset = upload.offset;
        renewals = 0;
        pauses.reset();
      }
    }
  }
}

/**
 * True when the registry stands elsewhere in the upload than it said ("Pushing a blob in chunks": 416): the request that broke off was
 * still being written when it was asked. It is asked again.
 */
function isMoved(error: unknown): boolean {
  return error instanceof RegistryError && error.status === 416;
}

/** True when the upload has to be begun again: the registry has forgotten it, or has other bytes than were sent. */
function isLost(error: unknown, resumed: boolean): boolean {
  if (!(error instanceof RegistryError) || isMoved(error)) return false;
  if (error.status === 404) return true;
  if (error.registryCodes.includes('BLOB_UPLOAD_UNKNOWN') || error.registryCodes.includes('BLOB_UPLOAD_INVALID')) return true;
  return resumed && error.code === 'DIGEST_MISMATCH';
}

/**
 * The digest of the source, fed by whatever passage of it is sent. A passage that was hashed already is not hashed again when it is
 * sent again, so a resumed upload needs no second pass and no saved states.
 */
function createSourceHash(source: BlobSource, expected: Digest | undefined) {
  const hash = createHash('sha256');
  let hashedBytes = 0;
  let final: Digest | undefined;

  function complete(): Digest | undefined {
    if (hashedBytes === source.sizeBytes) final ??= parseDigest(`sha256:${hash.digest('hex')}`);
    return final;
  }
  function digest(): Digest {
    const found = complete();
    if (found === undefined) throw changed(source);
    if (expected !== undefined && found !== expected) throw mismatch(source, expected);
    return found;
  }
  async function* reading(from: number, onProgress?: (sentBytes: number) => void): AsyncGenerator<Uint8Array> {
    let offset = from;
    for await (const piece of source.read(from)) {
      const end = offset + piece.byteLength;
      if (end > source.sizeBytes) throw changed(source);
      if (end > hashedBytes) {
        hash.update(piece.subarray(Math.max(0, hashedBytes - offset)));
        hashedBytes = end;
      }
      yield piece;
      offset = end;
      onProgress?.(offset);
    }
    if (offset !== source.sizeBytes) throw changed(source);
  }
  return {
    /** The digest once every byte was read, else undefined. */
    complete,
    digest,
    reading,
    /** The digest, by reading what was not read yet. */
    async readAll(): Promise<Digest> {
      const pieces = reading(hashedBytes);
      while ((await pieces.next()).done !== true);
      return digest();
    },
  };
}

async function readAll(source: BlobSource): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafe(source.sizeBytes);
  let offset = 0;
  for await (const piece of source.read(0)) {
    if (offset + piece.byteLength > bytes.byteLength) throw changed(source);
    bytes.set(piece, offset);
    offset += piece.byteLength;
  }
  if (offset !== bytes.byteLength) throw changed(source);
  return bytes;
}

function changed(source: BlobSource): ChainloopError {
  return new ChainloopError(
    'FILE_CHANGED',
    `${source.fileName ?? 'the blob'} changed while it was read; try again when nothing writes to it`,
  );
}

function mismatch(source: BlobSource, expected: Digest): ChainloopError {
  return new ChainloopError('DIGEST_MISMATCH', `${source.fileName ?? 'the blob'} is not ${expected}; it changed after it was hashed`);
}
