import { createHttp } from '../../core/adapters/http.ts';
import { emptyConfig } from '../../core/adapters/oci/artifact-manifest.ts';
import { createAuthorizer } from '../../core/adapters/oci/auth.ts';
import { imageManifestType, putManifestOnly } from '../../core/adapters/oci/manifests.ts';
import { createSession } from '../../core/adapters/oci/session.ts';
import { defaultRetryPolicy } from '../../core/adapters/retry.ts';
import { digestOf } from '../../core/digest.ts';
import { limits } from '../../core/limits.ts';
import type { Work } from './attach-race.ts';

// A process of writers that know nothing of each other: each has the module with the turns for itself, as if it was a process of its own.

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

async function attach({ origin, subject, quietMs }: Work, writer: string): Promise<string> {
  const { createFallbackTags }: FallbackTag = await import(`../../core/adapters/oci/fallback-tag.ts?writer=${writer}`);
  const session = sessionTo(new URL(origin), quietMs);
  const config = { mediaType: emptyConfig.mediaType, digest: digestOf(emptyConfig.bytes), size: emptyConfig.bytes.byteLength };
  const manifest = { schemaVersion: 2, mediaType: imageManifestType, config, layers: [config], annotations: { subject, writer } };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const { digest } = await putManifestOnly(session, digestOf(bytes), imageManifestType, bytes);
  await createFallbackTags(session, undefined).add(subject, { mediaType: imageManifestType, digest, size: bytes.byteLength });
  return digest;
}

process.on('message', (work: Work) => {
  const all = Array.from({ length: work.writers }, (_, index) => attach(work, `${work.name}-${index}`));
  Promise.allSettled(all).then((ended) =>
    process.send?.(ended.map((one) => (one.status === 'fulfilled' ? { attached: one.value } : { failed: String(one.reason) }))),
  );
});
