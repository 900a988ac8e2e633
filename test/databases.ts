import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, type TestContext, test } from 'node:test';
import { PGlite } from '@electric-sql/pglite';
import type { AuditActor } from '../core/audit.ts';
import { connect, type Database, type OrgScope } from '../db/client.ts';
import { migratePglite } from '../db/migrate.ts';
import { createOrganization } from '../db/organizations.ts';
import { type Postgres, startPostgres } from './fakes/postgres.ts';
import { needs } from './needs.ts';

export type Kind = Database['kind'];
export const databaseKinds: readonly Kind[] = ['pglite', 'postgresql'];

/**
 * Registers a test once for PGlite and once for PostgreSQL (skipped loudly where that is not installed). The databases are shared
 * by the tests of a file, since a new one takes a second: each test makes its own organization with `newOrganization`.
 */
export function forEachDatabase(claim: string, fn: (t: TestContext, database: Database) => Promise<void>): void {
  for (const kind of databaseKinds) {
    test(`${claim} (${kind})`, async (t) => {
      if (kind === 'postgresql' && !needs(t, 'postgresql')) return;
      await fn(t, await shared(kind));
    });
  }
}

/** A new, empty database. The caller closes it (`await using`). PostgreSQL must be installed. */
export async function openDatabase(kind: Kind): Promise<Database> {
  if (kind === 'pglite') return connect({ memory: await migratedSnapshot() });
  cluster ??= startPostgres();
  return connect({ databaseUrl: await (await cluster).createDatabase() });
}

/** An organization of nobody else, with its scope. */
export async function newOrganization(
  database: Database,
): Promise<{ readonly id: string; readonly name: string; readonly scope: OrgScope }> {
  const name = `org-${randomUUID()}`;
  const { id } = await createOrganization(database.system, { name, backend: { name: 'default', provider: 'layout', location: name } });
  return { id, name, scope: database.scope(id, tester) };
}

/** Who does what tests do. */
export const tester: AuditActor = { kind: 'system', id: null, name: 'tester' };

let cluster: Promise<Postgres> | undefined;
const open = new Map<Kind, Promise<Database>>();

function shared(kind: Kind): Promise<Database> {
  const database = open.get(kind) ?? openDatabase(kind);
  open.set(kind, database);
  return database;
}

after(async () => {
  for (const database of open.values()) await (await database).close();
  await (await cluster)?.[Symbol.asyncDispose]();
});

/**
 * A dump of a PGlite data directory with the schema in it, kept between test runs: to load it takes a quarter of making a new one.
 * A change to the migrations or to PGlite makes another.
 */
export async function migratedSnapshot(): Promise<Blob> {
  const migrations = new URL('../db/migrations/', import.meta.url);
  const key = createHash('sha256');
  key.update(await readFile(createRequire(import.meta.url).resolve('@electric-sql/pglite')));
  for (const name of (await readdir(migrations)).filter((file) => file.endsWith('.sql')).sort()) {
    key.update(await readFile(new URL(name, migrations)));
  }
  const folder = new URL('../node_modules/.cache/chainloop/', import.meta.url);
  const file = new URL(`pglite-${key.digest('hex').slice(0, 16)}.tar`, folder);
  const kept = await readFile(file).catch(() => undefined);
  if (kept !== undefined) return new Blob([kept], { type: 'application/x-tar' });

  const client = await PGlite.create();
  await migratePglite(client);
  const dump = await client.dumpDataDir('none');
  await client.close();
  await mkdir(folder, { recursive: true });
  const part = new URL(`${randomUUID()}.part`, folder);
  await writeFile(part, dump.stream());
  await rename(part, file);
  return dump;
}
