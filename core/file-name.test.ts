import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertFileName, isFileName } from './file-name.ts';

for (const name of ['app', 'größe.tar.gz', '東京 1.json', '.hidden', 'a'.repeat(255)]) {
  test(`${JSON.stringify(name.slice(0, 20))} is the name of a file`, () => assert.ok(isFileName(name)));
}

for (const name of ['', '.', '..', 'a/b', 'a\\b', 'new\nline', 'a\tb', 'a\u202eb', 'a\u200bb', 'a\u2028b', '\ud800', 'a'.repeat(256)]) {
  test(`${JSON.stringify(name.slice(0, 20))} is none`, () => assert.throws(() => assertFileName(name), { code: 'USAGE' }));
}
