import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { generateDrizzleJson, generateMigration } from 'drizzle-kit/api';

test('the migrations say what the schema says', async () => {
  const read = async (name: string) => JSON.parse(await readFile(new URL(`migrations/meta/${name}`, import.meta.url), 'utf8'));
  const { entries } = await read('_journal.json');
  const migrated = await read(`${String(entries.length - 1).padStart(4, '0')}_snapshot.json`);
  const schema: Record<string, unknown> = {};
  for (const file of globSync('*schema.ts', { cwd: new URL('.', import.meta.url) })) {
    Object.assign(schema, await import(new URL(file, import.meta.url).href));
  }
  const wanted = generateDrizzleJson(schema, migrated.id, undefined, 'snake_case');
  assert.deepEqual(await generateMigration(migrated, wanted), []);
});
