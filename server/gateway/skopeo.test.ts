import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { emptyConfig, materialManifest, materialTag } from '../../core/adapters/oci/evidence-store.ts';
import { digestOf, hexOf } from '../../core/digest.ts';
import { startGateway, tokens } from '../../test/fakes/gateway.ts';
import { needs } from '../../test/needs.ts';
import { attestationTag, storeAttestation } from '../storage/attestation.ts';
import { emptyDescriptor, mediaTypes } from '../storage/manifest.ts';
import { pushBlob, type Storage } from '../storage/storage.ts';

const run = promisify(execFile);
const skopeo = async (...options: string[]): Promise<string> => (await run('skopeo', options)).stdout;

test('skopeo logs in, lists, inspects and copies evidence with a token, and puts it into another organization', async (t) => {
  if (!needs(t, 'skopeo')) return;
  await using gateway = await startGateway();
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-skopeo-'));
  const bytes = randomBytes(700_000);
  const digest = digestOf(bytes);
  const tag = materialTag(digest);
  const manifest = materialManifest({ digest, sizeBytes: bytes.byteLength, mediaType: 'application/octet-stream', fileName: 'a.bin' });
  await pushBlob(gateway.storage, emptyConfig.bytes, emptyDescriptor.digest);
  await pushBlob(gateway.storage, bytes, digest);
  await gateway.storage.putManifest(tag, mediaTypes.manifest, manifest);
  const bundle = await storeAttestation(gateway.storage, Buffer.from('{"a":"bundle"}'));

  const authfile = ['--authfile', join(folder.path, 'auth.json')];
  await skopeo('login', ...authfile, '--tls-verify=false', '-u', 'x', '-p', tokens.revocable, gateway.host);
  const login = [...authfile, '--tls-verify=false'];
  const acme = `docker://${gateway.host}/acme`;
  assert.deepEqual(JSON.parse(await skopeo('list-tags', ...login, acme)).Tags, [attestationTag(bundle), tag]);
  assert.equal(await skopeo('inspect', '--raw', ...login, `${acme}:${tag}`), Buffer.from(manifest).toString());
  assert.equal(await skopeo('inspect', '--raw', ...login, `${acme}@${digestOf(manifest)}`), Buffer.from(manifest).toString());
  assert.ok(gateway.samples.some(({ route, status }) => route === 'token' && status === 200));

  const layout = `oci:${join(folder.path, 'layout')}:a`;
  await skopeo('copy', ...authfile, '--src-tls-verify=false', `${acme}:${tag}`, layout);
  assert.deepEqual(await readFile(join(folder.path, 'layout', 'blobs', 'sha256', hexOf(digest))), bytes);
  const stranger = ['--tls-verify=false', '--creds', `x:${tokens.stranger}`];
  const destination = ['--dest-tls-verify=false', '--dest-creds', `x:${tokens.stranger}`];
  await skopeo('copy', ...destination, layout, `docker://${gateway.host}/other:${tag}`);
  assert.equal(gateway.evidence.at(-1)?.digest, digest);
  await skopeo('inspect', '--raw', ...stranger, `docker://${gateway.host}/other:${tag}`);

  await assert.rejects(skopeo('inspect', '--raw', '--tls-verify=false', '--creds', 'x:wrong', `${acme}:${tag}`), /unauthorized/);
  await assert.rejects(skopeo('inspect', '--raw', ...stranger, `${acme}:${tag}`), /name unknown|not known/);
  gateway.revoke(tokens.revocable);
  await assert.rejects(skopeo('list-tags', ...login, acme), /unauthorized/);
});

test('skopeo copies an image of two platforms out and in again, byte for byte', async (t) => {
  if (!needs(t, 'skopeo')) return;
  await using gateway = await startGateway();
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-skopeo-'));
  const index = await pushImageIndex(gateway.storage);
  const layout = `oci:${join(folder.path, 'layout')}:a`;
  const all = ['copy', '--all', '--preserve-digests'];
  const image = `docker://${gateway.host}/acme:image`;
  await skopeo(...all, '--src-tls-verify=false', '--src-creds', `x:${tokens.api}`, image, layout);
  const copy = `docker://${gateway.host}/other:copy`;
  await skopeo(...all, '--dest-tls-verify=false', '--dest-creds', `x:${tokens.stranger}`, layout, copy);
  assert.equal(await skopeo('inspect', '--raw', '--tls-verify=false', '--creds', `x:${tokens.stranger}`, copy), index);
  const platform = ['--override-os', 'linux', '--override-arch', 'arm64'];
  const inspected = JSON.parse(await skopeo('inspect', ...platform, '--tls-verify=false', '--creds', `x:${tokens.api}`, image));
  assert.equal(inspected.Architecture, 'arm64');
});

/** `image`, for two platforms. Answers the bytes of the index. */
async function pushImageIndex(storage: Storage): Promise<string> {
  const push = async (mediaType: string, bytes: Uint8Array): Promise<object> => {
    await pushBlob(storage, bytes, digestOf(bytes));
    return { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
  };
  const manifests: object[] = [];
  for (const architecture of ['amd64', 'arm64']) {
    const content = randomBytes(10_000);
    const layers = [await push('application/vnd.oci.image.layer.v1.tar+gzip', gzipSync(content))];
    const configuration = { architecture, os: 'linux', config: {}, rootfs: { type: 'layers', diff_ids: [digestOf(content)] } };
    const config = await push('application/vnd.oci.image.config.v1+json', Buffer.from(JSON.stringify(configuration)));
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers }));
    const digest = await storage.putManifest(digestOf(bytes), mediaTypes.manifest, bytes);
    manifests.push({ mediaType: mediaTypes.manifest, digest, size: bytes.length, platform: { architecture, os: 'linux' } });
  }
  const index = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests });
  await storage.putManifest('image', mediaTypes.index, Buffer.from(index));
  return index;
}
