import { randomBytes } from 'node:crypto';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Digest, digestOf } from '../../core/digest.ts';
import { createSecrets } from '../../server/sealing.ts';
import { openLayout } from '../../server/storage/layout.ts';
import { emptyDescriptor, mediaTypes } from '../../server/storage/manifest.ts';
import { createRegistryStorage } from '../../server/storage/registry.ts';
import { createS3Storage } from '../../server/storage/s3.ts';
import type { Storage } from '../../server/storage/storage.ts';
import { type Need, needs } from '../needs.ts';
import { type Registry, startRegistry } from './docker-registry.ts';
import { type FakeGateway, startGateway, tokens } from './gateway.ts';
import { type Answer, type Call, call } from './http-call.ts';
import { type FakeS3, startS3 } from './s3.ts';

/** A gateway in front of one kind of storage, and what a client of acme does there. */
export type Endpoint = {
  readonly gateway: FakeGateway;
  /** One request, with acme's API token; a path that does not begin with a slash is one of acme. */
  ask(method: string, path: string, options?: Call): Promise<Answer>;
  /** Pushes bytes as a blob. */
  blob(bytes: Uint8Array | string): Promise<Digest>;
  /** Pushes a manifest by tag, or by its digest. */
  manifest(content: object, options?: { readonly tag?: string; readonly type?: string }): Promise<Answer & { readonly digest: Digest }>;
};

const owner = { organizationId: 'acme', secrets: createSecrets(randomBytes(32)) };
let registry: Promise<Registry> | undefined;
let bucket: Promise<FakeS3> | undefined;
after(async () => {
  await (await registry)?.[Symbol.asyncDispose]();
  await (await bucket)?.[Symbol.asyncDispose]();
});

const kinds: Readonly<Record<string, { readonly need?: Need; open(directory: string): Promise<Storage> }>> = {
  'layout on disk': { open: (directory) => openLayout(join(directory, 'layout')) },
  'docker-registry': {
    need: 'docker-registry',
    async open() {
      registry ??= startRegistry();
      const { origin } = await registry;
      // One for all tests of a file, a repository for each.
      return createRegistryStorage({ client: { origin, repository: `acme-${randomBytes(8).toString('hex')}` }, ...owner });
    },
  },
  s3: {
    async open() {
      bucket ??= startS3({ partSizeBytes: 1024 * 1024 });
      const { origin, bucket: name, region, credentials } = await bucket;
      const client = { origin, bucket: name, region, credentials, prefix: randomBytes(8).toString('hex'), virtualHost: false };
      return createS3Storage({ client, ...owner, partSizeBytes: 1024 * 1024 });
    },
  },
};

/** Runs a test once for each kind of storage, or for those. `claim` begins with the section of the distribution specification 1.1. */
export function conforms(claim: string, run: (endpoint: Endpoint) => Promise<void>, only: readonly string[] = Object.keys(kinds)): void {
  for (const [kind, { need, open }] of Object.entries(kinds)) {
    if (!only.includes(kind)) continue;
    test(`${claim} (${kind})`, async (t) => {
      if (need !== undefined && !needs(t, need)) return;
      await using directory = await mkdtempDisposable(join(tmpdir(), 'chainloop-conformance-'));
      await using gateway = await startGateway({ storage: await open(directory.path) });
      await run(endpointOf(gateway));
    });
  }
}

function endpointOf(gateway: FakeGateway): Endpoint {
  const ask: Endpoint['ask'] = (method, path, options) =>
    call(gateway.origin, method, path.startsWith('/') ? path : `/v2/acme/${path}`, { token: tokens.api, ...options });
  return {
    gateway,
    ask,
    async blob(bytes) {
      const digest = digestOf(bytes);
      const { headers } = await ask('POST', 'blobs/uploads/');
      await ask('PUT', `${headers.location}?digest=${digest}`, { body: bytes });
      return digest;
    },
    async manifest(content, { tag, type = mediaTypes.manifest } = {}) {
      const body = JSON.stringify(content);
      const digest = digestOf(body);
      return { ...(await ask('PUT', `manifests/${tag ?? digest}`, { body, headers: { 'content-type': type } })), digest };
    },
  };
}

/** An image manifest with the empty configuration, which must be pushed before. */
export function imageManifest(fields: object = {}): object {
  return { schemaVersion: 2, mediaType: mediaTypes.manifest, config: emptyDescriptor, layers: [], ...fields };
}
