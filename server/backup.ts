import { createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm, rmdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import * as z from 'zod';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { type CheckedChains, checkRestored } from '../db/audit-chains.ts';
import { type Dumped, dump } from '../db/dump.ts';
import { type DumpedRow, load } from '../db/load.ts';
import { openSession, type Place } from '../db/session.ts';
import { readDump } from './backup/dump-file.ts';
import { copyIn, copyOut } from './backup/evidence.ts';
import { type Manifest, names, readManifest, writeManifest, written } from './backup/manifest.ts';
import { parseConfig, type ServerConfig } from './config.ts';
import { ensureDataDirectory, instanceMark } from './data-directory.ts';
import { canary, openExistingSecrets, type Secrets } from './secrets.ts';
import { isPresent } from './storage/disk.ts';

/** Told how far it is: rows or files so far. */
export type Report = (step: 'database' | 'check' | 'evidence' | 'audit', count: number, total?: number) => void;

type Options = {
  readonly dataDir?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly report: Report;
};

/** A backup as it was made or restored. `folder` is its path. */
export type Backup = Manifest & { readonly folder: string; readonly damaged: readonly string[] };

/**
 * Makes a backup of the instance in a new folder: the database, as of one moment, and the evidence on the server's disk. The server may run:
 * PostgreSQL is read beside it; the embedded database is open in one process only, so a running server is asked for it (`ask`, answering
 * with the bytes of GET /backup). The master key is not in it. CONFLICT when something is there, USAGE for another master key.
 */
export async function backup(
  options: Options & {
    readonly output: string;
    readonly evidence: boolean;
    readonly version: string;
    readonly ask: (dataDir: string) => AsyncIterable<Uint8Array>;
  },
): Promise<Backup> {
  const { version, evidence, ask, report, env } = options;
  const config = parseConfig({ dataDir: options.dataDir }, env);
  const secrets = await openExistingSecrets(config);
  const folder = resolve(options.output);
  await assertEmpty(folder);
  const part = `${folder}.${process.pid}.part`;
  await mkdir(part, { recursive: true, mode: 0o700 });
  try {
    const file = join(part, names.database);
    await writeDump(config, file, ask, report);
    const database = await check(file, secrets, config, report);
    const from = join(config.dataDir, 'storage');
    const list = join(part, names.evidence);
    const copied =
      evidence && (await isPresent(from)) ? await copyOut(from, join(part, names.storage), list, (n) => report('evidence', n)) : undefined;
    const manifest: Manifest = {
      format: 1,
      version,
      database,
      databaseFile: await written(file),
      ...(copied !== undefined && { evidence: { files: copied.files, sizeBytes: copied.sizeBytes, list: await written(list) } }),
    };
    await writeManifest(part, manifest, secrets);
    await moveInto(part, folder);
    return { ...manifest, folder, damaged: copied?.damaged ?? [] };
  } catch (error) {
    await rm(part, { recursive: true, force: true });
    throw error;
  }
}

/**
 * Restores a backup into a new data directory and, with DATABASE_URL, an empty PostgreSQL database, whichever kind it was made of. Everything is
 * compared with what was sealed; the database is changed by one transaction, at the end, so that what fails leaves it empty. A server
 * that starts on it brings its schema up to date. Then every chain of the audit log is checked: one that was altered before the backup is restored as it was,
 * and named. CONFLICT when something is there, USAGE for another master key, DIGEST_MISMATCH.
 */
export async function restore(options: Options & { readonly input: string }): Promise<Backup & { readonly audit: CheckedChains }> {
  const { report, env } = options;
  const config = parseConfig({ dataDir: options.dataDir }, env);
  const secrets = await openExistingSecrets(config);
  const folder = resolve(options.input);
  const manifest = await readManifest(folder, secrets);
  const storage = join(config.dataDir, 'storage');
  if (manifest.evidence !== undefined) await assertEmpty(storage);
  await ensureDataDirectory(config.dataDir);
  const part = `${storage}.${process.pid}.part`;
  try {
    await using session = await openSession(placeOf(config), { make: true });
    const { evidence, database } = manifest;
    if (evidence !== undefined) {
      await mkdir(part, { mode: 0o700 });
      await copyIn(join(folder, names.storage), part, join(folder, names.evidence), (n) => report('evidence', n, evidence.files));
    }
    const total = rowsOf(database);
    await load(
      session,
      database,
      counted(readDump(join(folder, names.database)), (n) => report('database', n, total)),
    );
    if (evidence !== undefined) {
      await moveInto(part, storage);
    }
    // The restored database is that of a new control plane, and this is its data directory now.
    await rm(instanceMark(config.dataDir), { force: true });
    const audit = await checkRestored(session, database.takenAt, (n) => report('audit', n));
    return { ...manifest, folder, damaged: [], audit };
  } finally {
    await rm(part, { recursive: true, force: true });
  }
}

/** Rows in all tables. */
function rowsOf({ tables }: Dumped): number {
  return Object.values(tables).reduce((sum, { rows }) => sum + rows, 0);
}

function placeOf({ databaseUrl, dataDir }: ServerConfig): Place {
  return databaseUrl === undefined ? { folder: join(dataDir, 'database') } : { databaseUrl };
}

async function writeDump(
  config: ServerConfig,
  file: string,
  ask: (dataDir: string) => AsyncIterable<Uint8Array>,
  report: Report,
): Promise<void> {
  const sink = () => createWriteStream(file, { flags: 'wx', mode: 0o600, flush: true });
  let session: Awaited<ReturnType<typeof openSession>>;
  try {
    session = await openSession(placeOf(config));
  } catch (error) {
    // A server has the folder: only it can read it.
    if (!isChainloopError(error, 'CONFLICT')) throw error;
    await pipeline(Readable.from(ask(config.dataDir)), sink());
    return;
  }
  await using open = session;
  let rows = 0;
  const lines = async function* () {
    for await (const piece of dump(open, open.kind)) {
      rows += piece.split('\n').length - 1;
      report('database', rows);
      yield piece;
    }
  };
  await pipeline(Readable.from(lines()), createGzip({ level: 3 }), sink());
}

/** Reads back what was written, and compares: what was said to be saved is. */
async function check(file: string, secrets: Secrets, config: ServerConfig, report: Report): Promise<Dumped> {
  const rows = readDump(file);
  for (let count = 1; ; count++) {
    const next = await rows.next();
    if (next.done === true) return next.value;
    const { table, json } = next.value;
    if (table === 'settings') assertOurKey(JSON.parse(json), secrets, config);
    report('check', count);
  }
}

const Setting = z.looseObject({ key: z.string(), value: z.string() });

/** Sealed with another key than the instance's, the backup could be restored, and no server would start on it. */
function assertOurKey(row: unknown, secrets: Secrets, { dataDir, masterKey }: ServerConfig): void {
  const setting = Setting.parse(row);
  if (setting.key !== canary) return;
  try {
    secrets.open(setting.value, canary);
  } catch (cause) {
    const where = masterKey === undefined ? join(dataDir, 'master-key') : 'CHAINLOOP_MASTER_KEY';
    throw new ChainloopError('USAGE', `master key: the one in ${where} is not that of this instance; take that of its server`, { cause });
  }
}

async function assertEmpty(folder: string): Promise<void> {
  const entries = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new ChainloopError('USAGE', `${folder} cannot be used (${error.code}); choose a folder that does not exist yet`, {
      cause: error,
    });
  });
  if (entries.length > 0)
    throw new ChainloopError('CONFLICT', `${folder} is not empty; nothing was changed. Choose a folder that does not exist yet`);
}

/** Moves a folder to where nothing, or an empty folder, is. CONFLICT for what has come meanwhile: it stays. */
async function moveInto(part: string, folder: string): Promise<void> {
  try {
    await rmdir(folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
    await rename(part, folder);
  } catch (error) {
    await assertEmpty(folder);
    throw error;
  }
}

async function* counted(rows: AsyncIterable<DumpedRow>, report: (count: number) => void): AsyncGenerator<DumpedRow> {
  let count = 0;
  for await (const row of rows) {
    report(++count);
    yield row;
  }
}
