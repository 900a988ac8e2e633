import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

// docs/trust.md promises a test for each claim: here the promise is kept.

const root = new URL('..', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');
const rows = Array.from(
  read('docs/trust.md').matchAll(/^\| (.+) \| `([\w./-]+\.test\.ts)`: (.+) \|$/gm),
  ([, claim = '', file = '', name = '']) => ({
    claim,
    file,
    name,
  }),
);

test('every claim of docs/trust.md has the test that it names', () => {
  assert.ok(rows.length > 70, `${rows.length} claims`);
  const broken = rows.filter(({ file, name }) => !existsSync(new URL(file, root)) || !read(file).includes(name));
  assert.deepEqual(broken, []);
});

test('every test of an attack on federation, and every check of the referee, stands behind a claim or beside one', () => {
  const claimed = (file: string): number => rows.filter((row) => row.file === file).length;
  for (const file of ['server/federation/attacks.test.ts', 'server/referee.test.ts', 'server/referee-keyless.test.ts'])
    assert.ok(claimed(file) > 5, file);
  // Checks 1 to 10; 9 has nothing to check yet.
  const checks = new Set(rows.flatMap(({ name }) => /^check (\d+)/.exec(name)?.[1] ?? []));
  assert.deepEqual(
    [...checks].toSorted((a, b) => Number(a) - Number(b)),
    ['1', '2', '3', '4', '5', '6', '7', '8', '10'],
  );
  const rules = new Set(
    rows.filter(({ file }) => file.startsWith('server/federation/')).flatMap(({ claim }) => /^(\d+)\./.exec(claim)?.[1] ?? []),
  );
  assert.deepEqual(
    [...rules].toSorted((a, b) => Number(a) - Number(b)),
    Array.from({ length: 10 }, (_, index) => String(index + 1)),
  );
});
