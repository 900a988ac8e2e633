import { createHash } from 'node:crypto';

/** Bytes that look random, the same for the same seed. */
export function seededBytes(sizeBytes: number, seed: string): Buffer {
  // An extendable-output function gives any length in one call.
  return createHash('shake128', { outputLength: sizeBytes }).update(seed).digest();
}

/** A blob in memory that is read in pieces of one buffer, which is overwritten for each: who keeps a piece for too long gets other bytes. */
export function blobOf(bytes: Uint8Array, pieceSizeBytes = 1024 * 1024) {
  return {
    sizeBytes: bytes.byteLength,
    async *read(offset = 0): AsyncGenerator<Uint8Array> {
      const buffer = Buffer.alloc(pieceSizeBytes);
      for (let start = offset; start < bytes.byteLength; start += pieceSizeBytes) {
        const piece = bytes.subarray(start, start + pieceSizeBytes);
        buffer.set(piece);
        yield buffer.subarray(0, piece.byteLength);
        buffer.fill(0xff);
      }
    },
  };
}
