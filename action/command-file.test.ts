import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parsePairs } from '../test/fakes/actions-runner/environment-files.ts';

test('S15: an output is read as it was set, whatever is in it, and sets no other', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-outputs-'));
  const file = join(folder.path, 'output');
  await writeFile(file, '');
  const values = [
    '',
    'plain',
    'a=b<<c',
    '[{"name":"x"}]',
    'one\ntwo=2',
    'one\rtwo=2',
    'x\u2028two=2',
    'a<<b\nc\nb\ntwo=2',
    '%0Atwo=2',
    'é',
  ];
  const program = `import { setOutput } from ${JSON.stringify(new URL('./command-file.ts', import.meta.url).href)};
for (const [index, value] of ${JSON.stringify(values)}.entries()) setOutput('name-' + index, value);`;
  const ended = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    env: { PATH: process.env.PATH, GITHUB_OUTPUT: file },
  });
  assert.equal(ended.status, 0, ended.stderr.toString());
  const text = await readFile(file, 'utf8');
  assert.deepEqual(
    [...parsePairs(text)],
    values.map((value, index) => [`name-${index}`, value]),
  );
  assert.match(text, /^name-1=plain$/m);
});
