import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ChainloopError, type Problem } from '../core/errors.ts';
import { systemCode } from '../core/system-code.ts';
import type { SystemScope } from '../db/client.ts';
import { findSetting, settle } from '../db/settings.ts';
import { keepFirst } from './data-directory.ts';
import { createSecrets } from './sealing.ts';

/**
 * Secrets at rest: AES-256-GCM under one master key. `context` (organization and record) is authenticated with it, so that a
 * sealed secret copied to another row does not open.
 */
export type Secrets = {
  /** Tells one master key from another, and says nothing of it. */
  readonly keyId: string;
  seal(secret: string, context: string): string;
  /** STORAGE_UNAVAILABLE when it was sealed under another key, for another context, or was changed. */
  open(sealed: string, context: string): string;
};

/** The bytes of a master key given as text: 32 bytes in base64 or hex. Undefined when it is neither. */
function parseMasterKey(text: string): Buffer | undefined {
  const trimmed = text.trim();
  const key = /^[0-9a-f]{64}$/i.test(trimmed) ? Buffer.from(trimmed, 'hex') : Buffer.from(trimmed, 'base64');
  return key.length === 32 ? key : undefined;
}

/** The problem with a master key from the environment, or undefined: there is none, or it is fine. */
export function masterKeyProblem(text: string | undefined): Problem | undefined {
  if (text === undefined || parseMasterKey(text) !== undefined) return undefined;
  return { path: 'CHAINLOOP_MASTER_KEY', message: 'must be 32 bytes in base64 or hex; make one with: openssl rand -base64 32' };
}

type KeyPlace = { readonly dataDir: string; readonly masterKey?: string | undefined };

/**
 * The secrets of an instance. Its first server seals a known text in the database; one with another key, or with none where the instance
 * has one, would spoil what the others keep, and is refused: USAGE.
 */
export async function openInstanceSecrets(options: KeyPlace, system: SystemScope): Promise<Secrets> {
  const sealed = await findSetting(system, canary);
  const where = options.masterKey === undefined ? join(options.dataDir, 'master-key') : 'CHAINLOOP_MASTER_KEY';
  const refusal = (what: string, cause?: unknown): ChainloopError =>
    new ChainloopError(
      'USAGE',
      `master key: ${what}; set CHAINLOOP_MASTER_KEY to the text in the file master-key of the first server, or restore that file from your backup`,
      { cause },
    );
  if (sealed !== undefined && options.masterKey === undefined && (await readKey(where)) === undefined) {
    throw refusal(`this instance has one already, and ${where} does not exist`);
  }
  const secrets = await openSecrets(options);
  try {
    secrets.open(sealed ?? (await settle(system, canary, secrets.seal(canary, canary))), canary);
  } catch (cause) {
    throw refusal(`the one in ${where} is not that of this instance`, cause);
  }
  return secrets;
}

/** The setting that says by its seal which master key the instance has. */
export const canary = 'master-key';

/** The secrets under the key that is there already; none is made. USAGE. */
export async function openExistingSecrets(options: KeyPlace): Promise<Secrets> {
  const path = join(options.dataDir, 'master-key');
  if (options.masterKey === undefined && (await readKey(path)) === undefined) {
    throw new ChainloopError(
      'USAGE',
      `master key: ${path} does not exist; put the file master-key of the instance there, or set CHAINLOOP_MASTER_KEY to its text`,
    );
  }
  return openSecrets(options);
}

/** The key from the environment when it is given there, else the one in `DIR/master-key` (mode 0600), made at first use. */
export async function openSecrets(options: KeyPlace): Promise<Secrets> {
  const text = options.masterKey ?? (await keyFile(join(options.dataDir, 'master-key')));
  const key = parseMasterKey(text);
  if (key === undefined) {
    const where = options.masterKey === undefined ? join(options.dataDir, 'master-key') : 'CHAINLOOP_MASTER_KEY';
    throw new ChainloopError('USAGE', `master key: ${where} does not hold 32 bytes in base64 or hex; restore it from your backup`);
  }
  return createSecrets(key);
}

async function keyFile(path: string): Promise<string> {
  const present = await readKey(path);
  if (present !== undefined) return present;
  await mkdir(join(path, '..'), { recursive: true, mode: 0o700 });
  await keepFirst(path, `${randomBytes(32).toString('base64')}\n`);
  const made = await readKey(path);
  if (made === undefined) throw new ChainloopError('USAGE', `master key: ${path} cannot be read`);
  return made;
}

async function readKey(path: string): Promise<string | undefined> {
  try {
    const text = await readFile(path, 'utf8');
    await chmod(path, 0o600);
    return text;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw new ChainloopError('USAGE', `master key: ${path} cannot be read; check its owner and mode`, { cause: error });
  }
}
