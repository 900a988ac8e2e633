import { lstat, mkdir } from 'node:fs/promises';
import { ChainloopError } from '../errors.ts';
import { systemCode } from '../system-code.ts';

/**
 * Makes a folder for what is remembered, for its owner alone: what will be signed is nobody else's to write, and contracts, variables and
 * credentials are nobody else's to read. STATE_CORRUPT when it is somebody else's; DISK_FULL, FILE_UNREADABLE.
 */
export async function makeStateDirectory(directory: string): Promise<void> {
  await explained(directory, () => mkdir(directory, { recursive: true, mode: 0o700 }));
  await assertOurs(directory);
}

/** In a folder that others may write to, somebody may have been there first. */
async function assertOurs(directory: string): Promise<void> {
  const { uid } = await lstat(directory);
  if (process.getuid === undefined || uid === process.getuid()) return;
  throw new ChainloopError(
    'STATE_CORRUPT',
    `crafting state: ${directory} cannot be used: it belongs to another user; set CHAINLOOP_STATE_DIR to a folder of your own`,
  );
}

/** What the file system says of a state directory, in words that help. */
export async function explained<T>(directory: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    if (cause instanceof ChainloopError) throw cause;
    switch (systemCode(cause)) {
      case 'ENOSPC':
      case 'EDQUOT':
        throw new ChainloopError('DISK_FULL', `crafting state: no space left in ${directory}; make room, and try again`, { cause });
      case 'EACCES':
      case 'EEXIST':
      case 'EPERM':
      case 'EROFS':
      case 'ENOTDIR':
        throw new ChainloopError(
          'FILE_UNREADABLE',
          `crafting state: ${directory} cannot be written; set CHAINLOOP_STATE_DIR to a folder that can`,
          { cause },
        );
      default:
        throw cause;
    }
  }
}
