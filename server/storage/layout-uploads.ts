import { createHash, type Hash, randomBytes } from 'node:crypto';
import { type FileHandle, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, hexOf } from '../../core/digest.ts';
import { ChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { diskError, ifPresent, publish } from './disk.ts';
import { sealedAt } from './seal.ts';
import type { Storage } from './storage.ts';
import { createTurns, nothing, type Turns } from './turns.ts';

/** Arriving pieces are gathered to this size: one write for each, instead of 16. */
const batchSizeBytes = 1024 * 1024;

/** How often forgotten uploads are looked for. */
const sweepEveryMs = 60 * 60 * 1000;

/** An upload that this process knows. `hash` has seen exactly the first `offset` bytes of the file. */
type Session = {
  readonly path: string;
  readonly hash: Hash;
  readonly turns: Turns;
  offset: number;
  /** Finished or forgotten: nobody may write into what is a blob now. */
  ended: boolean;
};

/**
 * Uploads into a folder: a file each, named by its session. What is in the file is what arrived, so an upload survives a restart of the
 * server; then it is hashed anew from the file.
 */
export function createLayoutUploads(options: {
  readonly folder: string;
  readonly blobPath: (digest: Digest) => string;
  readonly now: () => Date;
}): Pick<Storage, 'beginUpload' | 'uploadStatus' | 'append' | 'finish' | 'cancelUpload'> {
  const { folder, blobPath, now } = options;
  const sessions = new Map<string, Promise<Session>>();
  let sweptAt = new Date(0);

  /** The session of that name; from its file, when an earlier process opened it. */
  async function find(id: string): Promise<Session> {
    const known = await sessions.get(id);
    if (known?.ended === true) throw unknownUpload();
    if (known !== undefined) return known;
    const recovered = recover(folder, id);
    sessions.set(id, recovered);
    recovered.catch(() => sessions.delete(id));
    return recovered;
  }

  async function forget(id: string, session: Session): Promise<void> {
    session.ended = true;
    // In this order: whoever looks in between must not find a file of an upload that seems unknown.
    await rm(session.path, { force: true });
    sessions.delete(id);
  }

  /** Uploads that nobody continued for that long. Looked for when a new one begins: no timer has to be stopped. */
  async function forgetOld(at: Date, lifetimeMs: number): Promise<void> {
    sweptAt = at;
    for (const id of await readdir(folder)) {
      const found = await ifPresent(stat(join(folder, id)));
      if (found === undefined || at.getTime() - found.mtimeMs <= lifetimeMs) continue;
      const session = await sessions.get(id);
      if (session === undefined) await rm(join(folder, id), { force: true });
      else await forget(id, session);
    }
  }

  /** Adds the body to the file. What arrived before the body broke off is kept. */
  async function write(id: string, session: Session, body: AsyncIterable<Uint8Array>): Promise<void> {
    const file = await openUpload(session);
    let batch: Uint8Array[] = [];
    let batchedBytes = 0;
    async function flush(): Promise<void> {
      const pieces = batch;
      const sizeBytes = batchedBytes;
      batch = [];
      batchedBytes = 0;
      try {
        await writeAll(file, pieces, session.offset);
      } catch (error) {
        // The file may hold bytes now that the hash has not seen; and a full disk gets its space back.
        await forget(id, session);
        throw diskError(error, 'upload: the bytes cannot be written');
      }
      for (const piece of pieces) session.hash.update(piece);
      session.offset += sizeBytes;
    }
    try {
      for await (const piece of body) {
        batch.push(piece);
        batchedBytes += piece.byteLength;
        if (batchedBytes >= batchSizeBytes) await flush();
      }
    } finally {
      try {
        if (batchedBytes > 0) await flush();
      } finally {
        await file.close();
      }
    }
  }

  /** Verifies the file and makes it a blob. Right or wrong, the upload is over. */
  async function commit(id: string, session: Session, digest: Digest): Promise<void> {
    try {
      const found = session.hash.digest('hex');
      if (found !== hexOf(digest)) {
        throw new ChainloopError(
          'DIGEST_MISMATCH',
          `upload: the ${session.offset} bytes are sha256:${found}, not ${digest}; send them again`,
        );
      }
      // Also over a blob that is there already: whoever wrote it may not have synced it yet.
      await publish(await openUpload(session), session.path, blobPath(digest), sealedAt);
    } catch (error) {
      throw diskError(error, `upload: ${digest} cannot be stored`);
    } finally {
      await forget(id, session);
    }
  }

  return {
    async beginUpload() {
      const at = now();
      if (at.getTime() - sweptAt.getTime() >= sweepEveryMs) await forgetOld(at, limits.uploadLifetimeMs);
      // Jobs that were killed leave uploads behind: with too many open, those that stand still for an hour make room.
      if ((await readdir(folder)).length >= limits.openUploads) await forgetOld(at, sweepEveryMs);
      if ((await readdir(folder)).length >= limits.openUploads) {
        throw new ChainloopError('RATE_LIMITED', `upload: ${limits.openUploads} uploads are open; finish or cancel some first`);
      }
      const id = randomBytes(24).toString('base64url');
      const path = join(folder, id);
      try {
        await (await open(path, 'wx')).close();
      } catch (error) {
        throw diskError(error, 'upload: it cannot be opened');
      }
      sessions.set(id, Promise.resolve(newSession(path)));
      return { session: id, offset: 0 };
    },
    async uploadStatus(id) {
      const session = await find(id);
      return session.turns.take(nothing(), async () => {
        if (session.ended) throw unknownUpload();
        return { session: id, offset: session.offset };
      });
    },
    async append(id, offset, body) {
      const session = await find(id);
      return session.turns.take(body, async (input) => {
        assertAt(session, offset);
        await write(id, session, input);
        return { session: id, offset: session.offset };
      });
    },
    async finish(id, digest, last) {
      const session = await find(id);
      return session.turns.take(last?.body ?? nothing(), async (input) => {
        assertAt(session, last?.offset ?? session.offset);
        await write(id, session, input);
        await commit(id, session, digest);
        return { sizeBytes: session.offset };
      });
    },
    async cancelUpload(id) {
      const session = await find(id);
      await session.turns.take(nothing(), () => forget(id, session));
    },
  };
}

function newSession(path: string): Session {
  return { path, hash: createHash('sha256'), turns: createTurns(), offset: 0, ended: false };
}

/** Throws unless the session takes bytes at that offset now: NOT_FOUND, CONFLICT. */
function assertAt(session: Session, offset: number): void {
  if (session.ended) throw unknownUpload();
  if (session.offset === offset) return;
  throw new ChainloopError('CONFLICT', `upload: it is at offset ${session.offset}, not ${offset}; send the bytes from there`);
}

async function recover(folder: string, id: string): Promise<Session> {
  if (!/^[A-Za-z0-9_-]{32}$/.test(id)) throw unknownUpload();
  const session = newSession(join(folder, id));
  const file = await openUpload(session);
  for await (const piece of file.createReadStream({ highWaterMark: batchSizeBytes })) {
    session.hash.update(piece);
    session.offset += piece.length;
  }
  return session;
}

async function openUpload(session: Session): Promise<FileHandle> {
  const file = await ifPresent(open(session.path, 'r+'));
  if (file === undefined) throw unknownUpload();
  return file;
}

/** All of the pieces, at that position: the system may take fewer than it is given. */
async function writeAll(file: FileHandle, pieces: readonly Uint8Array[], position: number): Promise<void> {
  let rest = pieces;
  let at = position;
  while (rest.length > 0) {
    let { bytesWritten } = await file.writev([...rest], at);
    at += bytesWritten;
    const next: Uint8Array[] = [];
    for (const piece of rest) {
      if (bytesWritten < piece.byteLength) next.push(piece.subarray(bytesWritten));
      bytesWritten = Math.max(0, bytesWritten - piece.byteLength);
    }
    rest = next;
  }
}

function unknownUpload(): ChainloopError {
  return new ChainloopError('NOT_FOUND', 'upload: there is no such upload (any more); start a new one');
}
