import * as z from 'zod';
import { jsonValue } from '../../json-value.ts';
import { limits } from '../../limits.ts';
import type { Http, HttpResponse } from '../http.ts';
import { redactUrl } from '../http-failure.ts';
import { parseChallenges } from './challenge.ts';
import { answerError, failureError, RegistryError, type Subject } from './errors.ts';
import { tokenHostOf } from './registries.ts';

/**
 * What a registry is shown. `bearer` is sent as it is (a function is asked before each request: an upload may outlast a token); `basic` goes to a registry that asks for it, or buys a token at the registry's
 * token server; `identity` is the refresh token of an OAuth2 login (Docker configuration, `identitytoken`).
 */
export type Credentials =
  | { readonly type: 'anonymous' }
  | { readonly type: 'basic'; readonly username: string; readonly password: string }
  | { readonly type: 'bearer'; readonly token: string | (() => Promise<string>) }
  | { readonly type: 'identity'; readonly token: string };

export type Access = 'pull' | 'push' | 'delete';

export type Authorizer = {
  /** The Authorization header for a request, or undefined. May ask the registry and its token server. */
  header(access: Access): Promise<string | undefined>;
  /** Learns from a 401. True: there is another header than `sent` now, so one more try makes sense. */
  renew(refusal: HttpResponse, access: Access, sent: string | undefined): Promise<boolean>;
};

/** Further token servers that the user or the operator allows: `CHAINLOOP_REGISTRY_TOKEN_HOSTS=auth.example.com,login.example.org`. */
export function tokenHostsOf(env: Readonly<Record<string, string | undefined>>): readonly string[] {
  const names = (env.CHAINLOOP_REGISTRY_TOKEN_HOSTS ?? '').split(',');
  return names.map((name) => name.trim()).filter((name) => name !== '');
}

const TokenAnswer = z.object({
  token: z.string().min(1).optional(),
  access_token: z.string().min(1).optional(),
  expires_in: z.number().positive().optional(),
});

type Bearer = { readonly type: 'bearer'; readonly realm: URL; readonly service: string };
type Scheme = { readonly type: 'none' } | { readonly type: 'basic' } | Bearer;
type Token = { readonly header: string; readonly expiresAtMs: number };

/** Authentication to one repository (distribution project, "Token Authentication Specification"; RFC 7617 for Basic). */
export function createAuthorizer(options: {
  readonly http: Http;
  /** For a token server on another host. */
  readonly foreignHttp: Http;
  readonly origin: URL;
  readonly repository: string;
  readonly credentials: Credentials;
  /** Hosts (with port, if not the default one) that this registry may name as its token server. */
  readonly tokenHosts: readonly string[];
  readonly subject: Subject;
}): Authorizer {
  const { http, origin, repository, credentials, subject } = options;
  let learned: Promise<Scheme> | undefined;
  const tokens = new Map<string, Promise<Token>>();

  const scopeOf = (access: Access) => `repository:${repository}:${{ pull: 'pull', push: 'pull,push', delete: 'delete' }[access]}`;

  /** Asks `/v2/` how to log in: some registries answer anonymous requests with 404 instead of a challenge. */
  async function ask(): Promise<Scheme> {
    try {
      const answer = await http.request({ method: 'GET', url: new URL('/v2/', origin) });
      answer.discard();
      return answer.status === 401 ? schemeOf(answer) : { type: 'none' };
    } catch (error) {
      learned = undefined;
      throw failureError(error, subject);
    }
  }

  function schemeOf(refusal: HttpResponse): Scheme {
    const challenges = parseChallenges(refusal.header('www-authenticate') ?? '');
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    const realm = bearer?.parameters.get('realm');
    if (realm !== undefined) return { type: 'bearer', realm: trustedRealm(realm), service: bearer?.parameters.get('service') ?? '' };
    return challenges.some(({ scheme }) => scheme === 'basic') ? { type: 'basic' } : { type: 'none' };
  }

  /** The registry says where tokens are sold; it must not be able to send our credentials, or us, anywhere it likes. */
  function trustedRealm(text: string): URL {
    const realm = URL.parse(text, origin.href);
    const allowed = [tokenHostOf(origin.host), ...options.tokenHosts];
    const safe =
      realm !== null && realm.username === '' && realm.password === '' && (realm.protocol === 'https:' || origin.protocol === 'http:');
    if (safe && (realm.origin === origin.origin || allowed.includes(realm.host))) return realm;
    const host = realm === null ? 'an address that is no URL' : redactUrl(realm);
    throw new RegistryError(
      'REGISTRY_UNAUTHORIZED',
      `${subject.name}: it names ${host} as its token server, which is not known to belong to it; nothing was sent there. If it does, allow it with CHAINLOOP_REGISTRY_TOKEN_HOSTS`,
    );
  }

  function basicHeader(): string | undefined {
    if (credentials.type !== 'basic') return undefined;
    return `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
  }

  /**
   * The token of a scope. `stale` says which one will not do; whoever notices first buys the next one, and all others wait for it, so
   * that there is never more than one new token for one that was refused.
   */
  async function token(scheme: Bearer, scope: string, stale: (token: Token) => boolean): Promise<Token> {
    const current = tokens.get(scope);
    const held = await current?.catch(() => undefined);
    if (held !== undefined && !stale(held)) return held;
    const newest = tokens.get(scope);
    if (newest !== undefined && newest !== current) return newest;
    const bought = buyToken(scheme, scope);
    tokens.set(scope, bought);
    // A failure is for those who wait for it, and is not remembered.
    bought.catch(() => {
      if (tokens.get(scope) === bought) tokens.delete(scope);
    });
    return bought;
  }

  async function buyToken({ realm, service }: Bearer, scope: string): Promise<Token> {
    const form = new URLSearchParams({ ...(service === '' ? {} : { service }), scope });
    const url = new URL(realm);
    const headers: Record<string, string> = {};
    let body: Buffer | undefined;
    if (credentials.type === 'identity') {
      form.set('grant_type', 'refresh_token');
      form.set('client_id', 'chainloop');
      form.set('refresh_token', credentials.token);
      headers['content-type'] = 'application/x-www-form-urlencoded';
      body = Buffer.from(form.toString());
    } else {
      for (const [name, value] of form) url.searchParams.set(name, value);
      const basic = basicHeader();
      if (basic !== undefined) headers.authorization = basic;
    }
    const startedMs = performance.now();
    const about = { ...subject, what: 'log in' };
    const seller = url.host === origin.host ? http : options.foreignHttp;
    const answer = await seller.request({ method: body === undefined ? 'GET' : 'POST', url, headers, body }).catch((error: unknown) => {
      throw failureError(error, about);
    });
    if (answer.status !== 200) throw await answerError(answer, about);
    const parsed = TokenAnswer.safeParse(jsonValue(await answer.bytes(limits.errorBodySizeBytes)));
    const bought = parsed.data?.token ?? parsed.data?.access_token;
    if (bought === undefined) throw new RegistryError('REGISTRY_ERROR', `${subject.name}: its token server gave no token`);
    // "If not specified, this will default to 60 seconds"; a fifth of it is kept as a margin, because the token travels.
    const lifetimeMs = (parsed.data?.expires_in ?? 60) * 1000;
    return { header: `Bearer ${bought}`, expiresAtMs: startedMs + Math.max(lifetimeMs * 0.8, lifetimeMs - 30_000) };
  }

  async function header(access: Access): Promise<string | undefined> {
    if (credentials.type === 'bearer')
      return `Bearer ${typeof credentials.token === 'string' ? credentials.token : await credentials.token()}`;
    if (learned === undefined && credentials.type !== 'anonymous') learned = ask();
    const scheme = await learned;
    switch (scheme?.type) {
      case undefined:
      case 'none':
        return undefined;
      case 'basic':
        return basicHeader();
      case 'bearer':
        return (await token(scheme, scopeOf(access), ({ expiresAtMs }) => expiresAtMs <= performance.now())).header;
    }
  }

  return {
    header,
    async renew(refusal, access, sent) {
      if (credentials.type === 'bearer') return false;
      const scheme = schemeOf(refusal);
      learned = Promise.resolve(scheme);
      if (scheme.type === 'bearer') await token(scheme, scopeOf(access), (held) => held.header === sent);
      const next = await header(access);
      return next !== undefined && next !== sent;
    },
  };
}
