import { createHash, randomBytes } from 'node:crypto';
import * as z from 'zod';
import type { Http } from '../../core/adapters/http.ts';
import { digestOf } from '../../core/digest.ts';
import { ChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import type { DeviceView, LoginBegun, SessionView } from '../../core/people.ts';
import type { Database } from '../../db/client.ts';
import { createSession } from '../../db/sessions.ts';
import { createRateLimit } from '../rate-limit.ts';
import type { Secrets } from '../secrets.ts';
import { makeToken } from '../tokens.ts';
import { admit, asPerson } from './admission.ts';
import type { LoginConfig } from './config.ts';
import { completed, verifyIdToken } from './id-token.ts';
import { createProvider, type Grant } from './provider.ts';

/**
 * Logins of people. What a login has to remember is sealed under the master key and held by the one who asked, so that any server can end
 * what another began, and nothing is stored of whoever does not come back. All throw RATE_LIMITED, CONTROL_PLANE_UNREACHABLE.
 */
export type Login = {
  /** A session that is not used for so long has ended; undefined: it lasts as long as it lasts. */
  readonly sessionIdleMs: number | undefined;
  /** Where to send a browser. It comes back to `http://127.0.0.1:<port>/callback` with a code and this `state`. */
  begin(request: { port: number; state: string }): Promise<LoginBegun>;
  /** A session for the code. UNAUTHENTICATED, FORBIDDEN for who was not invited, NOT_FOUND for an invitation that there is not. */
  finish(request: { handle: string; code: string; invitation?: string | undefined }): Promise<SessionView>;
  /** Where to go with another device, and what to type there. LOGIN_UNSUPPORTED. */
  device(): Promise<DeviceView>;
  /** As `finish`, once that was done. */
  poll(request: { handle: string; invitation?: string | undefined }): Promise<SessionView | { readonly state: 'pending' | 'slow-down' }>;
  /** Where a browser goes on to that the provider has sent back: to the port that this login began with. Undefined: no login of ours. */
  relay(query: URLSearchParams): string | undefined;
};

const Ends = z.number();
/** What is sealed. Each under a context of its own: one does not pass for another. */
const State = z.tuple([z.int(), z.string(), Ends]);
const CodeHandle = z.tuple([z.string(), z.string(), Ends]);
const DeviceHandle = z.tuple([z.string(), z.literal(''), Ends]);

/** Path of `redirect_uri`: the one that an administrator registers at the provider. */
export const callbackPath = '/login/callback';

export function createLogin(deps: {
  readonly config: LoginConfig;
  readonly database: Database;
  readonly secrets: Secrets;
  readonly http: Http;
  readonly now: () => Date;
  readonly origin: () => string;
}): Login {
  const { config, database, secrets, now, origin } = deps;
  const provider = createProvider(deps);
  const limitLogins = createRateLimit(limits.loginsPerSecond);
  const limitPolls = createRateLimit(limits.loginPollsPerSecond);
  const redirectUri = (): string => origin() + callbackPath;

  function seal(context: 'state' | 'code' | 'device', content: readonly [string | number, string], endsAt: Date): string {
    return Buffer.from(secrets.seal(JSON.stringify([...content, endsAt.getTime()]), `login-${context}`)).toString('base64url');
  }

  /** Undefined: not sealed here, for something else, or too old. */
  function open<T extends [unknown, unknown, number]>(context: 'state' | 'code' | 'device', Content: z.ZodType<T>, sealed: string) {
    try {
      const content = Content.parse(JSON.parse(secrets.open(Buffer.from(sealed, 'base64url').toString(), `login-${context}`)));
      return content[2] > now().getTime() ? content : undefined;
    } catch {
      return undefined;
    }
  }

  /** Of a grant that the provider has just given: who that is, whether that person may come in, and a session. */
  async function enter(
    grant: Grant,
    request: { nonce: string | undefined; use: string; invitation: string | undefined },
  ): Promise<SessionView> {
    const at = now();
    const said = await verifyIdToken(grant.idToken, { config, key: provider.key, nonce: request.nonce, now: at });
    const missesEmail = said.email === undefined && grant.accessToken !== undefined;
    const identity = missesEmail ? completed(said, await provider.userinfo(grant.accessToken)) : said;
    const { user, memberships } = await admit(database, identity, request.invitation, at);
    const { token, hash } = makeToken('session');
    const expiresAt = new Date(at.getTime() + config.sessionMs);
    const usedUntil = new Date(at.getTime() + limits.loginMs);
    const kept = await createSession(
      database.systemAs(asPerson(user)),
      { userId: user.id, hash, expiresAt, use: digestOf(`login ${request.use}`), usedUntil },
      at,
    );
    if (kept === 'used') throw begunElsewhere();
    const { name, email } = user;
    return { state: 'done', token, expiresAt: expiresAt.toISOString(), name, email, organizations: memberships };
  }

  return {
    sessionIdleMs: config.sessionIdleMs,
    async begin({ port, state }) {
      limitLogins('', 'login', 1);
      const endsAt = new Date(now().getTime() + limits.loginMs);
      const [nonce, verifier] = [randomBytes(32).toString('base64url'), randomBytes(32).toString('base64url')];
      const challenge = createHash('sha256').update(verifier).digest('base64url');
      const sealed = seal('state', [port, state], endsAt);
      const authorizationUrl = await provider.authorizationUrl({ redirectUri: redirectUri(), state: sealed, nonce, challenge });
      return { authorizationUrl, handle: seal('code', [nonce, verifier], endsAt), expiresAt: endsAt.toISOString() };
    },
    async finish({ handle, code, invitation }) {
      limitLogins('', 'login', 1);
      const [nonce, verifier] = open('code', CodeHandle, handle) ?? [];
      if (nonce === undefined || verifier === undefined) throw begunElsewhere();
      const grant = await provider.redeem({ code, redirectUri: redirectUri(), verifier });
      return enter(grant, { nonce, use: verifier, invitation });
    },
    async device() {
      limitLogins('', 'login', 1);
      const begun = await provider.beginDevice();
      const endsAt = new Date(now().getTime() + Math.min(begun.expires_in * 1000, limits.loginMs));
      return {
        handle: seal('device', [begun.device_code, ''], endsAt),
        userCode: begun.user_code,
        verificationUri: begun.verification_uri,
        verificationUriComplete: begun.verification_uri_complete ?? null,
        intervalSeconds: begun.interval,
        expiresAt: endsAt.toISOString(),
      };
    },
    async poll({ handle, invitation }) {
      limitPolls('', 'login', 1);
      const [deviceCode] = open('device', DeviceHandle, handle) ?? [];
      if (deviceCode === undefined) throw begunElsewhere();
      const answer = await provider.pollDevice(deviceCode);
      return typeof answer === 'string' ? { state: answer } : enter(answer, { nonce: undefined, use: deviceCode, invitation });
    },
    relay(query) {
      const [port, state] = open('state', State, query.get('state') ?? '') ?? [];
      if (port === undefined || state === undefined) return undefined;
      const url = new URL(`http://127.0.0.1:${port}/callback`);
      url.searchParams.set('state', state);
      for (const name of ['code', 'error', 'error_description']) {
        const value = query.get(name);
        if (value !== null && value.length <= limits.loginParameterLength) url.searchParams.set(name, value);
      }
      return url.href;
    },
  };
}

function begunElsewhere(): ChainloopError {
  return new ChainloopError(
    'UNAUTHENTICATED',
    'login: it was not begun here, was ended already, or took longer than 10 minutes; begin again with: chainloop auth login',
  );
}
