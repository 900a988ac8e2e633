import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { cliReference } from './cli-reference.ts';

test('docs/cli.md says what the commands say; node tools/cli-reference.ts writes it', async () => {
  assert.equal(await readFile(new URL('../docs/cli.md', import.meta.url), 'utf8'), await cliReference());
});

test('every option is shown as it is typed', async () => {
  const page = await cliReference();
  assert.ok(page.includes('| `-f, --file <path>` |'));
  assert.doesNotMatch(page, /`--[a-z],/);
});
