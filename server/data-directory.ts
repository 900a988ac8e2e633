import { constants } from 'node:fs';
import { access, mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ChainloopError } from '../core/errors.ts';

/**
 * Makes the data directory, for the owner's eyes alone, or sees that what is there can be used. USAGE when it cannot. Folder by folder:
 * Node's own recursion never ends below /proc.
 */
export async function ensureDataDirectory(path: string): Promise<void> {
  try {
    await makeFolder(path);
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    const why = reasons[code];
    if (why === undefined) throw cause;
    throw new ChainloopError('USAGE', `server: ${path} cannot be the data directory: ${why}; choose another one with --data-dir`, {
      cause,
    });
  }
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
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
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
