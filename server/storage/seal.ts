import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat, utimes } from 'node:fs/promises';
import { type Digest, hexOf } from '../../core/digest.ts';
import { ChainloopError } from '../../core/errors.ts';
import { diskError, ifPresent } from './disk.ts';

/**
 * A blob that was verified carries this modification time, one second after the epoch. Whatever writes to the file moves it, so that a
 * look at the time tells whether the bytes are still the verified ones, for the price of no read. A disk that changes bytes by itself is
 * found by whoever reads them. A copy without times (a restored backup) is verified again when it is first asked for.
 */
export const sealedAt = new Date(1000);

/** Blobs of a folder, as they may be told of: `corrupt` has other bytes than its name says. */
export type Seals = {
  /** The blob's size; `corrupt`; or undefined: it is not there. Reads the blob when its seal is gone. */
  look(digest: Digest): Promise<{ readonly sizeBytes: number } | 'corrupt' | undefined>;
  /** Whoever reads a blob found other bytes in it: the next look reads it, too. */
  breakSeal(digest: Digest): Promise<void>;
};

export function createSeals(blobPath: (digest: Digest) => string): Seals {
  /** Many may ask for a large one at once. */
  const underWay = new Map<Digest, Promise<boolean>>();

  async function verify(digest: Digest): Promise<boolean> {
    const path = blobPath(digest);
    const hash = createHash('sha256');
    for await (const piece of createReadStream(path, { highWaterMark: 512 * 1024 })) hash.update(piece);
    if (hash.digest('hex') !== hexOf(digest)) return false;
    // On a disk that may only be read, each look reads.
    await utimes(path, new Date(), sealedAt).catch(() => {});
    return true;
  }

  return {
    async look(digest) {
      const found = await ifPresent(stat(blobPath(digest)));
      if (found?.isFile() !== true) return undefined;
      if (found.mtimeMs === sealedAt.getTime()) return { sizeBytes: found.size };
      const verifying = underWay.get(digest) ?? verify(digest).finally(() => underWay.delete(digest));
      underWay.set(digest, verifying);
      const isRight = await verifying.catch((error: unknown) => {
        throw diskError(error, `storage: ${digest} cannot be read`);
      });
      return isRight ? { sizeBytes: found.size } : 'corrupt';
    },
    async breakSeal(digest) {
      await utimes(blobPath(digest), new Date(), new Date()).catch(() => {});
    },
  };
}

export function corrupt(digest: Digest): ChainloopError {
  return new ChainloopError('DIGEST_MISMATCH', `storage: ${digest} was changed on disk; upload it again, or restore it from a backup`);
}
