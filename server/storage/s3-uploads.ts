import { createHash, type Hash, randomUUID } from 'node:crypto';
import * as z from 'zod';
import { RegistryError } from '../../core/adapters/oci/errors.ts';
import { type Digest, hexOf } from '../../core/digest.ts';
import { ChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import type { Secrets } from '../secrets.ts';
import type { S3Client } from './s3-client.ts';
import { readRange } from './s3-download.ts';
import { headObject, listObjects, putObject, readObject, removeObject, type S3Object } from './s3-objects.ts';
import {
  abortMultipart,
  completeMultipart,
  copyObject,
  createMultipart,
  listMultiparts,
  listParts,
  type S3Part,
  uploadPart,
} from './s3-parts.ts';
import { createSlots } from './slots.ts';
import type { BlobStat, Storage, Upload } from './storage.ts';
import { createTurns, nothing, type Turns } from './turns.ts';

/** What a session says, sealed for the organization: any server can go on with it. */
const SealedUpload = z.tuple([z.uuid(), z.string().min(1).max(2048)]);

/** An upload as this process knows it. */
type Session = {
  readonly id: string;
  readonly uploadId: string;
  readonly turns: Turns;
  parts: S3Part[];
  /** Bytes after the parts, which are too few for one: an object of their own. */
  tailBytes: number;
  /** Of the bytes in `parts`; undefined when not all went through this process: then the object is read before it is believed. */
  hash: Hash | undefined;
  /** All is in one object already: a server ended before it was copied to its place. */
  staged: S3Object | undefined;
  /** S3 has to be asked where the upload stands. */
  uncertain: boolean;
  sending: boolean;
  usedAtMs: number;
};

/** Bytes that are gathered for one part, with the digest that S3 compares. */
type Gathered = { readonly pieces: Uint8Array[]; sizeBytes: number; readonly sha256: Hash };

/**
 * Uploads into a bucket. S3 wants to know the key of an upload before its digest is known, so the parts make an object at `uploads/<id>`, which
 * is compared and then copied to its place inside S3. What is too little for a part is kept at `uploads/<id>/<offset>` between requests, and
 * small blobs are written to their place at once. Two parts of an upload are in memory while bytes arrive, nothing between requests.
 */
export function createS3Uploads(options: {
  readonly client: S3Client;
  readonly blobKey: (digest: Digest) => string;
  readonly secrets: Secrets;
  readonly context: string;
  readonly now: () => Date;
  /** S3 takes none below 5 MiB, but the last. */
  readonly partSizeBytes: number;
  readonly copySizeBytes: number;
}): Pick<Storage, 'beginUpload' | 'uploadStatus' | 'append' | 'finish' | 'cancelUpload' | 'close'> {
  const { client, blobKey, secrets, context, now, partSizeBytes } = options;
  const sessions = new Map<string, Session>();
  const slots = createSlots(limits.s3UploadsAtOnce, limits.s3WaitMs);
  let sweptAt = now();
  let sweeping: Promise<void> = Promise.resolve();

  const stagedKey = (id: string): string => `uploads/${id}`;
  const tailKey = (id: string, offset: number): string => `uploads/${id}/${offset}`;

  function publicUpload(session: Session): Upload {
    return { session: secrets.seal(JSON.stringify([session.id, session.uploadId]), context), offset: offsetOf(session) };
  }

  /** The session in a sealed text; from the text alone when another process, or an earlier one, opened it. */
  function find(sealed: string): Session {
    let id: string;
    let uploadId: string;
    try {
      [id, uploadId] = SealedUpload.parse(JSON.parse(secrets.open(sealed, context)));
    } catch {
      throw unknownUpload();
    }
    const session = sessions.get(id) ?? newSession(id, uploadId);
    sessions.set(id, session);
    session.usedAtMs = now().getTime();
    return session;
  }

  /** Asks S3 where the upload stands, when that is not known. NOT_FOUND. */
  async function locate(session: Session): Promise<void> {
    if (!session.uncertain) return;
    const { id, uploadId } = session;
    const listed = await listParts(client, stagedKey(id), uploadId);
    if (listed === undefined) {
      session.staged = await headObject(client, stagedKey(id));
      if (session.staged === undefined) {
        sessions.delete(id);
        throw unknownUpload();
      }
    } else {
      // A shorter part was the last one of an end that did not come to its own; nothing could follow it.
      const short = listed.findIndex(({ sizeBytes }) => sizeBytes !== partSizeBytes);
      const parts = short < 0 ? listed : listed.slice(0, short);
      const known = session.parts.length === parts.length && session.parts.every(({ etag }, index) => etag === parts[index]?.etag);
      if (!known) session.hash = parts.length === 0 ? createHash('sha256') : undefined;
      session.parts = parts;
      session.tailBytes = (await headObject(client, tailKey(id, sizeOf(parts))))?.sizeBytes ?? 0;
    }
    session.uncertain = false;
  }

  /** Beyond the limit the one that was left alone for longest goes: it can still be continued, and is read once before it is believed. */
  function forgetOldest(): void {
    if (sessions.size < limits.openUploads) return;
    const oldest = [...sessions.values()].filter(({ sending }) => !sending).sort((one, other) => one.usedAtMs - other.usedAtMs)[0];
    if (oldest !== undefined) sessions.delete(oldest.id);
  }

  async function sendPart(session: Session, { pieces, sizeBytes, sha256 }: Gathered, hash: Hash | undefined): Promise<void> {
    const number = session.parts.length + 1;
    if (number > limits.s3Parts) {
      throw new ChainloopError(
        'LIMIT_EXCEEDED',
        `upload: it is larger than ${limits.s3Parts * partSizeBytes} bytes, the most for a blob in S3`,
      );
    }
    const body = { pieces, sizeBytes, sha256: sha256.digest('hex') };
    session.parts.push(await uploadPart(client, stagedKey(session.id), session.uploadId, number, body));
    session.hash = hash;
  }

  /**
   * Sends whole parts, one while the next one is gathered. Answers what is left, with the hash of everything, and what the body broke off
   * with.
   */
  async function send(session: Session, body: AsyncIterable<Uint8Array>) {
    let failure: { readonly error: unknown } | undefined;
    let underWay: Promise<void> = Promise.resolve();
    let rest = gather();
    const hash = session.hash?.copy();
    const take = async (piece: Uint8Array): Promise<void> => {
      for (let from = 0; from < piece.byteLength; ) {
        const part = piece.subarray(from, from + partSizeBytes - rest.sizeBytes);
        from += part.byteLength;
        rest.pieces.push(part);
        rest.sizeBytes += part.byteLength;
        rest.sha256.update(part);
        hash?.update(part);
        if (rest.sizeBytes < partSizeBytes) continue;
        await underWay;
        underWay = sendPart(session, rest, hash?.copy());
        underWay.catch(() => {});
        rest = gather();
      }
    };
    if (session.tailBytes > 0) {
      const tail = await readObject(client, tailKey(session.id, sizeOf(session.parts)), partSizeBytes);
      if (tail?.byteLength !== session.tailBytes) throw new ChainloopError('CONFLICT', 'upload: another server goes on with it');
      await take(tail);
    }
    try {
      for await (const piece of body) await take(piece);
    } catch (error) {
      // Of S3, not of the body.
      if (error instanceof RegistryError) throw error;
      failure = { error };
    }
    await underWay;
    return { rest, hash, failure };
  }

  /** Keeps what is too little for a part until more comes. */
  async function keep(session: Session, { pieces, sizeBytes }: Gathered): Promise<void> {
    if (sizeBytes > 0) await putObject(client, tailKey(session.id, sizeOf(session.parts)), { pieces, sizeBytes });
    session.tailBytes = sizeBytes;
  }

  /** Runs what changes the upload; when it fails, S3 has to be asked where it stands. */
  async function changing<T>(session: Session, work: () => Promise<T>): Promise<T> {
    const release = await slots.take();
    session.sending = true;
    session.uncertain = true;
    try {
      const result = await work();
      session.uncertain = false;
      return result;
    } finally {
      session.sending = false;
      release();
    }
  }

  /** Verifies what has arrived and makes it a blob. Right or wrong, the upload is over. */
  async function commit(session: Session, digest: Digest, last: Gathered, hash: Hash | undefined): Promise<BlobStat> {
    const sizeBytes = sizeOf(session.parts) + last.sizeBytes;
    if (hash !== undefined) await assertDigest(session, digest, sizeBytes, hash.digest('hex'));
    if (session.parts.length === 0) {
      await putObject(client, blobKey(digest), { pieces: last.pieces, sizeBytes });
    } else {
      if (last.sizeBytes > 0) await sendPart(session, last, hash);
      const staged = await completeMultipart(client, stagedKey(session.id), session.uploadId, session.parts);
      await publish(session, digest, staged, hash !== undefined);
    }
    // The blob is there, whatever becomes of the rest: it is swept later.
    await forget(session).catch(() => {});
    return { sizeBytes };
  }

  async function publish(session: Session, digest: Digest, staged: S3Object, isVerified: boolean): Promise<void> {
    const key = stagedKey(session.id);
    if (!isVerified) {
      const hash = createHash('sha256');
      for await (const piece of readRange(client, key, staged)) hash.update(piece);
      await assertDigest(session, digest, staged.sizeBytes, hash.digest('hex'));
    }
    await copyObject(client, { ...staged, key }, blobKey(digest), options.copySizeBytes);
  }

  async function assertDigest(session: Session, digest: Digest, sizeBytes: number, found: string): Promise<void> {
    if (found === hexOf(digest)) return;
    await forget(session);
    throw new ChainloopError('DIGEST_MISMATCH', `upload: the ${sizeBytes} bytes are sha256:${found}, not ${digest}; send them again`);
  }

  /** Removes all there is of an upload. */
  async function forget(session: Session): Promise<void> {
    sessions.delete(session.id);
    session.uncertain = true;
    const key = stagedKey(session.id);
    await abortMultipart(client, key, session.uploadId);
    for await (const page of listObjects(client, key)) await Promise.all(page.map((object) => removeObject(client, object.key)));
  }

  /** What nobody continued for a day. Looked for when an upload begins: no timer has to be stopped. */
  async function sweep(before: Date): Promise<void> {
    for await (const page of listObjects(client, 'uploads/')) {
      for (const { key, modifiedAt } of page) if (modifiedAt < before) await removeObject(client, key);
    }
    for (const { key, uploadId, initiatedAt } of await listMultiparts(client, 'uploads/')) {
      if (initiatedAt < before) await abortMultipart(client, key, uploadId);
    }
  }

  return {
    async beginUpload() {
      forgetOldest();
      const at = now();
      if (at.getTime() - sweptAt.getTime() >= sweepEveryMs) {
        sweptAt = at;
        // Beside the upload; what fails is tried again in an hour.
        sweeping = sweep(new Date(at.getTime() - limits.uploadLifetimeMs)).catch(() => {});
      }
      const id = randomUUID();
      const session = newSession(id, await createMultipart(client, stagedKey(id)));
      session.uncertain = false;
      session.usedAtMs = at.getTime();
      sessions.set(id, session);
      return publicUpload(session);
    },
    async uploadStatus(sealed) {
      const session = find(sealed);
      if (!session.sending) await locate(session);
      return publicUpload(session);
    },
    async append(sealed, offset, body) {
      const session = find(sealed);
      return session.turns.take(body, async (input) => {
        await locate(session);
        assertAt(session, offset);
        const failure = await changing(session, async () => {
          const sent = await send(session, input);
          await keep(session, sent.rest);
          return sent.failure;
        });
        if (failure !== undefined) throw failure.error;
        return publicUpload(session);
      });
    },
    async finish(sealed, digest, end) {
      const session = find(sealed);
      return session.turns.take(end?.body ?? nothing(), async (input) => {
        await locate(session);
        assertAt(session, end?.offset ?? offsetOf(session));
        const { staged } = session;
        const outcome = await changing(session, async () => {
          if (staged !== undefined) {
            await publish(session, digest, staged, false);
            await forget(session).catch(() => {});
            return { sizeBytes: staged.sizeBytes };
          }
          const { rest, hash, failure } = await send(session, input);
          if (failure === undefined) return commit(session, digest, rest, hash);
          await keep(session, rest);
          return failure;
        });
        if ('error' in outcome) throw outcome.error;
        return outcome;
      });
    },
    async cancelUpload(sealed) {
      const session = find(sealed);
      await session.turns.take(nothing(), () => forget(session));
    },
    close: () => sweeping,
  };
}

const sweepEveryMs = 60 * 60 * 1000;

function newSession(id: string, uploadId: string): Session {
  const hash = createHash('sha256');
  return {
    id,
    uploadId,
    turns: createTurns(),
    parts: [],
    tailBytes: 0,
    hash,
    staged: undefined,
    uncertain: true,
    sending: false,
    usedAtMs: 0,
  };
}

function gather(): Gathered {
  return { pieces: [], sizeBytes: 0, sha256: createHash('sha256') };
}

function sizeOf(parts: readonly S3Part[]): number {
  return parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

function offsetOf({ parts, tailBytes, staged }: Session): number {
  return staged?.sizeBytes ?? sizeOf(parts) + tailBytes;
}

/** Throws CONFLICT unless the upload is at that offset. */
function assertAt(session: Session, offset: number): void {
  if (offsetOf(session) === offset) return;
  throw new ChainloopError('CONFLICT', `upload: it is at offset ${offsetOf(session)}, not ${offset}; send the bytes from there`);
}

function unknownUpload(): ChainloopError {
  return new ChainloopError('NOT_FOUND', 'upload: there is no such upload (any more); start a new one');
}
