import { decodeProtectedHeader, errors, jwtVerify } from 'jose';
import * as z from 'zod';
import { ChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { printable } from '../../core/source/place.ts';
import { algorithm } from '../federation/keys.ts';
import type { ProviderConfig } from './config.ts';
import type { Provider } from './provider.ts';

/** Who has logged in, as the provider says it. */
export type Identity = {
  readonly issuer: string;
  readonly subject: string;
  readonly name: string | undefined;
  readonly email: string | undefined;
  /** Only when the provider says so, with the JSON value `true`. */
  readonly emailVerified: boolean;
};

/** OpenID Connect Core 1.0, sections 2 and 5.1. A subject is at most 255 ASCII characters. */
const Claims = z.object({
  sub: z.string().regex(/^[\x21-\x7e]{1,255}$/),
  aud: z.union([z.string(), z.array(z.string())]),
  nonce: z.string().optional(),
});
const Profile = z.object({
  sub: z.string(),
  name: z.string().optional().catch(undefined),
  preferred_username: z.string().optional().catch(undefined),
  email: z.string().max(320).optional().catch(undefined),
  email_verified: z.unknown().optional(),
});

/**
 * Verifies an ID token that came from the provider's token endpoint: OpenID Connect Core 1.0, section 3.1.3.7, and RFC 8725. `nonce` is the
 * one of the request; the device flow has none. Throws UNAUTHENTICATED, and for clocks that differ by more than
 * `limits.clockToleranceMs` says by how much. No message has the token, or a part of it.
 */
export async function verifyIdToken(
  token: string,
  { config, key: keyOf, nonce, now }: { config: ProviderConfig; key: Provider['key']; nonce: string | undefined; now: Date },
): Promise<Identity> {
  if (token.length > limits.subjectTokenSizeBytes) throw refused(`it is longer than ${limits.subjectTokenSizeBytes} bytes`);
  const { issuer, clientId } = config;
  // 1. The algorithm is ours to choose: the one that every provider must have (section 15.1). The key is the provider's.
  const { alg, kid } = headerOf(token);
  if (alg !== algorithm) throw refused(`it must be signed with ${algorithm}, not '${printable(alg ?? 'nothing', 40)}'`);
  if (typeof kid !== 'string' || kid.length > 256) throw refused('its header names no key');
  const key = await keyOf(kid);
  if (key === undefined) throw refused('its key is not one of the provider');
  // 2. Signature, issuer and times.
  const payload = await verified(token, key, issuer, now);
  const claims = Claims.safeParse(payload);
  if (!claims.success)
    throw refused(`claims are missing or malformed: ${claims.error.issues.map(({ path }) => path.join('.')).join(', ')}`);
  const { sub, aud, nonce: answered } = claims.data;
  // 3. For us, and for nobody else.
  if ([aud].flat().length !== 1 || [aud].flat()[0] !== clientId)
    throw refused('its audience is not this control plane (--oidc-client-id) alone');
  // 4. An answer to this very request.
  if (nonce !== undefined && answered !== nonce) throw refused('its nonce is not that of this login');
  return identityOf(issuer, sub, payload);
}

/** The same person, with what the userinfo endpoint says where the ID token says no e-mail (OpenID Connect Core 1.0, section 5.3.2). */
export function completed(identity: Identity, userinfo: unknown): Identity {
  const read = Profile.safeParse(userinfo);
  return read.success && read.data.sub === identity.subject ? identityOf(identity.issuer, identity.subject, userinfo) : identity;
}

function identityOf(issuer: string, subject: string, payload: unknown): Identity {
  const { name, preferred_username: username, email, email_verified: isVerified } = Profile.parse(payload);
  return { issuer, subject, name: name ?? username, email, emailVerified: isVerified === true };
}

function headerOf(token: string): { readonly alg?: string | undefined; readonly kid?: unknown } {
  try {
    return decodeProtectedHeader(token);
  } catch (cause) {
    throw refused('it is not a JSON Web Token', cause);
  }
}

async function verified(token: string, key: Parameters<typeof jwtVerify>[1], issuer: string, now: Date): Promise<unknown> {
  const toleranceS = limits.clockToleranceMs / 1000;
  try {
    const { payload } = await jwtVerify(token, key, {
      algorithms: [algorithm],
      issuer,
      currentDate: now,
      clockTolerance: toleranceS,
      requiredClaims: ['exp', 'iat', 'sub', 'aud'],
    });
    const aheadS = Math.round((payload.iat ?? 0) - now.getTime() / 1000);
    if (aheadS > toleranceS) throw refused(`the provider's clock is ${aheadS} s ahead of this control plane's; check the clocks`);
    return payload;
  } catch (cause) {
    if (cause instanceof ChainloopError) throw cause;
    if (cause instanceof errors.JWTExpired) {
      const agoS = Math.round(now.getTime() / 1000 - Number(cause.payload.exp));
      throw refused(`it expired ${agoS} s ago by this control plane's clock, and the provider has only just given it; check the clocks`);
    }
    if (cause instanceof errors.JWSSignatureVerificationFailed) throw refused('its signature does not verify');
    if (cause instanceof errors.JWTClaimValidationFailed)
      throw refused(`its claim '${cause.claim}' is missing, malformed, or not what it must be`);
    if (cause instanceof errors.JOSEError) throw refused('it is malformed', cause);
    throw cause;
  }
}

function refused(why: string, cause?: unknown): ChainloopError {
  return new ChainloopError('UNAUTHENTICATED', `login: the ID token of the provider is refused: ${why}`, { cause });
}
