import * as z from 'zod';
import type { Digest } from '../../digest.ts';
import { limits } from '../../limits.ts';
import { type FallbackTags, Index } from './fallback-tag.ts';
import { Descriptor, imageIndexType, parseAs, putManifestOnly, readJson } from './manifests.ts';
import type { Session } from './session.ts';

const Subject = z.looseObject({
  mediaType: z.string().optional(),
  artifactType: z.string().optional(),
  config: z.looseObject({ mediaType: z.string() }).optional(),
  subject: Descriptor.optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});

/** The manifests whose `subject` is this digest: by the referrers API, else by the fallback tag. Unknown subjects have none. */
export async function referrers(session: Session, fallback: FallbackTags, subject: Digest): Promise<readonly Descriptor[]> {
  const what = `referrers of ${subject}`;
  const found: Descriptor[] = [];
  let url: URL | undefined = session.url(`referrers/${subject}`);
  for (let page = 0; url !== undefined && page < limits.registryPages; page++) {
    // Where there is no API: ECR answered 405, some proxies answer 400, and ghcr.io redirects to a page of another host (artifacthub/hub #4785).
    const answer = await session.send({
      method: 'GET',
      url,
      access: 'pull',
      what,
      accept: [200, 301, 302, 303, 307, 308, 400, 404, 405],
      follow: false,
      headers: { accept: imageIndexType },
    });
    if (answer.status !== 200) {
      answer.discard();
      return fallback.read(subject);
    }
    const next = nextLink(answer.header('link'));
    found.push(...(await readJson(session, answer, Index, what)).manifests);
    url = next === undefined ? undefined : session.sameOrigin(next, url, what);
  }
  return found;
}

/**
 * Writes a manifest. When it has a `subject` and the registry does not say that it keeps referrers (no OCI-Subject header), the
 * fallback tag is maintained.
 */
export async function putManifest(
  session: Session,
  fallback: FallbackTags,
  reference: string,
  mediaType: string,
  bytes: Uint8Array,
): Promise<Digest> {
  const parsed = Subject.safeParse(parseAs(session, bytes, z.unknown(), `write of manifest ${reference}`));
  const { digest, subjectKnown } = await putManifestOnly(session, reference, mediaType, bytes);
  const subject = parsed.data?.subject;
  if (subject === undefined || subjectKnown) return digest;
  const artifactType = parsed.data?.artifactType || parsed.data?.config?.mediaType;
  const annotations = parsed.data?.annotations;
  await fallback.add(subject.digest, {
    mediaType,
    digest,
    size: bytes.byteLength,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
  });
  return digest;
}

/** The target of `<url>; rel="next"` (RFC 8288). */
function nextLink(header: string | undefined): string | undefined {
  return /<([^<>]*)>\s*;[^,<]*\brel="?next"?/.exec(header ?? '')?.[1];
}
