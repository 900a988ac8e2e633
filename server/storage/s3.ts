import { type Digest, digestOf, hexOf, isDigest } from '../../core/digest.ts';
import { ChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { isTag } from '../../core/reference.ts';
import type { Secrets } from '../secrets.ts';
import { assertReference, descriptorOf, mediaTypeOf, parseManifest } from './manifest.ts';
import { createS3Client, type S3ClientOptions } from './s3-client.ts';
import { readRange, readVerified } from './s3-download.ts';
import { headObject, listObjects, putObject, readObject, removeObject } from './s3-objects.ts';
import { createStaging } from './s3-staging.ts';
import { createS3Uploads } from './s3-uploads.ts';
import type { Descriptor, Manifest, Storage } from './storage.ts';

/** A job waits for the answer, and tries again itself: better to tell it soon that the store does not answer. */
const fetchPolicy = { attempts: 4, baseDelayMs: 200, budgetMs: 6_000, requestTimeoutMs: 15_000 } as const;

/**
 * Storage in a bucket of S3, or of what speaks its API. Below the prefix:
 *
 *     blobs/sha256/<hex>                   blobs and manifests, complete and verified, or not there
 *     tags/<tag>                           the descriptor that a tag names
 *     referrers/<hex of the subject>/<hex> empty: this manifest refers to that one
 *     uploads/…                            what is not visible yet
 *
 * Each is written whole by one request, and none is read, changed and written again: so that writers on any number of servers need no lock
 * and lose nothing of one another, also where the store knows no conditional writes.
 */
export function createS3Storage(options: {
  readonly client: S3ClientOptions;
  readonly organizationId: string;
  readonly secrets: Secrets;
  readonly now?: (() => Date) | undefined;
  /** Other sizes than those of limits.ts: tests need not move gigabytes. */
  readonly partSizeBytes?: number | undefined;
  readonly copySizeBytes?: number | undefined;
}): Storage {
  const { organizationId, secrets, now = () => new Date() } = options;
  const { partSizeBytes = limits.s3PartSizeBytes, copySizeBytes = limits.s3CopySizeBytes } = options;
  const client = createS3Client({ now, ...options.client, fetchPolicy: { ...fetchPolicy, ...options.client.fetchPolicy } });
  const { origin, bucket, prefix } = client.place;
  const blobKey = (digest: Digest): string => `blobs/sha256/${hexOf(digest)}`;
  const referrerKey = (subject: Digest, digest: Digest): string => `referrers/${hexOf(subject)}/${hexOf(digest)}`;
  const { close, ...uploads } = createS3Uploads({
    staging: createStaging({ client, blobKey, partSizeBytes, copySizeBytes }),
    secrets,
    context: `upload:${organizationId}:${origin}/${bucket}/${prefix}`,
    now,
  });

  async function put(key: string, content: Uint8Array | string, contentType?: string): Promise<void> {
    const bytes = Buffer.from(content);
    await putObject(client, key, { pieces: [bytes], sizeBytes: bytes.byteLength }, contentType);
  }

  /** The manifest, or undefined: there is nothing, or what is there is no manifest. DIGEST_MISMATCH when it was changed. */
  async function readManifest(digest: Digest): Promise<Manifest | undefined> {
    const bytes = await readObject(client, blobKey(digest), limits.manifestSizeBytes);
    if (bytes === undefined) return undefined;
    if (digestOf(bytes) !== digest) {
      throw new ChainloopError('DIGEST_MISMATCH', `${client.name}: manifest ${digest} was changed there; restore the bucket`);
    }
    const content = parseManifest(bytes);
    return content === undefined ? undefined : { digest, mediaType: mediaTypeOf(content), bytes };
  }

  async function digestOfTag(tag: string): Promise<Digest | undefined> {
    const text = (await readObject(client, `tags/${tag}`, limits.errorBodySizeBytes))?.toString('utf8');
    const digest = text === undefined ? undefined : /"digest":"(sha256:[0-9a-f]{64})"/.exec(text)?.[1];
    return isDigest(digest) ? digest : undefined;
  }

  async function describe(digest: Digest): Promise<Descriptor | undefined> {
    const manifest = await readManifest(digest);
    const content = manifest && parseManifest(manifest.bytes);
    return manifest && content && descriptorOf(content, manifest.bytes);
  }

  return {
    type: 's3',
    ...uploads,
    async stat(digest) {
      const found = await headObject(client, blobKey(digest));
      return found && { sizeBytes: found.sizeBytes };
    },
    async fetch(digest, { offset = 0, length } = {}) {
      const key = blobKey(digest);
      const object = await headObject(client, key);
      if (object === undefined) return undefined;
      const { sizeBytes } = object;
      const isWhole = offset === 0 && (length === undefined || length >= sizeBytes);
      const end = length === undefined ? sizeBytes : Math.min(sizeBytes, offset + length);
      const body = isWhole ? readVerified(client, key, object, digest) : readRange(client, key, object, { offset, end });
      return { sizeBytes, verified: isWhole, body };
    },
    async putManifest(reference, mediaType, bytes) {
      assertReference(reference);
      const digest = digestOf(bytes);
      if (isDigest(reference) && reference !== digest) {
        throw new ChainloopError('DIGEST_MISMATCH', `manifest: the bytes are ${digest}, not ${reference}`);
      }
      const subject = parseManifest(bytes)?.subject?.digest;
      await put(blobKey(digest), bytes, mediaType);
      // Only now, because from here on it is found.
      if (subject !== undefined) await put(referrerKey(subject, digest), '');
      if (!isDigest(reference))
        await put(`tags/${reference}`, JSON.stringify({ mediaType, digest, size: bytes.byteLength }), 'application/json');
      return digest;
    },
    async getManifest(reference) {
      assertReference(reference);
      const digest = isDigest(reference) ? reference : await digestOfTag(reference);
      return digest === undefined ? undefined : readManifest(digest);
    },
    async tags({ n, last } = {}) {
      const found: string[] = [];
      const after = last === undefined ? undefined : `tags/${last}`;
      for await (const page of listObjects(client, 'tags/', { after, pageSize: Math.min(n ?? limits.tagsPageSize, limits.tagsPageSize) })) {
        found.push(...page.map(({ key }) => key.slice('tags/'.length)).filter(isTag));
        if (n !== undefined && found.length >= n) break;
      }
      return found.slice(0, n);
    },
    async *referrers(subject, after) {
      const start = `referrers/${hexOf(subject)}/`;
      for await (const page of listObjects(client, start, { after: after && referrerKey(subject, after) })) {
        const digests = page.map(({ key }) => `sha256:${key.slice(start.length)}`).filter(isDigest);
        for (let from = 0; from < digests.length; from += readsAtOnce) {
          const described = await Promise.all(digests.slice(from, from + readsAtOnce).map(describe));
          yield* described.filter((descriptor) => descriptor !== undefined);
        }
      }
    },
    async removeManifest(reference) {
      assertReference(reference);
      if (!isDigest(reference)) {
        await removeObject(client, `tags/${reference}`);
        return true;
      }
      const content = parseManifest((await readManifest(reference))?.bytes ?? Buffer.alloc(0));
      const subject = content?.subject?.digest;
      // In this order: what is found is there.
      if (subject !== undefined) await removeObject(client, referrerKey(subject, reference));
      await removeObject(client, blobKey(reference));
      return true;
    },
    removeBlob: (digest) => removeObject(client, blobKey(digest)),
    async close() {
      await close();
      client.close();
    },
  };
}

/** Manifests of one list that are read at a time: each may have 4 MiB. */
const readsAtOnce = 8;
