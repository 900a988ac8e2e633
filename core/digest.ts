import { hash } from 'node:crypto';
import { ChainloopError } from './errors.ts';

/** A content digest, `sha256:` and 64 lower-case hex digits (OCI image specification, "Digests"). Other algorithms are not accepted. */
export type Digest = string & { readonly __digest: 'sha256' };

const pattern = /^sha256:[0-9a-f]{64}$/;

/** True when the text is a digest. */
export function isDigest(text: unknown): text is Digest {
  return typeof text === 'string' && pattern.test(text);
}

/** The digest in the text. Throws USAGE otherwise. */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new ChainloopError('USAGE', `digest: '${text.slice(0, 100)}' is not sha256:<64 hex digits>`);
}

/** The digest of bytes in memory. */
export function digestOf(bytes: Uint8Array | string): Digest {
  return parseDigest(`sha256:${hash('sha256', bytes, 'hex')}`);
}

/** The 64 hex digits of a digest. */
export function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length);
}
