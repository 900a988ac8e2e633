import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { access, type FileHandle, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ChainloopError } from '../../core/errors.ts';
import { systemCode } from '../../core/system-code.ts';

/**
 * Writes a file so that it is there as a whole or not at all, through a crash of the process or the machine: temporary file, fsync,
 * rename, fsync of the folder. `temporary` is a folder of the same file system. What is not to be seen before something else is done can
 * be written meanwhile: it appears after `first`, or not at all when that fails. DISK_FULL.
 */
export async function writeDurably(
  path: string,
  bytes: Uint8Array | string,
  temporary: string,
  first: Promise<unknown> = Promise.resolve(),
): Promise<void> {
  const draft = join(temporary, randomBytes(12).toString('hex'));
  // It may fail before it is waited for.
  first.catch(() => {});
  try {
    const file = await open(draft, 'wx');
    try {
      await file.writeFile(bytes);
      await Promise.all([file.sync(), first]);
    } finally {
      await file.close();
    }
    await rename(draft, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(draft, { force: true });
    throw diskError(error, `storage: ${path} cannot be written`);
  }
}

/** Makes a finished file visible under its path, durably, and closes it. `modifiedAt` is its modification time instead of now. */
export async function publish(file: FileHandle, draft: string, path: string, modifiedAt?: Date): Promise<void> {
  try {
    await file.sync();
    await rename(draft, path);
    // Only now: among the drafts it would be the oldest, and swept.
    if (modifiedAt !== undefined) await file.utimes(new Date(), modifiedAt);
  } finally {
    await file.close();
  }
  await syncFolder(dirname(path));
}

/** A rename or a new file survives a crash of the machine only when its folder is written, too. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Removes the files of a folder that nobody has touched since: what a crash left behind. */
export async function sweep(folder: string, olderThan: Date): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const found = await ifPresent(stat(path));
    if (found !== undefined && found.mtime < olderThan) await rm(path, { force: true, recursive: true });
  }
}

/** The result, or undefined when the file or folder does not exist. */
export async function ifPresent<T>(operation: Promise<T>): Promise<T | undefined> {
  try {
    return await operation;
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw diskError(error, 'storage: the folder cannot be read');
  }
}

/** True when a path exists. */
export async function isPresent(path: string): Promise<boolean> {
  return (await ifPresent(access(path).then(() => true))) ?? false;
}

/** An error of the file system as ours: DISK_FULL when there is no room, else STORAGE_UNAVAILABLE. */
export function diskError(error: unknown, what: string): unknown {
  if (!(error instanceof Error && 'syscall' in error)) return error;
  const code = systemCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new ChainloopError('DISK_FULL', `${what}: no space is left; free some and send it again`, { cause: error });
  }
  return new ChainloopError('STORAGE_UNAVAILABLE', `${what} (${code}); check that the server may write there`, { cause: error });
}
