import { createHttp } from '../../core/adapters/http.ts';
import { emptyConfig } from '../../core/adapters/oci/artifact-manifest.ts';
import { createAuthorizer } from '../../core/adapters/oci/auth.ts';
import { imageManifestType, putManifestOnly } from '../../core/adapters/oci/manifests.ts';
import { createSession } from '../../core/adapters/oci/session.ts';
import { defaultRetryPolicy } from '../../core/adapters/retry.ts';
import { type Digest, digestOf } from '../../core/digest.ts';
import { limits } from '../../core/limits.ts';

type FallbackTag = typeof import('../../core/adapters/oci/fallback-tag.ts');

function sessionTo(origin: URL, quietMs: number) {
  const http = createHttp();
  const subject = { name: 'registry', what: 'attach', advice: '' };
  const options = { http, foreignHttp: http, origin, repository: 'acme/app' };
  return createSession({
    ...options,
    name: 'registry',
    authorizer: createAuthorizer({ ...options, credentials: { type: 'anonymous' }, tokenHosts: [], subject }),
    userAgent: 'test',
    advice: '',
    policy: {
      ...defaultRetryPolicy,
      requestTimeoutMs: limits.requestTimeoutMs,
      idleTimeoutMs: limits.idleTimeoutMs,
      commitTimeoutMs: limits.commitTimeoutMs,
      quietMs,
    },
  });
}

/**
 * Attaches to an image like a process of its own: with a copy of the module with the turns, so that it knows nothing of the other writers here. The
 * answer is the digest of what now refers to the image.
 */
export async function attachAlone(
  { origin, subject, quietMs }: { readonly origin: string; readonly subject: Digest; readonly quietMs: number },
  writer: string,
): Promise<Digest> {
  const { createFallbackTags }: FallbackTag = await import(`../../core/adapters/oci/fallback-tag.ts?writer=${writer}`);
  const session = sessionTo(new URL(origin), quietMs);
  const config = { mediaType: emptyConfig.mediaType, digest: digestOf(emptyConfig.bytes), size: emptyConfig.bytes.byteLength };
  const manifest = { schemaVersion: 2, mediaType: imageManifestType, config, layers: [config], annotations: { subject, writer } };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const { digest } = await putManifestOnly(session, digestOf(bytes), imageManifestType, bytes);
  await createFallbackTags(session, undefined).add(subject, { mediaType: imageManifestType, digest, size: bytes.byteLength });
  return digest;
}
