import { createHash, type Hash, randomUUID } from 'node:crypto';
import { RegistryError } from '../../core/adapters/oci/errors.ts';
import { type Digest, hexOf } from '../../core/digest.ts';
import { ChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
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
import type { BlobStat } from './storage.ts';

/** What S3 has of an upload, as this process knows it. */
export type Staged = {
  readonly id: string;
  readonly uploadId: string;
  parts: S3Part[];
  /** Bytes after the parts, which are too few for one: an object of their own. */
  tailBytes: number;
  /** Of the bytes in `parts`; undefined when not all went through this process: then the object is read before it is believed. */
  hash: Hash | undefined;
  /** All is in one object already: a server ended before it was copied to its place. */
  whole: S3Object | undefined;
};

/** Bytes that are gathered for one part, with the digest that S3 compares. */
type Gathered = { readonly pieces: Uint8Array[]; sizeBytes: number; readonly sha256: Hash };
/** What is left after the last whole part, the hash of everything, and what the body broke off with. */
type Sent = { readonly rest: Gathered; readonly hash: Hash | undefined; readonly failure: { readonly error: unknown } | undefined };

/**
 * Uploads as they lie in a bucket. S3 wants to know the key of an upload before its digest is known, so the parts make an object at
 * `uploads/<id>`, which is compared and then copied to its place inside S3. What is too little for a part is kept at `uploads/<id>.<offset>`
 * between requests, and small blobs are written to their place at once. One writer of an upload at a time; two parts are in memory while
 * bytes arrive, nothing between requests.
 */
export type Staging = {
  begin(): Promise<Staged>;
  /** An upload that another process began: `locate` finds where it stands. */
  known(id: string, uploadId: string): Staged;
  /** Asks S3 where it stands. False: there is no such upload. */
  locate(staged: Staged): Promise<boolean>;
  /** Sends whole parts, one while the next one is gathered. Throws what S3 refuses; then it has to be located. */
  send(staged: Staged, body: AsyncIterable<Uint8Array>): Promise<Sent>;
  /** Keeps what is too little for a part until more comes. */
  keep(staged: Staged, rest: Gathered): Promise<void>;
  /** Verifies what has arrived and makes it a blob. Right or wrong (DIGEST_MISMATCH), the upload is over. */
  commit(staged: Staged, digest: Digest, last?: Sent): Promise<BlobStat>;
  /** Removes all there is of an upload. */
  forget(staged: Staged): Promise<void>;
  /** Removes what was begun before. */
  sweep(before: Date): Promise<void>;
};

export function createStaging(options: {
  readonly client: S3Client;
  readonly blobKey: (digest: Digest) => string;
  /** S3 takes none below 5 MiB, but the last. */
  readonly partSizeBytes: number;
  readonly copySizeBytes: number;
}): Staging {
  const { client, blobKey, partSizeBytes, copySizeBytes } = options;
  const keyOf = ({ id }: Staged): string => `uploads/${id}`;
  const tailKey = (staged: Staged): string => `${keyOf(staged)}.${sizeOf(staged.parts)}`;
  const known = (id: string, uploadId: string): Staged => {
    return { id, uploadId, parts: [], tailBytes: 0, hash: createHash('sha256'), whole: undefined };
  };

  async function sendPart(staged: Staged, { pieces, sizeBytes, sha256 }: Gathered, hash: Hash | undefined): Promise<void> {
    const number = staged.parts.length + 1;
    if (number > limits.s3Parts) {
      const most = limits.s3Parts * partSizeBytes;
      throw new ChainloopError('LIMIT_EXCEEDED', `upload: it is larger than ${most} bytes, the most for a blob in S3`);
    }
    const body = { pieces, sizeBytes, sha256: sha256.digest('hex') };
    staged.parts.push(await uploadPart(client, keyOf(staged), staged.uploadId, number, body));
    staged.hash = hash;
  }

  async function forget(staged: Staged): Promise<void> {
    await abortMultipart(client, keyOf(staged), staged.uploadId);
    for await (const page of listObjects(client, keyOf(staged))) await Promise.all(page.map(({ key }) => removeObject(client, key)));
  }

  async function assertDigest(staged: Staged, digest: Digest, sizeBytes: number, found: string): Promise<void> {
    if (found === hexOf(digest)) return;
    await forget(staged);
    throw new ChainloopError('DIGEST_MISMATCH', `upload: the ${sizeBytes} bytes are sha256:${found}, not ${digest}; send them again`);
  }

  async function publish(staged: Staged, digest: Digest, whole: S3Object, isVerified: boolean): Promise<void> {
    const key = keyOf(staged);
    if (!isVerified) {
      const hash = createHash('sha256');
      for await (const piece of readRange(client, key, whole)) hash.update(piece);
      await assertDigest(staged, digest, whole.sizeBytes, hash.digest('hex'));
    }
    await copyObject(client, { ...whole, key }, blobKey(digest), copySizeBytes);
  }

  return {
    async begin() {
      const id = randomUUID();
      return known(id, await createMultipart(client, `uploads/${id}`));
    },
    known,
    forget,
    async locate(staged) {
      const listed = await listParts(client, keyOf(staged), staged.uploadId);
      if (listed === undefined) {
        staged.whole = await headObject(client, keyOf(staged));
        return staged.whole !== undefined;
      }
      // A shorter part was the last one of an end that did not come to its own; nothing could follow it.
      const short = listed.findIndex(({ sizeBytes }) => sizeBytes !== partSizeBytes);
      const parts = short < 0 ? listed : listed.slice(0, short);
      const isKnown = staged.parts.length === parts.length && staged.parts.every(({ etag }, index) => etag === parts[index]?.etag);
      // What is in a part that somebody else sent, or whose answer was lost, was not seen here for certain.
      if (!isKnown) staged.hash = parts.length === 0 ? createHash('sha256') : undefined;
      staged.parts = parts;
      staged.tailBytes = (await headObject(client, tailKey(staged)))?.sizeBytes ?? 0;
      return true;
    },
    async send(staged, body) {
      let failure: Sent['failure'];
      let underWay: Promise<void> = Promise.resolve();
      let rest = gather();
      const hash = staged.hash?.copy();
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
          underWay = sendPart(staged, rest, hash?.copy());
          underWay.catch(() => {});
          rest = gather();
        }
      };
      if (staged.tailBytes > 0) {
        const tail = await readObject(client, tailKey(staged), partSizeBytes);
        if (tail?.byteLength !== staged.tailBytes) throw new ChainloopError('CONFLICT', 'upload: another server goes on with it');
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
    },
    async keep(staged, { pieces, sizeBytes }) {
      if (sizeBytes > 0) await putObject(client, tailKey(staged), { pieces, sizeBytes });
      staged.tailBytes = sizeBytes;
    },
    async commit(staged, digest, last) {
      let { whole } = staged;
      let isHashed = false;
      if (whole === undefined && last !== undefined) {
        const { rest, hash } = last;
        const sizeBytes = sizeOf(staged.parts) + rest.sizeBytes;
        if (hash !== undefined) await assertDigest(staged, digest, sizeBytes, hash.copy().digest('hex'));
        if (staged.parts.length === 0) {
          await putObject(client, blobKey(digest), { pieces: rest.pieces, sizeBytes });
          await forget(staged).catch(() => {});
          return { sizeBytes };
        }
        if (rest.sizeBytes > 0) await sendPart(staged, rest, hash);
        const object = await completeMultipart(client, keyOf(staged), staged.uploadId, staged.parts);
        isHashed = hash !== undefined && object.isOurs;
        whole = object;
      }
      if (whole === undefined) throw new Error('an upload was ended without its last bytes');
      await publish(staged, digest, whole, isHashed);
      // The blob is there, whatever becomes of the rest: it is swept later.
      await forget(staged).catch(() => {});
      return { sizeBytes: whole.sizeBytes };
    },
    async sweep(before) {
      for await (const page of listObjects(client, 'uploads/')) {
        for (const { key, modifiedAt } of page) if (modifiedAt < before) await removeObject(client, key);
      }
      for (const { key, uploadId, initiatedAt } of await listMultiparts(client, 'uploads/')) {
        if (initiatedAt < before) await abortMultipart(client, key, uploadId);
      }
    },
  };
}

/** How many bytes are in. */
export function offsetOf({ parts, tailBytes, whole }: Staged): number {
  return whole?.sizeBytes ?? sizeOf(parts) + tailBytes;
}

function gather(): Gathered {
  return { pieces: [], sizeBytes: 0, sha256: createHash('sha256') };
}

function sizeOf(parts: readonly S3Part[]): number {
  return parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}
