import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { discover } from '../cli/discover.ts';
import { createBundleAttacher } from '../core/adapters/oci/bundle-attacher.ts';
import { createRegistryClient } from '../core/adapters/oci/client.ts';
import { imageIndexType, imageManifestType } from '../core/adapters/oci/manifests.ts';
import { attach, imagesOfBundle } from '../core/attestation.ts';
import { type Digest, digestOf, hexOf } from '../core/digest.ts';
import type { Discovery } from '../core/discover.ts';
import { startRegistry } from './fakes/docker-registry.ts';
import { type GateScene, san, startGateScene } from './fakes/gate.ts';
import { invoked } from './fakes/invoked.ts';
import { refused, succeeded } from './fakes/workplace.ts';
import { needs } from './needs.ts';

// The gate and container images: by their reference, in their own registry or in a folder, and as an index or one platform of it.

const config = Buffer.from('{}');
const bytesOf = (value: unknown): Uint8Array => new Uint8Array(Buffer.from(JSON.stringify(value)));
/** An image without layers; `name` makes it another. */
const imageOf = (name: string): Uint8Array =>
  bytesOf({
    schemaVersion: 2,
    mediaType: imageManifestType,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(config), size: config.length },
    layers: [],
    annotations: { name },
  });
const indexOf = (...images: readonly Uint8Array[]): Uint8Array =>
  bytesOf({
    schemaVersion: 2,
    mediaType: imageIndexType,
    manifests: images.map((bytes) => ({ mediaType: imageManifestType, digest: digestOf(bytes), size: bytes.byteLength })),
  });

async function withImages(database: 'pglite'): Promise<GateScene> {
  const scene = await startGateScene(database);
  const body =
    'schemaVersion: v1\nmaterials:\n  - { type: STRING, name: commit }\n  - { type: CONTAINER_IMAGE, name: binary, output: true }\n';
  await scene.api.contract.create.mutate({ name: 'image', format: 'yaml', body });
  await scene.api.workflow.create.mutate({ name: 'image', project: 'bedrock', contract: 'image' });
  await scene.bind('github', { workflow: 'bedrock/image' });
  return scene;
}

const attest = (scene: GateScene, repository: string, digest: Digest, then: 'push' | 'fail' = 'push') =>
  scene.attest({
    ...{ workflow: 'image', then },
    material: { name: 'binary', type: 'CONTAINER_IMAGE', digest, fileName: repository, uploaded: false, annotations: {} },
  });

test('an image passes by tag and by digest, online and by what is attached in its registry; an index is not its platforms', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry();
  await using scene = await withImages('pglite');
  const repository = `${registry.host}/acme/app`;
  const client = createRegistryClient({ origin: registry.origin, repository: 'acme/app' });
  const read = async function* () {
    yield new Uint8Array(config);
  };
  await client.uploadBlob({ sizeBytes: config.length, read });
  const [amd, arm, other] = [imageOf('amd64'), imageOf('arm64'), imageOf('other')];
  const index = indexOf(amd, arm);
  for (const [tag, bytes] of [
    ['amd', amd],
    ['arm', arm],
    ['other', other],
  ] as const)
    await client.putManifest(tag, imageManifestType, bytes);
  await client.putManifest('v1', imageIndexType, index);
  const pinned = ['--workflow', 'bedrock/image', '--trust-root', scene.root];

  const { runId, bundle } = await attest(scene, repository, digestOf(index));
  for (const name of [`${repository}:v1`, `${repository}@${digestOf(index)}`, digestOf(index)]) {
    const { answer, code, stderr } = await scene.verify([name, ...pinned], scene);
    assert.deepEqual([code, answer?.run], [0, runId], stderr);
    const env = { ...scene.line.env, CHAINLOOP_URL: scene.plane.url, CHAINLOOP_TOKEN: scene.token };
    const found: Discovery = JSON.parse(succeeded(await invoked(discover, ['discover', name, '--output', 'json'], env)));
    assert.deepEqual(
      found.items.map(({ run }) => run.id),
      [runId],
    );
  }

  // What is attached is found without the control plane, once it is attached; and what else lies there does not hide it.
  const offline = [...pinned, '--offline', '--identity', san];
  const bare = await scene.verify([`${repository}:v1`, ...offline]);
  assert.equal(bare.answer?.code, 'ATTESTATION_NOT_FOUND', bare.stderr);
  assert.match(bare.answer?.checks[0]?.fix ?? '', new RegExp(`attestation attach --bundle FILE ${repository}@${digestOf(index)}`));
  const attacher = createBundleAttacher({ env: {} });
  const text = await readFile(bundle, 'utf8');
  for (const content of [text, text.replace('"sig":"', '"sig":"AAAA')]) {
    const attached = { bytes: Buffer.from(content), predicateType: 'chainloop.dev/attestation/v0.2', createdAt: '2026-11-23T09:00:00Z' };
    await attacher.attach({ repository, digest: digestOf(index) }, attached);
  }
  const found = await scene.verify([`${repository}:v1`, ...offline]);
  assert.deepEqual([found.code, found.answer?.run], [0, runId], found.stderr);

  // One platform of it was attested elsewhere: the index is another digest, and the gate says which one was meant.
  await attest(scene, repository, digestOf(arm));
  const lone = indexOf(arm, other);
  await client.putManifest('v2', imageIndexType, lone);
  const { answer } = await scene.verify([`${repository}:v2`, ...pinned], scene);
  assert.equal(answer?.code, 'ATTESTATION_NOT_FOUND');
  const meant = /verify (\S+)$/.exec(answer?.checks[0]?.fix ?? '')?.[1] ?? '';
  assert.equal(meant, `${repository}@${digestOf(arm)}`);
  assert.equal((await scene.verify([meant, ...pinned], scene)).code, 0);
  const platform = await scene.verify([`${repository}:amd`, ...pinned], scene);
  assert.match(platform.answer?.checks[0]?.fix ?? '', /verify the image by its tag, which is what was attested/);

  // A run that failed may have left its attestation on the image: the control plane's word counts.
  const failed = await attest(scene, repository, digestOf(other), 'fail');
  await attach(attacher, await readFile(failed.bundle, 'utf8'), imagesOfBundle(await readFile(failed.bundle, 'utf8')));
  assert.equal((await scene.verify([`${repository}:other`, ...offline])).code, 0, 'offline nobody says so without --vsa');
  const open = await scene.verify([`${repository}:other`, ...pinned, '--identity', san], scene);
  assert.deepEqual([open.code, open.answer?.code], [3, 'RUN_NOT_SUCCESSFUL'], open.stderr);
  const absent = await scene.verify([`${repository}:absent`, ...pinned], scene);
  assert.equal(absent.code, 2, absent.stderr);
  client.close();
  await registry[Symbol.asyncDispose]();
  const gone = await scene.verify([`${repository}@${digestOf(amd)}`, ...offline]);
  assert.equal(gone.code, 75, gone.stderr);
});

test('an image in a folder passes by what is attached there', async () => {
  await using scene = await withImages('pglite');
  const image = imageOf('layout');
  const layout = join(scene.line.folder, 'image');
  await mkdir(join(layout, 'blobs', 'sha256'), { recursive: true });
  await writeFile(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(join(layout, 'blobs', 'sha256', hexOf(digestOf(image))), image);
  const manifests = [{ mediaType: imageManifestType, digest: digestOf(image), size: image.byteLength }];
  await writeFile(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  const { bundle, runId } = await attest(scene, 'image', digestOf(image));
  const bare = await scene.verify([`oci:${layout}`, '--offline', '--trust-root', scene.root, '--identity', san]);
  assert.deepEqual([bare.code, bare.answer?.code], [4, 'ATTESTATION_NOT_FOUND'], bare.stderr);
  assert.match(bare.answer?.checks[0]?.fix ?? '', new RegExp(`^chainloop attestation attach --bundle FILE oci:${layout};`));
  const none = await scene.verify([scene.line.folder, '--offline', '--trust-root', scene.root, '--identity', san]);
  assert.deepEqual([none.code, /is the folder an OCI image layout\?/.test(none.stderr)], [2, true], none.stderr);
  const bytes = await readFile(bundle);
  const content = { bytes, predicateType: 'chainloop.dev/attestation/v0.2', createdAt: '2026-11-23T09:00:00Z' };
  await createBundleAttacher({ env: {} }).attach({ repository: 'image', digest: digestOf(image), layout }, content);
  for (const name of [`oci:${layout}`, layout]) {
    const { code, answer, stderr } = await scene.verify([name, '--offline', '--trust-root', scene.root, '--identity', san]);
    assert.deepEqual([code, answer?.run], [0, runId], stderr);
  }

  // What discover takes for the same: the folder, and what the control plane signed of the run, as digest or file.
  const { vsa, provenance } = await scene.api.verdict.describe.query({ runId });
  const env = { ...scene.line.env, CHAINLOOP_URL: scene.plane.url, CHAINLOOP_TOKEN: scene.token };
  for (const [what, touches] of [
    [`oci:${layout}`, [{ role: 'subject', name: 'binary', type: 'CONTAINER_IMAGE' }]],
    [layout, [{ role: 'subject', name: 'binary', type: 'CONTAINER_IMAGE' }]],
    [bundle, [{ role: 'attestation' }]],
    [vsa?.digest ?? '', [{ role: 'vsa' }]],
    [provenance?.digest ?? '', [{ role: 'provenance' }]],
  ] as const) {
    const { items }: Discovery = JSON.parse(succeeded(await invoked(discover, ['discover', what, '--output', 'json'], env)));
    assert.deepEqual(
      items.map((item) => [item.run.id, item.touches]),
      [[runId, touches]],
    );
  }
  refused(await invoked(discover, ['discover', scene.line.folder], env), 2, /is the folder an OCI image layout\?/);
});
