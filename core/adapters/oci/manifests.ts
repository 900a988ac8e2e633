import * as z from 'zod';
import { type Digest, digestOf, isDigest } from '../../digest.ts';
import { ChainloopError } from '../../errors.ts';
import { jsonValue } from '../../json-value.ts';
import { limits } from '../../limits.ts';
import { isTag } from '../../reference.ts';
import type { HttpResponse } from '../http.ts';
import { RegistryError } from './errors.ts';
import type { Session } from './session.ts';

/** Media types of manifests and indexes: what is asked for, unless the caller says otherwise. */
export const manifestTypes = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
] as const;
export const imageManifestType = manifestTypes[0];
export const imageIndexType = manifestTypes[1];

export type Manifest = { readonly digest: Digest; readonly mediaType: string; readonly bytes: Uint8Array };

/** A content descriptor (OCI image specification, "Content Descriptors"); other keys are kept. */
export const Descriptor = z.looseObject({
  mediaType: z.string().max(256),
  digest: z.string().refine(isDigest, 'must be sha256:<64 hex digits>'),
  size: z.int().min(0),
  artifactType: z.string().max(256).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});
export type Descriptor = z.infer<typeof Descriptor>;

export type ManifestHead = {
  /** Undefined when the registry does not say. */
  readonly digest: Digest | undefined;
  readonly mediaType: string;
  readonly sizeBytes: number | undefined;
};

/** HEAD of a manifest by tag or digest, or undefined when there is none. */
export async function headManifest(
  session: Session,
  reference: string,
  accept: readonly string[] = manifestTypes,
): Promise<ManifestHead | undefined> {
  const answer = await request(session, 'HEAD', reference, accept);
  answer.discard();
  if (answer.status === 404) return undefined;
  const digest = answer.header('docker-content-digest');
  const size = answer.header('content-length');
  return {
    digest: isDigest(digest) ? digest : undefined,
    mediaType: mediaTypeOf(answer),
    sizeBytes: size === undefined ? undefined : Number(size),
  };
}

/** A manifest by tag or digest, verified, or undefined when there is none. DIGEST_MISMATCH when the bytes are others than promised. */
export async function getManifest(
  session: Session,
  reference: string,
  accept: readonly string[] = manifestTypes,
): Promise<Manifest | undefined> {
  const answer = await request(session, 'GET', reference, accept);
  if (answer.status === 404) {
    answer.discard();
    return undefined;
  }
  const bytes = await session.read(answer, limits.manifestSizeBytes, `read of manifest ${reference}`);
  const digest = digestOf(bytes);
  const promised = [reference, answer.header('docker-content-digest')].filter(isDigest);
  if (promised.some((one) => one !== digest))
    throw new RegistryError('DIGEST_MISMATCH', `${session.name}: manifest ${reference} is not what its digest says (${digest})`);
  return { digest, mediaType: mediaTypeOf(answer), bytes };
}

/**
 * Writes a manifest; what it refers to must be there. `subjectKnown`: the registry maintains referrers itself. `stored` is false when the
 * condition does not hold (RFC 9110, section 13.1), and the registry looks at conditions.
 */
export async function putManifestOnly(
  session: Session,
  reference: string,
  mediaType: string,
  bytes: Uint8Array,
  condition: Readonly<Record<string, string>> = {},
): Promise<{ readonly digest: Digest; readonly subjectKnown: boolean; readonly stored: boolean }> {
  const digest = digestOf(bytes);
  if (isDigest(reference) && reference !== digest)
    throw new ChainloopError('DIGEST_MISMATCH', `manifest ${reference}: its bytes are ${digest}`);
  const answer = await session.send({
    method: 'PUT',
    url: manifestUrl(session, reference),
    access: 'push',
    what: `write of manifest ${reference}`,
    accept: Object.keys(condition).length === 0 ? [200, 201, 202] : [200, 201, 202, 412],
    headers: { 'content-type': mediaType, ...condition },
    body: bytes,
    answerTimeoutMs: session.policy.commitTimeoutMs,
  });
  answer.discard();
  if (answer.status === 412) return { digest, subjectKnown: false, stored: false };
  const stored = answer.header('docker-content-digest');
  if (stored !== undefined && stored !== digest)
    throw new RegistryError('DIGEST_MISMATCH', `${session.name}: it stored manifest ${reference} as ${stored}, not ${digest}`);
  return { digest, subjectKnown: answer.header('oci-subject') !== undefined, stored: true };
}

/** Deletes a manifest by tag or digest; false when there is none. */
export async function deleteManifest(session: Session, reference: string): Promise<boolean> {
  const answer = await session.send({
    method: 'DELETE',
    url: manifestUrl(session, reference),
    access: 'delete',
    what: `removal of manifest ${reference}`,
    accept: [200, 202, 204, 404],
  });
  answer.discard();
  return answer.status !== 404;
}

const TagList = z.object({ tags: z.array(z.string()).nullish() });

/** The tags in the registry's order, one page: at most `count` after `last`. Registries may ignore both and send all. */
export async function tags(session: Session, page: { readonly count?: number; readonly last?: string } = {}): Promise<readonly string[]> {
  const url = session.url('tags/list');
  if (page.count !== undefined) url.searchParams.set('n', String(page.count));
  if (page.last !== undefined) url.searchParams.set('last', page.last);
  const answer = await session.send({ method: 'GET', url, access: 'pull', what: 'list of tags', accept: [200, 404] });
  if (answer.status === 404) {
    answer.discard();
    return [];
  }
  return (await readJson(session, answer, TagList, 'list of tags')).tags ?? [];
}

/** The JSON body of an answer, by schema. REGISTRY_ERROR when it is something else. */
export async function readJson<T>(session: Session, answer: HttpResponse, schema: z.ZodType<T>, what: string): Promise<T> {
  return parseAs(session, await session.read(answer, limits.manifestSizeBytes, what), schema, what);
}

export function parseAs<T>(session: Session, bytes: Uint8Array, schema: z.ZodType<T>, what: string): T {
  const parsed = schema.safeParse(jsonValue(bytes));
  if (parsed.success) return parsed.data;
  throw new RegistryError('REGISTRY_ERROR', `${session.name}: ${what} failed: the answer is not what the distribution specification says`);
}

function request(session: Session, method: 'GET' | 'HEAD', reference: string, accept: readonly string[]): Promise<HttpResponse> {
  return session.send({
    method,
    url: manifestUrl(session, reference),
    access: 'pull',
    what: `read of manifest ${reference}`,
    accept: [200, 404],
    headers: { accept: accept.join(', ') },
  });
}

function manifestUrl(session: Session, reference: string): URL {
  if (!isDigest(reference) && !isTag(reference)) throw new ChainloopError('USAGE', 'manifest reference: it is neither a tag nor a digest');
  return session.url(`manifests/${reference}`);
}

function mediaTypeOf(answer: HttpResponse): string {
  return (answer.header('content-type') ?? '').split(';')[0]?.trim() ?? '';
}
