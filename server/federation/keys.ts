import { setTimeout as sleep } from 'node:timers/promises';
import { type CryptoKey, importJWK } from 'jose';
import * as z from 'zod';
import type { Http } from '../../core/adapters/http.ts';
import { HttpFailure } from '../../core/adapters/http-failure.ts';
import { ChainloopError, isChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { type Issuer, insecureProblem } from './issuers.ts';

/** Whose keys: an issuer of `--issuers`, or the provider that people log in with. */
type KeyIssuer = Pick<Issuer, 'issuer' | 'jwksUri' | 'allowInsecure'>;

/** The only algorithm of both kinds of issuer: GitHub and GitLab document RS256, and every OpenID provider has it. A symmetric one would let a public key sign. */
export const algorithm = 'RS256';

/**
 * The key of that id, or undefined when the issuer has none. Throws CONTROL_PLANE_UNREACHABLE when the issuer does not answer, RATE_LIMITED
 * when `limits.issuerWaiters` wait for its answer already.
 */
export type KeySource = (issuer: KeyIssuer, kid: string) => Promise<CryptoKey | undefined>;

type Keys = ReadonlyMap<string, CryptoKey>;
type Cached = { readonly keys: Keys; readonly at: number };

const Discovery = z.object({ issuer: z.string(), jwks_uri: z.string().max(2048) });
const KeySet = z.object({ keys: z.array(z.looseObject({})).max(100) });
/** What may verify a token of ours: RSA, for signatures. Everything else in a key set is not for us. */
const RsaKey = z.object({
  kty: z.literal('RSA'),
  kid: z.string().min(1).max(256),
  use: z.literal('sig').optional(),
  alg: z.literal(algorithm).optional(),
  n: z.string().min(342).max(1400),
  e: z.string().max(16),
});

/**
 * The public keys of the configured issuers, from their discovery documents. Kept for `limits.issuerKeysLifetimeMs`; an unknown key id
 * makes it ask again, so that rotation works. It asks once within `limits.issuerCooldownMs`, and whoever comes earlier waits for that: made-up
 * ids cost little, and nobody is refused by what the issuer said before. Nothing in a token names an address: `jku`, `x5u` and `kid` are
 * never fetched, and redirects are not followed.
 */
export function createKeySource(deps: { readonly http: Http; readonly now: () => Date }): KeySource {
  const { http, now } = deps;
  const cache = new Map<string, Cached>();
  const asked = new Map<string, number>();
  const underWay = new Map<string, { readonly keys: Promise<Keys>; waiters: number }>();

  /** One request at a time for each issuer; whoever comes meanwhile waits for it, unless too many do: an issuer that hangs holds few. */
  function refresh(issuer: KeyIssuer): Promise<Keys> {
    const running = underWay.get(issuer.issuer);
    if (running !== undefined) {
      if (running.waiters >= limits.issuerWaiters) throw crowded(issuer);
      running.waiters++;
      return running.keys;
    }
    const started = sleep(restMs(issuer))
      .then(() => {
        asked.set(issuer.issuer, now().getTime());
        return fetchKeys(http, issuer);
      })
      .then((keys) => {
        cache.set(issuer.issuer, { keys, at: now().getTime() });
        return keys;
      })
      .finally(() => underWay.delete(issuer.issuer));
    underWay.set(issuer.issuer, { keys: started, waiters: 1 });
    return started;
  }

  /** Until the issuer may be asked again. A clock that was set back makes nobody wait longer. */
  function restMs({ issuer }: KeyIssuer): number {
    const lastAsked = asked.get(issuer) ?? Number.NEGATIVE_INFINITY;
    return Math.min(limits.issuerCooldownMs, Math.max(0, lastAsked + limits.issuerCooldownMs - now().getTime()));
  }

  return async (issuer, kid) => {
    const known = cache.get(issuer.issuer);
    const age = known === undefined ? Number.POSITIVE_INFINITY : now().getTime() - known.at;
    const key = known?.keys.get(kid);
    if (key !== undefined && age < limits.issuerKeysLifetimeMs) return key;
    // It failed a moment ago: that stops no job whose key is known.
    if (key !== undefined && age < limits.issuerKeysStaleMs && restMs(issuer) > 0 && !underWay.has(issuer.issuer)) return key;
    try {
      return (await refresh(issuer)).get(kid);
    } catch (error) {
      // An issuer that is away for a while stops no job whose key is known.
      if (key !== undefined && age < limits.issuerKeysStaleMs) return key;
      if (isChainloopError(error, 'RATE_LIMITED')) throw error;
      throw unreachable(issuer, error instanceof Error ? error.message : 'unknown', error);
    }
  };
}

async function fetchKeys(http: Http, issuer: KeyIssuer): Promise<Keys> {
  const address = issuer.jwksUri ?? (await discover(http, issuer));
  const { keys } = KeySet.parse(await fetchJson(http, address, issuer));
  const usable = keys.flatMap((key) => RsaKey.safeParse(key).data ?? []);
  const imported = await Promise.all(
    usable.map(async (key): Promise<readonly [string, CryptoKey] | undefined> => {
      const made = await importJWK({ kty: key.kty, n: key.n, e: key.e }, algorithm).catch(() => undefined);
      return made === undefined || made instanceof Uint8Array ? undefined : [key.kid, made];
    }),
  );
  return new Map(imported.filter((entry) => entry !== undefined));
}

/** OpenID Connect Discovery 1.0, sections 4.1 and 4.3: the document must be of this very issuer. Its keys must be at the same origin. */
async function discover(http: Http, issuer: KeyIssuer): Promise<string> {
  const document = Discovery.parse(await fetchJson(http, `${issuer.issuer}/.well-known/openid-configuration`, issuer));
  if (document.issuer !== issuer.issuer) throw new Error('its discovery document is of another issuer');
  if (!URL.canParse(document.jwks_uri) || new URL(document.jwks_uri).origin !== new URL(issuer.issuer).origin) {
    throw new Error('its keys are at another origin; if that is right, give jwksUri in the file of --issuers');
  }
  return document.jwks_uri;
}

async function fetchJson(http: Http, address: string, { allowInsecure }: KeyIssuer): Promise<unknown> {
  const problem = insecureProblem(address, allowInsecure);
  if (problem !== undefined) throw new Error(`the address of its keys ${problem}`);
  const signal = AbortSignal.timeout(limits.issuerTimeoutMs);
  const ask = () =>
    http.request({
      method: 'GET',
      url: new URL(address),
      headers: { accept: 'application/json' },
      answerTimeoutMs: limits.issuerTimeoutMs,
      idleTimeoutMs: limits.issuerTimeoutMs,
      signal,
    });
  // A connection that was kept may end in the moment it is used again: that is no word about the issuer.
  const response = await ask().catch((error: unknown) => {
    if (error instanceof HttpFailure && error.reason === 'broken') return ask();
    throw error;
  });
  if (response.status !== 200) {
    response.discard();
    throw new Error(`it answered with status ${response.status}`);
  }
  return JSON.parse((await response.bytes(limits.issuerAnswerSizeBytes)).toString('utf8'));
}

function crowded({ issuer }: KeyIssuer): ChainloopError {
  return new ChainloopError('RATE_LIMITED', `issuer ${issuer}: too many wait for its keys; try again in a moment`);
}

function unreachable({ issuer }: KeyIssuer, why: string, cause?: unknown): ChainloopError {
  return new ChainloopError(
    'CONTROL_PLANE_UNREACHABLE',
    `issuer ${issuer}: its keys are not to be had now (${why.slice(0, 200)}); try again`,
    { cause },
  );
}
