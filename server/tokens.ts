import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { type Digest, digestOf } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';

/** Who a token speaks for; an invitation speaks for nobody, it lets somebody in. The letter is in the token, so that a secret scanner can tell what leaked. */
export const tokenLetters = { owner: 'o', api: 'a', 'service-account': 's', run: 'r', session: 'u', invitation: 'i' } as const;
export type TokenKind = keyof typeof tokenLetters;

/** `chl_`, the kind, 32 random bytes in base64url, and six base62 digits of checksum. */
const pattern = /^chl_([oasrui])_[A-Za-z0-9_-]{43}[0-9A-Za-z]{6}$/;
const tokenLength = 'chl_o_'.length + 43 + 6;
const checksumLength = 6;
const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** A new token and what is kept of it. The token is shown once and never stored. */
export function makeToken(kind: TokenKind): { readonly token: string; readonly hash: Digest } {
  const body = `chl_${tokenLetters[kind]}_${randomBytes(32).toString('base64url')}`;
  const token = body + checksum(body);
  return { token, hash: hashToken(token) };
}

/**
 * The kind of a well-formed token, or undefined. The checksum refuses typing mistakes and made-up tokens without a query; it is no
 * proof of anything.
 */
export function parseToken(text: string): { readonly kind: TokenKind } | undefined {
  if (text.length !== tokenLength || !pattern.test(text)) return undefined;
  const body = text.slice(0, -checksumLength);
  if (checksum(body) !== text.slice(-checksumLength)) return undefined;
  switch (text['chl_'.length]) {
    case 'o':
      return { kind: 'owner' };
    case 'a':
      return { kind: 'api' };
    case 's':
      return { kind: 'service-account' };
    case 'u':
      return { kind: 'session' };
    case 'i':
      return { kind: 'invitation' };
    default:
      return { kind: 'run' };
  }
}

/** A well-formed token, without what it is. */
export type Credential = { readonly kind: TokenKind; readonly hash: Digest };

/** The credential of a token. UNAUTHENTICATED: it is none of ours. */
export function credentialOf(token: string | undefined): Credential {
  if (token === undefined) throw new ChainloopError('UNAUTHENTICATED', 'token: none was sent; set CHAINLOOP_TOKEN');
  const kind = parseToken(token)?.kind;
  if (kind === undefined) throw unknownToken();
  return { kind, hash: hashToken(token) };
}

export function unknownToken(): ChainloopError {
  return new ChainloopError('UNAUTHENTICATED', 'token: it is not known here; check CHAINLOOP_TOKEN and CHAINLOOP_URL');
}

/** What is stored and looked up: SHA-256 is enough, because 32 random bytes cannot be guessed. */
export function hashToken(token: string): Digest {
  return digestOf(token);
}

/**
 * The token in an Authorization header: `Bearer <token>`, or Basic with the token as password and any user, as OCI clients send it.
 * Undefined when there is none.
 */
export function tokenOf(authorization: string | undefined): string | undefined {
  if (authorization === undefined || authorization.length > 2048) return undefined;
  const [scheme, credentials = ''] = authorization.trim().split(/\s+/, 2);
  switch (scheme?.toLowerCase()) {
    case 'bearer':
      return credentials;
    case 'basic': {
      const pair = Buffer.from(credentials, 'base64').toString('utf8');
      const colon = pair.indexOf(':');
      return colon < 0 ? undefined : pair.slice(colon + 1);
    }
    default:
      return undefined;
  }
}

/** CRC-32 in base62: as GitHub's tokens do it, so that scanners need no network to drop false matches. */
function checksum(body: string): string {
  let rest = crc32(body);
  let digits = '';
  for (let i = 0; i < checksumLength; i++) {
    digits = base62.charAt(rest % 62) + digits;
    rest = Math.floor(rest / 62);
  }
  return digits;
}
