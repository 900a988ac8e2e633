import { randomBytes } from 'node:crypto';
import { constants, unlinkSync } from 'node:fs';
import { type FileHandle, link, lstat, open, realpath, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, hexOf } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';
import { systemCode } from '../core/system-code.ts';

/** Letters that mean nothing to any shell, terminal or file system, and not a dot or dash in front. */
const harmless = /^[A-Za-z0-9_][A-Za-z0-9._+@-]{0,199}$/;
/** Names that Windows keeps for devices, with any extension. */
const device = /^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)/i;

/** True when a file may be called that, whoever says so. */
export function isHarmlessName(name: string): boolean {
  return harmless.test(name) && !device.test(name) && !name.endsWith('.');
}

/** The name to save evidence under: what it was called at its upload, if that is harmless, else its digest. */
export function downloadName(fileName: string, digest: Digest): string {
  return isHarmlessName(fileName) ? fileName : `sha256-${hexOf(digest)}`;
}

/**
 * Saves a body whose end is only reached when it is verified. Until then it is in a new temporary file of the same directory; then it
 * gets its name in one step. Throws FILE_EXISTS when there is something of that name, unless `force` replaces it; FILE_NOT_FOUND and
 * FILE_UNREADABLE for the directory; DISK_FULL. Whatever fails, nothing is left behind.
 */
export async function saveDownload(
  directory: string,
  name: string,
  body: () => AsyncIterable<Uint8Array>,
  { force }: { readonly force: boolean },
): Promise<void> {
  const target = join(directory, name);
  if (!force && (await exists(target))) throw alreadyThere(target);
  const temporary = join(directory, `.chainloop-${randomBytes(8).toString('hex')}.part`);
  const interrupted = removeWhenInterrupted(temporary);
  try {
    await writeNew(temporary, body);
    if (force) await rename(temporary, target);
    else await giveName(temporary, target);
  } catch (error) {
    throw asOperatingError(error, target);
  } finally {
    await rm(temporary, { force: true });
    interrupted.forget();
  }
}

/** The directory as an absolute path without links. FILE_NOT_FOUND, and FILE_UNREADABLE for what is none. */
export async function targetDirectory(path: string): Promise<string> {
  const found = await realpath(path).catch((cause: unknown) => {
    throw new ChainloopError('FILE_NOT_FOUND', `download: the directory ${path} does not exist; create it first`, { cause });
  });
  if ((await lstat(found)).isDirectory()) return found;
  throw new ChainloopError('FILE_UNREADABLE', `download: ${path} is not a directory; name the file itself with --name`);
}

/** Pieces of the network are small, and each write is a trip to another thread: so many bytes go together, while the next are received. */
const batchSizeBytes = 1024 * 1024;
const batchPieces = 256;

async function writeNew(path: string, body: () => AsyncIterable<Uint8Array>): Promise<void> {
  const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
  await using file = await open(path, O_WRONLY | O_CREAT | O_EXCL | (O_NOFOLLOW ?? 0));
  let batch: Uint8Array[] = [];
  let sizeBytes = 0;
  let writing = Promise.resolve();
  const flush = async (): Promise<void> => {
    await writing;
    writing = writeAll(file, batch);
    // Its failure is met by whoever waits for it; until then nobody does.
    writing.catch(() => {});
    batch = [];
    sizeBytes = 0;
  };
  try {
    for await (const piece of body()) {
      batch.push(piece);
      sizeBytes += piece.byteLength;
      if (sizeBytes >= batchSizeBytes || batch.length >= batchPieces) await flush();
    }
    await flush();
  } finally {
    // The file is not closed under a write.
    await writing.catch(() => {});
  }
  await writing;
  await file.sync();
}

async function writeAll(file: FileHandle, pieces: readonly Uint8Array[]): Promise<void> {
  const { bytesWritten } = await file.writev([...pieces]);
  if (bytesWritten === pieces.reduce((sum, { byteLength }) => sum + byteLength, 0)) return;
  const rest = Buffer.concat(pieces).subarray(bytesWritten);
  for (let offset = 0; offset < rest.byteLength; ) offset += (await file.write(rest, offset)).bytesWritten;
}

/** A link fails when the name is taken, a rename would replace it. Where there are no links, the name is taken first. */
async function giveName(temporary: string, target: string): Promise<void> {
  try {
    await link(temporary, target);
  } catch (error) {
    if (!['EPERM', 'ENOTSUP', 'ENOSYS', 'EOPNOTSUPP'].includes(systemCode(error) ?? '')) throw error;
    await (await open(target, 'wx')).close();
    await rename(temporary, target);
  }
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

function removeWhenInterrupted(path: string): { forget(): void } {
  const remove = (signal: NodeJS.Signals) => {
    try {
      unlinkSync(path);
    } catch {
      // It was not made yet, or has its name already.
    }
    forget();
    process.kill(process.pid, signal);
  };
  const forget = () => {
    process.off('SIGINT', remove);
    process.off('SIGTERM', remove);
  };
  process.on('SIGINT', remove);
  process.on('SIGTERM', remove);
  return { forget };
}

function alreadyThere(target: string, cause?: unknown): ChainloopError {
  return new ChainloopError('FILE_EXISTS', `download: ${target} exists; choose another --name or --path, or replace it with --force`, {
    cause,
  });
}

function asOperatingError(error: unknown, target: string): unknown {
  switch (systemCode(error)) {
    case 'EEXIST':
      return alreadyThere(target, error);
    case 'ENOSPC':
    case 'EDQUOT':
      return new ChainloopError('DISK_FULL', `download: no space left for ${target}; make room, and try again`, { cause: error });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
    case 'EISDIR':
    case 'ENOTDIR':
    case 'ENOTEMPTY':
      return new ChainloopError('FILE_UNREADABLE', `download: ${target} cannot be written (${systemCode(error)})`, { cause: error });
    default:
      return error;
  }
}
