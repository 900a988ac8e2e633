import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { generateDrizzleJson, generateMigration } from 'drizzle-kit/api';
import * as audit from './audit-schema.ts';
import * as outbox from './outbox-schema.ts';
import * as schema from './schema.ts';
import * as trust from './trust-schema.ts';
import * as verdict from './verdict-schema.ts';

test('the migrations say what the schema says', async () => {
  const read = async (name: string) => JSON.parse(await readFile(new URL(`migrations/meta/${name}`, import.meta.url), 'utf8'));
  const { entries } = await read('_journal.json');
  const migrated = await read(`${String(entries.length - 1).padStart(4, '0')}_snapshot.json`);
  const wanted = generateDrizzleJson({ ...schema, ...trust, ...outbox, ...audit, ...verdict }, migrated.id, undefined, 'snake_case');
  assert.deepEqual(await generateMigration(migrated, wanted), []);
});
