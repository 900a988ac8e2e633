import { decodeJwt, decodeProtectedHeader, errors, jwtVerify } from 'jose';
import * as z from 'zod';
import type { JobClaims } from '../../core/claims.ts';
import { type Digest, digestOf } from '../../core/digest.ts';
import { ChainloopError, type Problem } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { printable } from '../../core/source/place.ts';
import { githubClaims } from './github.ts';
import { gitlabClaims } from './gitlab.ts';
import type { Issuer, Issuers } from './issuers.ts';
import { algorithm, type KeySource } from './keys.ts';

/** A token of a CI system that was verified. `use` is of its issuer and `jti`: it may be exchanged once. */
export type Subject = { readonly claims: JobClaims; readonly use: Digest; readonly expiresAt: Date };

/** The end of the year 9999: beyond it nothing is a time any more. */
const maxInstant = 253_402_300_799;

const Registered = z.object({
  aud: z.union([z.string(), z.array(z.string())]),
  exp: z.number().max(maxInstant),
  iat: z.number(),
  jti: z.string().min(1).max(1024),
});

/** One row for each kind of issuer. */
const readers: Readonly<Record<Issuer['kind'], (issuer: Issuer, payload: unknown) => JobClaims>> = {
  github: githubClaims,
  gitlab: gitlabClaims,
};

/** Whose key a token says to be signed with: of an issuer that is trusted. Nothing is verified so far. */
export type Claimed = { readonly token: string; readonly issuer: Issuer; readonly key: Parameters<typeof jwtVerify>[1] };

/**
 * Finds the key for the token that a CI system gave a job; the one part that may wait for its issuer. Throws UNAUTHENTICATED,
 * LIMIT_EXCEEDED, RATE_LIMITED, CONTROL_PLANE_UNREACHABLE when the issuer does not answer. No message has the token, or a part of it.
 */
export async function findKey(deps: { readonly issuers: Issuers; readonly keys: KeySource }, token: string): Promise<Claimed> {
  if (token.length > limits.subjectTokenSizeBytes) {
    throw new ChainloopError('LIMIT_EXCEEDED', `token: longer than ${limits.subjectTokenSizeBytes} bytes`);
  }
  // 1. Who says to have issued it: only to find it in the list. Unsigned so far.
  const { header, iss } = peek(token);
  const issuer = iss === undefined ? undefined : deps.issuers.get(iss);
  if (issuer === undefined) {
    throw refused(
      `its issuer${iss === undefined ? '' : ` ${shown(iss)}`} is not one that this control plane trusts (chainloop server --issuers)`,
    );
  }
  // 2. The algorithm is ours to choose. The key is the issuer's: whatever the header offers instead (jwk, jku, x5c, x5u) is not looked at.
  if (header.alg !== algorithm) throw refused(`it must be signed with ${algorithm}, not ${shown(header.alg ?? 'nothing')}`);
  if (header.kid === undefined || header.kid.length > 256) throw refused('its header names no key');
  const key = await deps.keys(issuer, header.kid);
  if (key === undefined) throw refused('its key is not one of its issuer; if that has just changed its keys, try again in a minute');
  return { token, issuer, key };
}

/**
 * Verifies the token that a CI system gave a job: OpenID Connect Core 1.0, section 3.1.3.7, and RFC 8725. Throws UNAUTHENTICATED,
 * TOKEN_EXPIRED, NO_BINDING for the pipeline of a fork. No message has the token, or a part of it.
 */
export async function verifySubject(
  { token, issuer, key }: Claimed,
  { now, audience }: { readonly now: Date; readonly audience: string },
): Promise<Subject> {
  // 3. Signature and times, by the one clock of this request.
  const payload = await verified(token, key, issuer, now);
  // 4. For us, and for nobody else.
  const { aud, exp, iat, jti } = parsed(() => Registered.parse(payload));
  const audiences = [aud].flat();
  if (audiences.length !== 1) throw refused(`it has ${audiences.length} audiences; it must have one, ${audience}`);
  if (audiences[0] !== audience) throw refused(`its audience is ${shown(audiences[0] ?? '')}; it must be ${audience}`);
  // 5. Not for ever: it is remembered until it expires.
  if ((exp - iat) * 1000 > limits.subjectTokenLifetimeMs) {
    const hours = limits.subjectTokenLifetimeMs / 3_600_000;
    throw refused(`it is good for more than ${hours} hours; give the job a timeout below that, which is how long its token is good`);
  }
  // 6. What it says.
  const claims = parsed(() => readers[issuer.kind](issuer, payload));
  // Another server, whose clock is behind the one that forgets, must not take it again.
  const expiresAt = new Date(exp * 1000 + 2 * limits.clockToleranceMs);
  return { claims, use: digestOf(JSON.stringify([issuer.issuer, jti])), expiresAt };
}

function peek(token: string) {
  try {
    const { alg, kid } = decodeProtectedHeader(token);
    return { header: { alg, kid: typeof kid === 'string' ? kid : undefined }, iss: decodeJwt(token).iss };
  } catch (cause) {
    throw refused('it is not a JSON Web Token', cause);
  }
}

async function verified(token: string, key: Parameters<typeof jwtVerify>[1], { issuer }: Issuer, now: Date): Promise<unknown> {
  try {
    const { payload } = await jwtVerify(token, key, {
      algorithms: [algorithm],
      issuer,
      currentDate: now,
      clockTolerance: limits.clockToleranceMs / 1000,
      requiredClaims: ['exp', 'iat', 'jti', 'aud'],
    });
    if ((payload.iat ?? 0) * 1000 > now.getTime() + limits.clockToleranceMs) throw fromTheFuture(payload.iat, now);
    return payload;
  } catch (cause) {
    if (cause instanceof ChainloopError) throw cause;
    if (cause instanceof errors.JWTExpired) throw expired(cause.payload.exp, now);
    if (cause instanceof errors.JWSSignatureVerificationFailed) throw refused('its signature does not verify');
    if (cause instanceof errors.JWTClaimValidationFailed && cause.claim === 'nbf' && cause.reason === 'check_failed')
      throw fromTheFuture(cause.payload.nbf, now);
    if (cause instanceof errors.JWTClaimValidationFailed)
      throw refused(`its claim '${cause.claim}' is missing, malformed or not yet valid`);
    if (cause instanceof errors.JOSEError) throw refused('it is malformed', cause);
    throw cause;
  }
}

/** Whoever just got the token sees by the clock what is wrong. */
function expired(seconds: unknown, now: Date): ChainloopError {
  const ago = Math.round(now.getTime() / 1000 - Number(seconds));
  return new ChainloopError(
    'TOKEN_EXPIRED',
    `token: it expired ${ago} s ago by the clock of this control plane, where it is ${now.toISOString()}; ask the CI system for a new one, and if it is new, check that clock`,
  );
}

/** Of two clocks one is wrong: how far they are apart tells which. */
function fromTheFuture(seconds: unknown, now: Date): ChainloopError {
  const ahead = Math.round(Number(seconds) - now.getTime() / 1000);
  return refused(`it was issued in the future: its issuer's clock is ${ahead} s ahead of this control plane's; check the clocks`);
}

/** Every claim that is missing or malformed, at once. */
function parsed<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error;
    const problems = error.issues.slice(0, limits.problems).map(({ path, message }): Problem => ({ path: path.join('.'), message }));
    const names = problems.map(({ path }) => path).join(', ');
    throw new ChainloopError('UNAUTHENTICATED', `token: claims are missing or malformed: ${names}`, { problems });
  }
}

function refused(why: string, cause?: unknown): ChainloopError {
  return new ChainloopError('UNAUTHENTICATED', `token: ${why}`, { cause });
}

/** A claim of the caller's own token, as it may stand in a message. */
function shown(text: string): string {
  return `'${printable(text, 120)}'`;
}
