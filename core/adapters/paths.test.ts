import assert from 'node:assert/strict';
import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { findFile } from './paths.ts';

let folder: Awaited<ReturnType<typeof mkdtempDisposable>>;
before(async () => {
  folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-paths-'));
  await mkdir(join(folder.path, 'dist', 'deep'), { recursive: true });
  for (const name of ['app', 'app.map', 'app.cdx.json', '.hidden', 'x[1].txt', 'deep/a.txt', 'deep/b.txt'])
    await writeFile(join(folder.path, 'dist', name), 'x');
});
after(() => folder?.remove());

const find = (pattern: string, excludes: readonly string[] = []) => findFile(pattern, { directory: folder.path, excludes });
const below = (path: string): string => join(folder.path, path);

test('a path that exists is itself, also when it looks like a pattern', async () => {
  assert.equal(await find('dist/app'), 'dist/app');
  assert.equal(await find('dist/x[1].txt'), 'dist/x[1].txt');
  assert.equal(await find(below('dist/app')), below('dist/app'));
});

test('a pattern means the one file that it matches; folders do not count', async () => {
  assert.equal(await find('dist/*.cdx.json'), below('dist/app.cdx.json'));
  assert.equal(await find('**/a.txt'), below('dist/deep/a.txt'));
  assert.equal(await find('dist/app{,.map}', ['dist/*.map']), below('dist/app'));
  assert.equal(await find('./dist/deep/*', ['dist/deep/b.txt']), below('dist/deep/a.txt'));
});

const refusals: readonly (readonly [string, readonly string[], string, RegExp])[] = [
  ['dist/ap', [], 'FILE_NOT_FOUND', /^no such file dist\/ap \(did you mean dist\/app\?\)$/],
  ['dst/app', [], 'FILE_NOT_FOUND', /did you mean dist\/app\?/],
  ['nothing/at/all', [], 'FILE_NOT_FOUND', /^no such file nothing\/at\/all$/],
  ['dist/*.xml', [], 'FILE_NOT_FOUND', /^no file matches dist\/\*\.xml$/],
  ['dist/*.txt', ['dist/x*'], 'FILE_NOT_FOUND', /without dist\/x\*/],
  ['dist/deep/*', [], 'USAGE', /matches 2 files \(.*a\.txt, .*b\.txt\); a material is one file/],
];
for (const [pattern, excludes, code, says] of refusals) {
  test(`refused: ${pattern} ${excludes.join(' ')}`, async () => {
    await assert.rejects(find(pattern, excludes), { code, message: says });
  });
}
