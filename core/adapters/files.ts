import { createHash, randomUUID } from 'node:crypto';
import { type BigIntStats, close, closeSync, constants, fstat, fstatSync, openSync, read, readSync } from 'node:fs';
import { open, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { promisify } from 'node:util';
import { type Digest, digestOf, parseDigest } from '../digest.ts';
import { ChainloopError } from '../errors.ts';
import type { EvidenceFile, Files } from '../ports.ts';
import { systemCode } from '../system-code.ts';

/** Two buffers of this size: while one is hashed or sent, the other is filled. Measured: 95 % of the speed of hashing alone. */
const pieceSizeBytes = 2 * 1024 * 1024;
/** Up to here one synchronous read is three to four times faster than any asynchronous one, and too short to be noticed. */
const smallSizeBytes = 256 * 1024;

/** For small files, one after the other: read and hashed without a pause, so that nobody else can come between. */
let smallBytes: Buffer | undefined;

const readAsync = promisify(read);
const closeAsync = promisify(close);
const statAsync: (descriptor: number) => Promise<BigIntStats> = (descriptor) =>
  new Promise((resolve, reject) =>
    fstat(descriptor, { bigint: true }, (error, stats) => (error === null ? resolve(stats) : reject(error))),
  );

/**
 * Files on disk, opened once: what is hashed, checked and sent is one inode. FILE_NOT_FOUND, FILE_UNREADABLE (no permission, a
 * directory, a device, a pipe, a disk that fails), FILE_EMPTY, and FILE_CHANGED while it is read.
 */
export const files: Files = { open: async (path, mediaType) => openEvidence(path, mediaType ?? 'application/octet-stream') };

function openEvidence(path: string, mediaType: string): EvidenceFile {
  const { descriptor, stats } = openRegular(path);
  const sizeBytes = Number(stats.size);
  const isSmall = sizeBytes <= smallSizeBytes;
  let digest: Promise<Digest> | undefined;

  async function reading<T>(work: () => Promise<T> | T): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      throw cannotRead(path, cause);
    }
  }

  async function assertUnchanged(): Promise<void> {
    const now = await reading(() => (isSmall ? fstatSync(descriptor, { bigint: true }) : statAsync(descriptor)));
    if (now.size !== stats.size || now.mtimeNs !== stats.mtimeNs || now.ino !== stats.ino) throw changed(path);
  }

  async function* readPieces(offset = 0): AsyncGenerator<Uint8Array> {
    const length = Math.max(1, Math.min(pieceSizeBytes, sizeBytes - offset));
    const buffers = [Buffer.allocUnsafeSlow(length), Buffer.allocUnsafeSlow(length)] as const;
    let position = offset;
    let turn: 0 | 1 = 0;
    let next = readAsync(descriptor, buffers[turn], 0, length, position);
    try {
      for (;;) {
        const { bytesRead } = await reading(() => next);
        if (bytesRead === 0) break;
        const piece = buffers[turn].subarray(0, bytesRead);
        position += bytesRead;
        turn = turn === 0 ? 1 : 0;
        next = readAsync(descriptor, buffers[turn], 0, length, position);
        // It may fail while the consumer is busy with this piece, and nobody waits for it.
        next.catch(() => undefined);
        yield piece;
      }
      if (position !== sizeBytes) throw changed(path);
      await assertUnchanged();
    } finally {
      // A consumer that stops early must not leave a read behind that outlives the descriptor.
      await next.catch(() => undefined);
    }
  }

  async function computeDigest(): Promise<Digest> {
    if (isSmall) {
      smallBytes ??= Buffer.allocUnsafeSlow(smallSizeBytes + 1);
      const bytes = smallBytes;
      const found = await reading(() => {
        // One byte more than there should be, to see growth.
        const bytesRead = readSync(descriptor, bytes, 0, sizeBytes + 1, 0);
        return bytesRead === sizeBytes ? digestOf(bytes.subarray(0, bytesRead)) : undefined;
      });
      if (found === undefined) throw changed(path);
      await assertUnchanged();
      return found;
    }
    const hash = createHash('sha256');
    for await (const piece of readPieces()) hash.update(piece);
    return parseDigest(`sha256:${hash.digest('hex')}`);
  }

  return {
    fileName: basename(path),
    sizeBytes,
    mediaType,
    digest: () => {
      digest ??= computeDigest();
      return digest;
    },
    read: readPieces,
    assertUnchanged,
    [Symbol.asyncDispose]: async () => (isSmall ? closeSync(descriptor) : closeAsync(descriptor)),
  };
}

function openRegular(path: string): { descriptor: number; stats: BigIntStats } {
  let descriptor: number;
  try {
    // Without O_NONBLOCK, opening a pipe waits for its writer for ever.
    descriptor = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (cause) {
    throw cannotRead(path, cause);
  }
  const stats = fstatSync(descriptor, { bigint: true });
  if (stats.isFile() && stats.size > 0n) return { descriptor, stats };
  closeSync(descriptor);
  if (stats.isFile()) throw new ChainloopError('FILE_EMPTY', `${path} is empty, so it cannot be evidence; check what writes it`);
  const what = stats.isDirectory() ? 'a directory' : 'not a regular file';
  throw new ChainloopError('FILE_UNREADABLE', `${path} is ${what}; give the path of a file`);
}

/**
 * A whole file of at most `maxBytes`, counted while reading. Takes pipes too, so that secrets need not be written to a disk.
 * FILE_NOT_FOUND, FILE_UNREADABLE, LIMIT_EXCEEDED.
 */
export async function readLimited(path: string, maxBytes: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  try {
    await using file = await open(path, 'r');
    const stats = await file.stat();
    const announced = stats.isFile() ? stats.size : 0;
    while (sizeBytes <= maxBytes && announced <= maxBytes) {
      const piece = Buffer.allocUnsafe(Math.min(maxBytes + 1 - sizeBytes, Math.max(announced + 1 - sizeBytes, 64 * 1024)));
      const { bytesRead } = await file.read(piece, 0, piece.length, null);
      if (bytesRead === 0) return Buffer.concat(pieces, sizeBytes);
      pieces.push(piece.subarray(0, bytesRead));
      sizeBytes += bytesRead;
    }
  } catch (cause) {
    throw cannotRead(path, cause);
  }
  throw new ChainloopError('LIMIT_EXCEEDED', `${path} is larger than ${maxBytes} bytes, which is the limit for such a file`);
}

/**
 * Writes a whole file: aside, synced, renamed, and the folder synced. After a crash there is the old file or the new one, and after an
 * error nothing is left aside. DISK_FULL, FILE_NOT_FOUND (the folder), FILE_UNREADABLE (it may not be written).
 */
export async function writeFileAtomically(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  // A link stays a link, also /dev/stdout.
  const target = await realpath(path).catch(() => path);
  const aside = `${target}.${randomUUID()}`;
  try {
    await using file = await open(aside, 'wx', mode);
    await file.writeFile(bytes);
    await file.sync();
    await file.close();
    await rename(aside, target);
    await syncDirectory(dirname(target));
  } catch (cause) {
    await rm(aside, { force: true }).catch(() => undefined);
    throw cannotWrite(path, cause);
  }
}

/**
 * Throws what `writeFileAtomically` would, before what cannot be undone is begun; and FILE_UNREADABLE for a folder, device or pipe, which the
 * rename would replace.
 */
export async function assertWritable(path: string): Promise<void> {
  const there = await stat(path).catch(() => undefined);
  if (there?.isFile() === false) {
    const what = there.isDirectory() ? 'a directory' : 'not a regular file';
    throw new ChainloopError('FILE_UNREADABLE', `cannot write ${path}: it is ${what}; give the path of a file`);
  }
  const aside = `${path}.${randomUUID()}`;
  try {
    await (await open(aside, 'wx', 0o600)).close();
    await rm(aside);
  } catch (cause) {
    throw cannotWrite(path, cause);
  }
}

function cannotWrite(path: string, cause: unknown): ChainloopError {
  const code = systemCode(cause);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new ChainloopError('DISK_FULL', `no space left to write ${path}; make room, and try again`, { cause });
  }
  if (code === 'ENOENT' || code === 'ENOTDIR') return new ChainloopError('FILE_NOT_FOUND', `no such folder: ${dirname(path)}`, { cause });
  return new ChainloopError('FILE_UNREADABLE', `cannot write ${path}: ${reasonOf(cause)}`, { cause });
}

/** Makes what was renamed or removed in a folder survive a power cut. Windows has no such call, and needs none. */
export async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  await using folder = await open(path, 'r');
  await folder.sync();
}

function changed(path: string): ChainloopError {
  return new ChainloopError('FILE_CHANGED', `${path} changed while it was read; add it when it is complete`);
}

function cannotRead(path: string, cause: unknown): ChainloopError {
  const code = systemCode(cause);
  if (code === 'ENOENT' || code === 'ENOTDIR') return new ChainloopError('FILE_NOT_FOUND', `no such file: ${path}`, { cause });
  return new ChainloopError('FILE_UNREADABLE', `cannot read ${path}: ${reasonOf(cause)}`, { cause });
}

const reasons: ReadonlyMap<unknown, string> = new Map([
  ['EACCES', 'there is no permission'],
  ['EPERM', 'there is no permission'],
  ['EROFS', 'the file system is read-only'],
  ['EISDIR', 'it is a directory'],
  ['ELOOP', 'its symbolic links go round in a circle'],
  ['ENAMETOOLONG', 'the path is too long'],
  ['ERR_INVALID_ARG_VALUE', 'it is not a path'],
]);

function reasonOf(cause: unknown): string {
  const code = systemCode(cause);
  return reasons.get(code) ?? (typeof code === 'string' ? code : 'for an unknown reason');
}
