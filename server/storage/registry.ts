import { createRegistryClient, type RegistryClientOptions } from '../../core/adapters/oci/client.ts';
import { RegistryError } from '../../core/adapters/oci/errors.ts';
import { fallbackTag } from '../../core/adapters/oci/fallback-tag.ts';
import { isDigest } from '../../core/digest.ts';
import { limits } from '../../core/limits.ts';
import type { Secrets } from '../secrets.ts';
import { assertReference, mediaTypeOf, parseManifest } from './manifest.ts';
import { createRegistryUploads } from './registry-uploads.ts';
import type { Storage } from './storage.ts';

/** A job waits for the answer, and tries again itself: better to tell it soon that the registry does not answer. */
const fetchPolicy = { attempts: 3, baseDelayMs: 200, budgetMs: 4_000, requestTimeoutMs: 10_000 } as const;

/**
 * Storage in a repository of any OCI registry. Bytes go from the job to the registry as they come, through one hash; nothing is kept here.
 * The client repeats what can be repeated; the bytes of an upload cannot, so that when the registry fails in the middle the job is told to
 * resume.
 */
export function createRegistryStorage(options: {
  readonly client: Omit<RegistryClientOptions, 'advice'>;
  readonly organizationId: string;
  readonly secrets: Secrets;
  readonly now?: (() => Date) | undefined;
}): Storage {
  const client = createRegistryClient({
    ...options.client,
    fetchPolicy: { ...fetchPolicy, ...options.client.fetchPolicy },
    advice:
      'check the name and the password; a backend that is there gets others with: chainloop cas-backend update --name <name> --username <name>',
  });
  const { organizationId, secrets, now = () => new Date() } = options;
  const uploads = createRegistryUploads({
    client,
    secrets,
    context: `upload:${organizationId}:${client.origin}/${client.repository}`,
    now,
  });

  return {
    type: 'registry',
    ...uploads,
    stat: (digest) => client.headBlob(digest),
    async fetch(digest, { offset = 0, length } = {}) {
      const stat = await client.headBlob(digest);
      if (stat === undefined) return undefined;
      const { sizeBytes } = stat;
      const isWhole = offset === 0 && (length === undefined || length >= sizeBytes);
      // Opened by the first read: a client that has left by then would leave the connection to the registry hanging.
      async function* read(): AsyncGenerator<Uint8Array> {
        if (length === 0) return;
        const { body } = await client.fetchBlob(digest, { offset });
        yield* isWhole ? heldBack(body) : firstBytes(body, length ?? sizeBytes);
      }
      return { sizeBytes, verified: isWhole, body: read() };
    },
    putManifest(reference, mediaType, bytes) {
      assertReference(reference);
      return client.putManifest(reference, mediaType, bytes);
    },
    async getManifest(reference) {
      assertReference(reference);
      const manifest = await client.getManifest(reference);
      const content = manifest && parseManifest(manifest.bytes);
      return manifest && content && { ...manifest, mediaType: mediaTypeOf(content) };
    },
    async tags({ n, last } = {}) {
      const found: string[] = [];
      // Registries page as they like; we answer what was asked for.
      for (let cursor = last; n === undefined || found.length < n; cursor = found.at(-1)) {
        const page = await client.tags({ count: limits.tagsPageSize, ...(cursor === undefined ? {} : { last: cursor }) });
        const fresh = page.filter((tag) => cursor === undefined || tag > cursor).sort();
        if (fresh.length === 0) break;
        found.push(...fresh);
      }
      return found.slice(0, n);
    },
    async *referrers(subject, after) {
      // Registries list them in any order.
      const found = (await client.referrers(subject)).toSorted((one, other) => (one.digest < other.digest ? -1 : 1));
      for (const one of found) {
        const { digest } = one;
        if (isDigest(digest) && (after === undefined || digest > after)) yield { ...one, digest };
      }
    },
    async removeManifest(reference) {
      assertReference(reference);
      try {
        await client.deleteManifest(reference);
        // The list of what refers to it, where the registry keeps none itself, has no meaning without it.
        const list = isDigest(reference) ? await client.headManifest(fallbackTag(reference)) : undefined;
        if (list?.digest !== undefined) await client.deleteManifest(list.digest);
        return true;
      } catch (error) {
        // As registries refuse it: not allowed for anybody, or for this account.
        if (error instanceof RegistryError && [400, 401, 403, 405].includes(error.status ?? 0)) return false;
        throw error;
      }
    },
    async close() {
      client.close();
    },
  };
}

/** The client throws after the last byte when the digest is wrong; so the last piece waits for that. */
async function* heldBack(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let held: Uint8Array | undefined;
  for await (const piece of body) {
    if (held !== undefined) yield held;
    held = piece;
  }
  if (held !== undefined) yield held;
}

async function* firstBytes(body: AsyncIterable<Uint8Array>, length: number): AsyncGenerator<Uint8Array> {
  let left = length;
  for await (const piece of body) {
    yield piece.subarray(0, left);
    left -= piece.byteLength;
    if (left <= 0) return;
  }
}
