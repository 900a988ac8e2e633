import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { server } from '../cli/server.ts';
import { settings } from '../server/configuration.ts';
import { configurationReference } from './configuration-reference.ts';

test('docs/configuration.md says what the server takes; node tools/configuration-reference.ts writes it', async () => {
  assert.equal(await readFile(new URL('../docs/configuration.md', import.meta.url), 'utf8'), configurationReference());
});

test('every option of the server has a variable, and none is made up', () => {
  const options = settings.flatMap(({ option }) => (option === undefined ? [] : [option]));
  assert.deepEqual(options.toSorted(), Object.keys(server.flags).toSorted());
  assert.equal(new Set(settings.map(({ variable }) => variable)).size, settings.length);
});
