import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aJob, binary, fails, file, root, statementIn } from '../../test/fakes/crafting-job.ts';
import { Contract } from '../contract/schema.ts';
import { digestOf } from '../digest.ts';

test('a material that the contract does not have is refused, with the nearest name', async () => {
  const job = aJob();
  await job.init();
  await fails(job.add('binray', binary), 'MATERIAL_UNKNOWN', /did you mean 'binary'/);
});

test('a mistyped file name does not become a STRING (lessons.md, 11)', async () => {
  const job = aJob();
  await job.init();
  await fails(
    job.add('binary', './no/such/file'),
    'FILE_NOT_FOUND',
    /no such file: \.\/no\/such\/file; to record text .*: it asks for ARTIFACT here/,
  );
  assert.deepEqual((await job.status()).materials, []);
});

test('a kind that is given must be the one that the contract asks for', async () => {
  const job = aJob();
  await job.init();
  await fails(job.add('binary', 'text', { kind: 'STRING' }), 'MATERIAL_KIND_MISMATCH', /asks for ARTIFACT/);
  await job.add('binary', binary, { kind: 'ARTIFACT' });
});

const badValues = [
  ['an empty text', 'commit', '', 'USAGE'],
  ['a text that is too long', 'commit', 'x'.repeat(16 * 1024 + 1), 'LIMIT_EXCEEDED'],
  ['half of a surrogate pair', 'commit', '\ud800', 'USAGE'],
  ['a directory', 'binary', root, 'FILE_UNREADABLE'],
  ['an empty file', 'binary', file('empty', ''), 'FILE_EMPTY'],
  ['a file with a line break in its name', 'binary', file('new\nline.tar', 'x'), 'USAGE'],
  ['an image that is not there', 'image', 'ghcr.io/acme/app:v2', 'IMAGE_NOT_FOUND'],
] as const;
for (const [what, name, value, code] of badValues) {
  test(`${what} is no evidence: ${code}, and nothing is recorded`, async () => {
    const job = aJob();
    await job.init();
    await fails(job.add(name, value), code, new RegExp(`material '${name}'`));
    assert.deepEqual((await job.status()).materials, []);
    assert.equal(job.plane.evidence.size, 0);
  });
}

test('a text that is also the name of a file is recorded as text', async () => {
  const job = aJob();
  await job.init();
  assert.equal((await job.add('commit', binary)).material.value, binary);
});

test('evidence that the contract keeps out of storage is measured, and not uploaded', async () => {
  const job = aJob();
  await job.init();
  const { material } = await job.add('notes', binary);
  assert.deepEqual(material, {
    name: 'notes',
    type: 'EVIDENCE',
    digest: digestOf('the binary'),
    fileName: 'server.tar',
    sizeBytes: 10,
    uploaded: false,
    annotations: { stage: 'build' },
  });
  assert.equal(job.plane.evidence.size, 0);
});

test('an annotation that the contract does not have is refused before anything is uploaded', async () => {
  const job = aJob();
  await job.init();
  await fails(job.add('binary', binary, { annotations: { a: '1' } }), 'CONTRACT_NOT_SATISFIED', /no annotation 'a'/);
  await fails(job.add('notes', binary, { annotations: { stage: 'test' } }), 'CONTRACT_NOT_SATISFIED', /must be 'build'/);
  assert.equal(job.plane.evidence.size, 0);
});

test('adding again replaces other content, and says so', async () => {
  const job = aJob();
  await job.init();
  assert.equal((await job.add('commit', 'a')).replaced, false);
  assert.equal((await job.add('commit', 'a')).replaced, false);
  assert.equal((await job.add('commit', 'b')).replaced, true);
  assert.deepEqual(
    (await job.status()).materials.map((material) => material.value),
    ['b'],
  );
});

test('materials that are added at the same time are all part of the attestation (lessons.md, 16)', async () => {
  const names = Array.from({ length: 20 }, (_, index) => `m${index}`);
  const job = aJob({ contract: Contract.parse({ materials: names.map((name) => ({ type: 'STRING', name })) }) });
  await job.init();
  await Promise.all(names.map((name) => job.add(name, name)));
  const pushed = await job.push();
  assert.ok(pushed.type === 'pushed');
  const statement = statementIn(pushed.bundle);
  assert.equal(statement.predicate.materials.length, 20);
});

test('an SBOM of another kind is refused by what is in it, and nothing is uploaded', async () => {
  const job = aJob({ contract: Contract.parse({ materials: [{ type: 'SBOM_CYCLONEDX_JSON', name: 'sbom' }] }) });
  await job.init();
  const spdx = file('spdx.json', JSON.stringify({ spdxVersion: 'SPDX-2.3' }));
  await fails(job.add('sbom', spdx), 'MATERIAL_KIND_MISMATCH', /material 'sbom': spdx.json: found .*SPDX.*; wanted CycloneDX/);
  assert.equal(job.plane.evidence.size, 0);
  const cyclonedx = { bomFormat: 'CycloneDX', specVersion: '1.5', version: 1, components: [{ type: 'library', name: 'a' }] };
  const { material, summary } = await job.add('sbom', file('sbom.json', JSON.stringify(cyclonedx)));
  assert.equal(material.uploaded, true);
  assert.notDeepEqual(summary, {});
});
