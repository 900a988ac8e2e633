import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { emptyConfig, materialManifest, materialTag } from '../../core/adapters/oci/evidence-store.ts';
import { digestOf, hexOf } from '../../core/digest.ts';
import { startGateway, tokens } from '../../test/fakes/gateway.ts';
import { needs } from '../../test/needs.ts';
import { attestationTag, storeAttestation } from '../storage/attestation.ts';
import { emptyDescriptor, mediaTypes } from '../storage/manifest.ts';
import { pushBlob } from '../storage/storage.ts';

const run = promisify(execFile);
const skopeo = async (...options: string[]): Promise<string> => (await run('skopeo', options)).stdout;

test('skopeo lists, inspects and copies evidence with a token, and puts it into another organization', async (t) => {
  if (!needs(t, 'skopeo')) return;
  await using gateway = await startGateway();
  const folder = await mkdtemp(join(tmpdir(), 'chainloop-skopeo-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const bytes = randomBytes(700_000);
  const digest = digestOf(bytes);
  const tag = materialTag(digest);
  const manifest = materialManifest({ digest, sizeBytes: bytes.byteLength, mediaType: 'application/octet-stream', fileName: 'a.bin' });
  await pushBlob(gateway.storage, emptyConfig.bytes, emptyDescriptor.digest);
  await pushBlob(gateway.storage, bytes, digest);
  await gateway.storage.putManifest(tag, mediaTypes.manifest, manifest);
  const bundle = await storeAttestation(gateway.storage, Buffer.from('{"a":"bundle"}'), [digestOf(manifest)]);

  const login = ['--tls-verify=false', '--creds', `x:${tokens.api}`];
  const acme = `docker://${gateway.host}/acme`;
  assert.deepEqual(JSON.parse(await skopeo('list-tags', ...login, acme)).Tags, [attestationTag(bundle), tag]);
  assert.equal(await skopeo('inspect', '--raw', ...login, `${acme}:${tag}`), Buffer.from(manifest).toString());
  assert.equal(await skopeo('inspect', '--raw', ...login, `${acme}@${digestOf(manifest)}`), Buffer.from(manifest).toString());

  const source = ['--src-tls-verify=false', '--src-creds', `x:${tokens.api}`];
  await skopeo('copy', ...source, `${acme}:${tag}`, `oci:${folder}:a`);
  assert.deepEqual(await readFile(join(folder, 'blobs', 'sha256', hexOf(digest))), bytes);
  const destination = ['--dest-tls-verify=false', '--dest-creds', `x:${tokens.stranger}`];
  await skopeo('copy', ...destination, `oci:${folder}:a`, `docker://${gateway.host}/other:${tag}`);
  assert.equal(gateway.evidence.at(-1)?.digest, digest);
  await skopeo('inspect', '--raw', '--tls-verify=false', '--creds', `x:${tokens.stranger}`, `docker://${gateway.host}/other:${tag}`);

  await assert.rejects(skopeo('inspect', '--raw', '--tls-verify=false', '--creds', 'x:wrong', `${acme}:${tag}`), /unauthorized/);
  await assert.rejects(
    skopeo('inspect', '--raw', '--tls-verify=false', '--creds', `x:${tokens.stranger}`, `${acme}:${tag}`),
    /name unknown|not known/,
  );
});
