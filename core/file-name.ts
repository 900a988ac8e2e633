import { ChainloopError } from './errors.ts';
import { limits } from './limits.ts';

/** A name that tools can write a file under: no folder, no control or text-direction character, nothing hidden in it, at most 255 bytes. */
export function isFileName(text: string): boolean {
  if (text === '.' || text === '..' || Buffer.byteLength(text) > limits.fileNameLength) return false;
  return /^[^/\\\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+$/u.test(text);
}

/** Throws USAGE for the name of a file that no evidence may have: before any of it is sent. */
export function assertFileName(fileName: string): void {
  if (isFileName(fileName)) return;
  throw new ChainloopError(
    'USAGE',
    `the name of the file, ${JSON.stringify(fileName)}, has line breaks, other control characters or backslashes in it; rename the file first`,
  );
}
