import assert from 'node:assert/strict';
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { files } from '../core/adapters/files.ts';
import { Contract } from '../core/contract.ts';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { parseMaterialLines } from '../core/material-lines.ts';
import type { ImageResolver } from '../core/ports.ts';
import { inTurns, understand } from './evidence.ts';

const contract = Contract.parse({
  materials: [
    { name: 'binary', type: 'ARTIFACT' },
    { name: 'sbom', type: 'SBOM_CYCLONEDX_JSON' },
    { name: 'report', type: 'EVIDENCE', optional: true },
    { name: 'commit', type: 'STRING' },
    { name: 'image', type: 'CONTAINER_IMAGE' },
  ],
});
const images: ImageResolver = {
  async resolve(reference) {
    throw new ChainloopError('IMAGE_NOT_FOUND', `image ${reference}: the registry has none`);
  },
};

let folder: Awaited<ReturnType<typeof mkdtempDisposable>>;
before(async () => {
  folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-evidence-'));
  await writeFile(join(folder.path, 'app'), 'x');
  await writeFile(join(folder.path, 'empty'), '');
  await writeFile(join(folder.path, 'bad.json'), '{"bomFormat":"CycloneDX","specVersion":"1.5","components":[{}]}');
});
after(() => folder?.remove());

const look = (text: string) => understand({ files, images, directory: folder.path }, contract, parseMaterialLines([{ text }]).lines);

/** The messages of what is wrong, in order, and the code of the whole. */
async function refused(text: string): Promise<readonly string[]> {
  try {
    await look(text);
  } catch (error) {
    assert.ok(isChainloopError(error));
    return [error.code, ...error.problems.map(({ line, message }) => `${line ?? ''} ${message}`)];
  }
  throw new Error('nothing was wrong');
}

test('the contract says what a value is; a text is never taken for a path', async () => {
  const { evidence, absent } = await look('binary=app\ncommit=app');
  assert.deepEqual(
    evidence.map(({ wanted, source, value }) => [wanted.name, source, value]),
    [
      ['binary', 'file', 'app'],
      ['commit', 'text', 'app'],
    ],
  );
  assert.deepEqual(absent, []);
});

test('an optional file that is not there is left out, and named', async () => {
  const { evidence, absent } = await look('report=none.txt');
  assert.deepEqual(evidence, []);
  assert.deepEqual(
    absent.map(({ name }) => name),
    ['report'],
  );
});

test('everything that is wrong is said at once, in the order of the lines', async () => {
  assert.deepEqual(await refused('binary:STRING=app\nsbom=ap\nother=x\nimage=ghcr.io/a/b\ncommit=x\ncommits=y'), [
    'MATERIAL_KIND_MISMATCH',
    '1 material "binary": STRING is written; the contract asks for ARTIFACT',
    '2 material "sbom": no such file ap (did you mean app?)',
    '3 material "other": the contract has no such material (it has: binary, sbom, report, commit, image)',
    '4 material "image": image ghcr.io/a/b: the registry has none',
    '6 material "commits": the contract has no such material (it has: binary, sbom, report, commit, image); did you mean \'commit\'?',
  ]);
});

test('what is empty, a folder, or no document of its kind is no evidence', async () => {
  assert.match((await refused('binary=empty')).join('\n'), /is empty/);
  assert.match((await refused('binary=.')).join('\n'), /is a directory/);
  const [code, first = '', ...others] = await refused('sbom=bad.json');
  assert.equal(code, 'MATERIAL_INVALID');
  assert.match(first, /not valid CycloneDX JSON/);
  assert.ok(
    others.some((line) => line.includes('components[0]')),
    others.join('\n'),
  );
});

test('excludes are for files', async () => {
  assert.match((await refused('commit=x\ncommit=!y')).join('\n'), /leaves files out, and this is of kind STRING/);
});

test('a few at a time, and the answers in the order of the questions', async () => {
  let running = 0;
  let most = 0;
  const answers = await inTurns(
    Array.from({ length: 20 }, (_, index) => index),
    async (index) => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      return index * 2;
    },
  );
  assert.deepEqual(
    answers,
    Array.from({ length: 20 }, (_, index) => index * 2),
  );
  assert.equal(most, 4);
});
