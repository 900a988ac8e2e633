import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { access, link, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ChainloopError } from '../core/errors.ts';
import { systemCode } from '../core/system-code.ts';
import { ifPresent } from './storage/disk.ts';

/**
 * Makes the data directory, for the owner's eyes alone, or sees that what is there can be used. USAGE when it cannot. Folder by folder:
 * Node's own recursion never ends below /proc.
 */
export async function ensureDataDirectory(path: string): Promise<void> {
  try {
    await makeFolder(path);
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw refusalOf(path, cause);
  }
}

/** What to do about an error of the system, or a defect as it is. */
function refusalOf(path: string, cause: unknown): unknown {
  const why = reasons[systemCode(cause) ?? ''];
  if (why === undefined) return cause;
  const what = `server: ${path} cannot be the data directory: ${why}; choose another one with --data-dir`;
  return new ChainloopError('USAGE', what, { cause });
}

/**
 * A data directory is of one control plane: evidence of two would lie in one folder. Its first server leaves a mark there. CONFLICT for that
 * of another one.
 */
export async function claimDataDirectory(path: string, instanceId: string): Promise<void> {
  const mark = instanceMark(path);
  const read = () => ifPresent(readFile(mark, 'utf8'));
  let found = await read();
  if (found === undefined) {
    await keepFirst(mark, instanceId).catch((error: unknown) => Promise.reject(refusalOf(path, error)));
    found = await read();
  }
  if (found === instanceId) return;
  throw new ChainloopError(
    'CONFLICT',
    `server: ${path} is the data directory of another control plane, whose database is not this one; choose another one with --data-dir, or, if that control plane is gone for good, remove ${mark}`,
  );
}

/**
 * Writes a file that is written once, for the owner's eyes alone. Whole, then linked to its name: of servers that start at once one wins, and
 * all of them read the same.
 */
export async function keepFirst(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}`;
  try {
    await writeFile(temporary, text, { mode: 0o600, flag: 'wx', flush: true });
    await link(temporary, path);
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
  } finally {
    await rm(temporary, { force: true });
  }
}

/** The file that says whose a data directory is. */
export function instanceMark(path: string): string {
  return join(path, 'instance');
}

const reasons: Readonly<Record<string, string>> = {
  EEXIST: 'it is not a directory',
  ENOTDIR: 'something above it is not a directory',
  ENOENT: 'nothing can be made there',
  EACCES: 'this user may not write there',
  EPERM: 'the system does not let it be made',
  EROFS: 'that file system can only be read',
  ENOSPC: 'no space is left there',
  ENAMETOOLONG: 'the path is too long',
  ELOOP: 'it is a loop of symbolic links',
  EINVAL: 'the system does not take that name',
};

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EEXIST' && (await stat(path)).isDirectory()) return;
    if (code !== 'ENOENT' || dirname(path) === path || (await isDirectory(dirname(path)))) throw error;
    await makeFolder(dirname(path));
    await makeFolder(path);
  }
}

async function isDirectory(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isDirectory() === true;
}
