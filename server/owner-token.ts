import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { systemCode } from '../core/system-code.ts';
import type { Database } from '../db/client.ts';
import { createOwnerToken, hasOwnerToken } from '../db/tokens.ts';
import { keepFirst } from './data-directory.ts';
import type { Log } from './log.ts';
import { hashToken, makeToken, parseToken } from './tokens.ts';

/**
 * The owner token of the instance. The first start writes it to `DIR/owner-token` (mode 0600), then to the database as a hash: after
 * a crash in between, the next start finds the file and goes on. Undefined when the instance has one that is not in this directory.
 */
export async function ensureOwnerToken(deps: {
  readonly database: Database;
  readonly dataDir: string;
  readonly log: Log;
}): Promise<string | undefined> {
  const { database, dataDir, log } = deps;
  const path = join(dataDir, 'owner-token');
  if (await hasOwnerToken(database.system)) return readToken(path);
  const token = (await readToken(path)) ?? (await writeToken(path));
  try {
    await createOwnerToken(database.system, { name: 'owner', hash: hashToken(token), expiresAt: null });
  } catch (error) {
    // Another server in the same directory was faster, with the same file.
    if (!isChainloopError(error, 'ALREADY_EXISTS')) throw error;
  }
  log.info({ path }, 'first start: the owner token of this instance is in this file; whoever has it may do everything');
  return token;
}

async function writeToken(path: string): Promise<string> {
  await keepFirst(path, `${makeToken('owner').token}\n`);
  const token = await readToken(path);
  if (token === undefined) throw new ChainloopError('USAGE', `owner token: ${path} does not hold one; remove the file and start again`);
  return token;
}

async function readToken(path: string): Promise<string | undefined> {
  try {
    const text = (await readFile(path, 'utf8')).trim();
    return parseToken(text)?.kind === 'owner' ? text : undefined;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw new ChainloopError('USAGE', `owner token: ${path} cannot be read; check its owner and mode`, { cause: error });
  }
}
