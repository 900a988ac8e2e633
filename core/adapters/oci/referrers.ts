import * as z from 'zod';
import { type Digest, hexOf } from '../../digest.ts';
import { limits } from '../../limits.ts';
import { createPauses } from '../retry.ts';
import { RegistryError } from './errors.ts';
import { Descriptor, getManifest, imageIndexType, parseAs, putManifestOnly, readJson } from './manifests.ts';
import type { Session } from './session.ts';

const Index = z.looseObject({ manifests: z.array(Descriptor) });
const Subject = z.looseObject({
  mediaType: z.string().optional(),
  artifactType: z.string().optional(),
  config: z.looseObject({ mediaType: z.string() }).optional(),
  subject: Descriptor.optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});

/** The tag that lists the referrers where the registry does not (distribution specification, "Referrers Tag Schema"). */
export function fallbackTag(subject: Digest): string {
  return `sha256-${hexOf(subject)}`;
}

/** The manifests whose `subject` is this digest: by the referrers API, else by the fallback tag. Unknown subjects have none. */
export async function referrers(session: Session, subject: Digest): Promise<readonly Descriptor[]> {
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
      return (await readFallback(session, subject)).manifests;
    }
    const next = nextLink(answer.header('link'));
    found.push(...(await readJson(session, answer, Index, what)).manifests);
    url = next === undefined ? undefined : session.sameOrigin(next, url, what);
  }
  return found;
}

/**
 * Writes a manifest. When it has a `subject` and the registry does not say that it keeps referrers (no OCI-Subject header), the
 * fallback tag is maintained: read, merge, write, and read again, until the entry stands.
 */
export async function putManifest(session: Session, reference: string, mediaType: string, bytes: Uint8Array): Promise<Digest> {
  const parsed = Subject.safeParse(parseAs(session, bytes, z.unknown(), `write of manifest ${reference}`));
  const { digest, subjectKnown } = await putManifestOnly(session, reference, mediaType, bytes);
  const subject = parsed.data?.subject;
  if (subject === undefined || subjectKnown) return digest;
  const artifactType = parsed.data?.artifactType || parsed.data?.config?.mediaType;
  const annotations = parsed.data?.annotations;
  await addToFallback(session, subject.digest, {
    mediaType,
    digest,
    size: bytes.byteLength,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
  });
  return digest;
}

/** Writers of one tag in this process take turns; those of other processes are found by the second reading. */
const turns = new Map<string, Promise<void>>();

async function addToFallback(session: Session, subject: Digest, entry: Descriptor): Promise<void> {
  const key = session.url(`manifests/${fallbackTag(subject)}`).href;
  const before = turns.get(key) ?? Promise.resolve();
  const mine = before.catch(() => {}).then(() => mergeIntoFallback(session, subject, entry));
  turns.set(key, mine);
  try {
    await mine;
  } finally {
    if (turns.get(key) === mine) turns.delete(key);
  }
}

async function mergeIntoFallback(session: Session, subject: Digest, entry: Descriptor): Promise<void> {
  const pauses = createPauses(session.policy);
  for (;;) {
    const index = await readFallback(session, subject);
    if (index.manifests.some(({ digest }) => digest === entry.digest)) return;
    const merged = { ...index, manifests: [...index.manifests, entry] };
    await putManifestOnly(session, fallbackTag(subject), imageIndexType, Buffer.from(JSON.stringify(merged)));
    const after = await readFallback(session, subject);
    if (after.manifests.some(({ digest }) => digest === entry.digest)) return;
    if (!(await pauses.wait()))
      throw new RegistryError('REGISTRY_ERROR', `${session.name}: others keep overwriting the referrers of ${subject}; try again`);
  }
}

async function readFallback(session: Session, subject: Digest): Promise<z.infer<typeof Index>> {
  const manifest = await getManifest(session, fallbackTag(subject), [imageIndexType]);
  if (manifest === undefined) return { schemaVersion: 2, mediaType: imageIndexType, manifests: [] };
  return parseAs(session, manifest.bytes, Index, `referrers of ${subject}`);
}

/** The target of `<url>; rel="next"` (RFC 8288). */
function nextLink(header: string | undefined): string | undefined {
  return /<([^<>]*)>\s*;[^,<]*\brel="?next"?/.exec(header ?? '')?.[1];
}
