import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { blobOf } from '../../../test/fakes/bytes.ts';
import { startRegistry } from '../../../test/fakes/docker-registry.ts';
import { startFaultProxy } from '../../../test/fakes/fault-proxy.ts';
import { startTinyRegistry } from '../../../test/fakes/tiny-registry.ts';
import { needs } from '../../../test/needs.ts';
import { digestOf, hexOf } from '../../digest.ts';
import { isChainloopError } from '../../errors.ts';
import { createRegistryClient } from './client.ts';
import { createImageResolver } from './image-resolver.ts';
import { imageIndexType, imageManifestType } from './manifests.ts';

const fast = { baseDelayMs: 4, maxDelayMs: 40 };
const config = Buffer.from('{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}');
const manifest = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: imageManifestType,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(config), size: config.byteLength },
    layers: [],
  }),
);
const digest = digestOf(manifest);
const descriptor = { mediaType: imageManifestType, digest, size: manifest.byteLength };
const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: imageIndexType, manifests: [descriptor] }));

async function folder() {
  const path = await mkdtemp(join(tmpdir(), 'chainloop-images-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

test('an image or index is resolved by tag, by digest, or by latest, with the credentials of docker login', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry({ auth: 'basic' });
  await using home = await folder();
  const { username, password, host } = registry;
  const client = createRegistryClient({
    origin: registry.origin,
    repository: 'acme/app',
    credentials: { type: 'basic', username, password },
  });
  await client.uploadBlob(blobOf(config));
  await client.putManifest('latest', imageManifestType, manifest);
  await client.putManifest('v1', imageIndexType, index);
  const auth = Buffer.from(`${username}:${password}`).toString('base64');
  await writeFile(join(home.path, 'config.json'), JSON.stringify({ auths: { [host]: { auth } } }));

  const resolver = createImageResolver({ env: { DOCKER_CONFIG: home.path }, fetchPolicy: fast });
  const repository = `${host}/acme/app`;
  assert.deepEqual(await resolver.resolve(repository), { repository, digest, mediaType: imageManifestType });
  const tagged = { repository, tag: 'v1', digest: digestOf(index), mediaType: imageIndexType };
  assert.deepEqual(await resolver.resolve(`${repository}:v1`), tagged);
  assert.deepEqual(await resolver.resolve(`${repository}@${digest}`), { repository, digest, mediaType: imageManifestType });

  const absent = digestOf('absent');
  for (const name of [`${repository}:v2`, `${repository}@${absent}`, `${host}/acme/other:v1`])
    await assert.rejects(resolver.resolve(name), (error) => isChainloopError(error, 'IMAGE_NOT_FOUND') && error.message.includes(name));

  const anonymous = createImageResolver({ env: { HOME: join(home.path, 'nowhere') }, fetchPolicy: fast });
  await assert.rejects(anonymous.resolve(repository), {
    code: 'REGISTRY_UNAUTHORIZED',
    message: new RegExp(`log in with: docker login ${host}, or give --registry-username and --registry-password`),
  });
  const explicit = createImageResolver({ env: {}, registryUsername: username, registryPassword: password, fetchPolicy: fast });
  assert.equal((await explicit.resolve(repository)).digest, digest);
  const wrong = createImageResolver({
    env: { DOCKER_CONFIG: home.path },
    registryUsername: username,
    registryPassword: 'wrong',
    fetchPolicy: fast,
  });
  await assert.rejects(wrong.resolve(repository), { code: 'REGISTRY_UNAUTHORIZED' });
  const half = createImageResolver({ env: {}, registryUsername: username });
  await assert.rejects(half.resolve(repository), { code: 'USAGE' });
});

test('a job of GitLab has the credentials of its own registry, and shows them to no other', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry({ auth: 'basic' });
  await using home = await folder();
  const { username, password, host } = registry;
  const client = createRegistryClient({
    origin: registry.origin,
    repository: 'acme/app',
    credentials: { type: 'basic', username, password },
  });
  await client.uploadBlob(blobOf(config));
  await client.putManifest('latest', imageManifestType, manifest);
  const job = { DOCKER_CONFIG: home.path, GITLAB_CI: 'true', CI_REGISTRY_USER: username, CI_REGISTRY_PASSWORD: password };
  const resolve = (env: Readonly<Record<string, string>>) => createImageResolver({ env, fetchPolicy: fast }).resolve(`${host}/acme/app`);
  assert.equal((await resolve({ ...job, CI_REGISTRY: host })).digest, digest);
  for (const env of [
    { ...job, CI_REGISTRY: 'registry.gitlab.com' },
    { ...job, CI_REGISTRY: host, GITLAB_CI: '' },
  ])
    await assert.rejects(resolve(env), (error) => isChainloopError(error, 'REGISTRY_UNAUTHORIZED'));
});

test('a host that no machine can have is USAGE', async () => {
  const resolver = createImageResolver({ env: { HOME: '/nonexistent' }, fetchPolicy: fast });
  for (const host of ['256.1.1.1', 'localhost:99999', '[:::::]'])
    await assert.rejects(resolver.resolve(`${host}/app`), { code: 'USAGE' }, host);
});

test('a registry that lies about a digest is not believed', async () => {
  await using registry = await startTinyRegistry();
  await createRegistryClient({ origin: registry.origin, repository: 'app' }).putManifest('v1', imageManifestType, manifest);
  await using proxy = await startFaultProxy({
    target: registry.origin,
    faults: [{ type: 'corruptResponse', method: 'GET', path: /manifests/ }],
  });
  const resolver = createImageResolver({ env: {}, fetchPolicy: fast, registryUsername: 'a', registryPassword: 'b' });
  await assert.rejects(resolver.resolve(`${proxy.host}/app:v1`), { code: 'DIGEST_MISMATCH' });
});

test('an answer that is no image is refused', async () => {
  await using registry = await startTinyRegistry();
  await createRegistryClient({ origin: registry.origin, repository: 'app' }).putManifest('v1', 'text/html', Buffer.from('{}'));
  const resolver = createImageResolver({ env: { HOME: '/nonexistent' }, fetchPolicy: fast });
  await assert.rejects(resolver.resolve(`${registry.host}/app:v1`), { code: 'IMAGE_NOT_FOUND', message: /text\/html is no image/ });
});

async function layout(root: string, name: string, manifests: readonly object[], content: Uint8Array = manifest): Promise<string> {
  const path = join(root, name);
  await mkdir(join(path, 'blobs', 'sha256'), { recursive: true });
  await writeFile(join(path, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(join(path, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  await writeFile(join(path, 'blobs', 'sha256', hexOf(digest)), content);
  return path;
}

test('an image in an OCI layout folder is resolved, verified, by path or by tag', async () => {
  await using root = await folder();
  const named = (name: string) => ({ ...descriptor, annotations: { 'org.opencontainers.image.ref.name': name } });
  const resolver = createImageResolver({ env: {} });
  const one = await layout(root.path, 'one', [descriptor]);
  const expected = { repository: 'one', digest, mediaType: imageManifestType, layout: one };
  assert.deepEqual(await resolver.resolve(one), expected);
  assert.deepEqual(await resolver.resolve(`oci:${one}`), expected);

  const twice = await layout(root.path, 'twice', [named('v1'), named('ghcr.io/acme/app:v2')]);
  assert.equal((await resolver.resolve(twice)).digest, digest);
  assert.deepEqual(await resolver.resolve(`oci:${twice}:v2`), {
    ...expected,
    ...{ repository: 'twice', tag: 'v2', layout: twice },
  });
  await assert.rejects(resolver.resolve(`oci:${twice}:v3`), { code: 'IMAGE_NOT_FOUND', message: /it has v1, ghcr\.io\/acme\/app:v2/ });

  const two = await layout(root.path, 'two', [named('a'), { ...named('b'), digest: digestOf('b') }]);
  await assert.rejects(resolver.resolve(two), { code: 'USAGE', message: /several images; choose one/ });
  await assert.rejects(resolver.resolve(`oci:${two}:b`), { code: 'USAGE' });
  assert.equal((await resolver.resolve(`oci:${two}:a`)).digest, digest);

  const changed = await layout(root.path, 'changed', [descriptor], Buffer.concat([manifest, Buffer.from(' ')]));
  await assert.rejects(resolver.resolve(changed), { code: 'DIGEST_MISMATCH' });
  const empty = await layout(root.path, 'empty', []);
  await assert.rejects(resolver.resolve(empty), { code: 'IMAGE_NOT_FOUND' });
  await assert.rejects(resolver.resolve(`oci:${join(root.path, 'absent')}`), { code: 'IMAGE_NOT_FOUND' });
  await assert.rejects(resolver.resolve(`oci:${root.path}`), { code: 'USAGE', message: /is the folder an OCI image layout/ });
  await writeFile(join(one, 'index.json'), '{"manifests":[{"digest":"sha256:../../../etc/passwd"}]}');
  await assert.rejects(resolver.resolve(one), { code: 'USAGE' });
});
