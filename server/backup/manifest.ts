import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { ChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { Dumped } from '../../db/dump.ts';
import type { Secrets } from '../secrets.ts';
import { damaged } from './dump-file.ts';

/** The files of a backup. The seal is written last: a folder without one is not a backup. */
export const names = {
  manifest: 'backup.json',
  seal: 'backup.seal',
  database: 'database.jsonl.gz',
  evidence: 'evidence.jsonl.gz',
  storage: 'storage',
} as const;

/** A file as it was written: what was cut off or changed does not fit. */
const Written = z.strictObject({ sizeBytes: z.int().nonnegative(), sha256: z.string() });

/** `backup.json`: what a backup holds. */
export const Manifest = z.strictObject({
  format: z.literal(1),
  /** Of the program that made it. */
  version: z.string(),
  database: Dumped,
  databaseFile: Written,
  /** The evidence on the server's disk; absent when it was left out, or there was none. */
  evidence: z.strictObject({ files: z.int().nonnegative(), sizeBytes: z.int().nonnegative(), list: Written }).optional(),
});
export type Manifest = z.infer<typeof Manifest>;

const context = 'backup';

/** The size and digest of a file. */
export async function written(path: string): Promise<z.infer<typeof Written>> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const piece of createReadStream(path, { highWaterMark: 512 * 1024 })) {
    hash.update(piece);
    sizeBytes += piece.length;
  }
  return { sizeBytes, sha256: hash.digest('hex') };
}

/** Writes what the backup holds, and then that it is whole: the digest of that, sealed with the master key of the instance. */
export async function writeManifest(folder: string, manifest: Manifest, secrets: Secrets): Promise<void> {
  const text = `${JSON.stringify(manifest, null, 2)}\n`;
  await writeFile(join(folder, names.manifest), text, { mode: 0o600, flush: true });
  await writeFile(join(folder, names.seal), `${secrets.seal(digestOf(text), context)}\n`, { mode: 0o600, flush: true });
}

/**
 * What a backup holds, once it was found to be as it was made by a server with this master key, but for the evidence. Nobody else can make
 * such a seal. USAGE for another master key or no backup, DIGEST_MISMATCH for one that was changed.
 */
export async function readManifest(folder: string, secrets: Secrets): Promise<Manifest> {
  const read = (name: string): Promise<string> =>
    readFile(join(folder, name), 'utf8').catch((cause) => {
      throw new ChainloopError('USAGE', `backup: ${folder} is not a whole one: ${name} is missing or cannot be read`, { cause });
    });
  const [text, seal] = await Promise.all([read(names.manifest), read(names.seal)]);
  const [, keyId] = seal.split('.');
  if (keyId !== secrets.keyId) {
    throw new ChainloopError(
      'USAGE',
      `master key: ${folder} is of an instance with master key ${keyId?.slice(0, 8)}, and this one is ${secrets.keyId}; ` +
        'put the file master-key of that instance into the data directory, or set CHAINLOOP_MASTER_KEY to its text',
    );
  }
  if (text.length > limits.backupManifestSizeBytes || opened(seal, secrets) !== digestOf(text)) {
    throw damaged(join(folder, names.manifest), 'it is not what was sealed');
  }
  const manifest = Manifest.safeParse(JSON.parse(text));
  if (!manifest.success) throw new ChainloopError('USAGE', 'backup: it was made by a newer version of chainloop; restore it with that one');
  const { databaseFile, evidence } = manifest.data;
  for (const [name, expected] of [
    [names.database, databaseFile],
    ...(evidence === undefined ? [] : [[names.evidence, evidence.list] as const]),
  ] as const) {
    const path = join(folder, name);
    const found = await written(path).catch((cause) => {
      throw damaged(path, 'it is missing or cannot be read', cause);
    });
    if (found.sha256 !== expected.sha256)
      throw damaged(path, `it has ${found.sizeBytes} bytes, and not those ${expected.sizeBytes} that were written`);
  }
  return manifest.data;
}

function opened(seal: string, secrets: Secrets): string | undefined {
  try {
    return secrets.open(seal.trim(), context);
  } catch {
    return undefined;
  }
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
