import { createHash, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { createApi } from '../../client/api.ts';
import type { SessionView } from '../../core/people.ts';
import { listen } from './listen.ts';

type Claims = Readonly<Record<string, unknown>>;
type Asked = { readonly nonce: string; readonly challenge: string; readonly redirectUri: string };

/** An OpenID provider on loopback with real keys, which says of people, and does, what a test wants. */
export type OpenidProvider = {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Who sits in front of the browser: claims of the ID token. */
  person: Claims;
  /** Makes the ID token of an answer. Default: an honest one. */
  answer: (claims: Claims) => string | Promise<string>;
  /** Takes a code, or the code of a device, more than once. */
  isForgetful: boolean;
  /** An honest ID token, with other claims or another header. */
  mint(claims: Claims, header?: { readonly alg?: string; readonly kid?: string }): Promise<string>;
  publicJwk(): JWK;
  /** The person enters the code of the device. */
  approveDevices(): void;
  /** The requests to its token endpoint: who they were of. */
  readonly clients: readonly (string | undefined)[];
  [Symbol.asyncDispose](): Promise<void>;
};

export async function startOpenidProvider(now: () => Date = () => new Date()): Promise<OpenidProvider> {
  const [clientId, clientSecret] = ['chainloop', 'a secret of & + the client'];
  const codes = new Map<string, Asked>();
  const clients: (string | undefined)[] = [];
  const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid: randomUUID(), use: 'sig' };
  let areDevicesApproved = false;

  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const send = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    switch (url.pathname) {
      case '/.well-known/openid-configuration':
        return send(200, {
          issuer,
          authorization_endpoint: `${issuer}/authorize`,
          token_endpoint: `${issuer}/token`,
          device_authorization_endpoint: `${issuer}/device`,
          jwks_uri: `${issuer}/jwks`,
        });
      case '/jwks':
        return send(200, { keys: [jwk] });
      case '/authorize': {
        const code = randomUUID();
        const back = new URL(url.searchParams.get('redirect_uri') ?? '');
        const [nonce, challenge] = ['nonce', 'code_challenge'].map((name) => url.searchParams.get(name) ?? '');
        codes.set(code, { nonce: nonce ?? '', challenge: challenge ?? '', redirectUri: back.href });
        back.searchParams.set('code', code);
        back.searchParams.set('state', url.searchParams.get('state') ?? '');
        return response.writeHead(302, { location: back.href }).end();
      }
      case '/device':
        return send(200, {
          device_code: randomUUID(),
          user_code: 'WDJB-MJHT',
          verification_uri: `${issuer}/activate`,
          expires_in: 600,
          interval: 1,
        });
      case '/token':
        answerToken(request).then(
          ([status, body]) => send(status, body),
          (error) => send(500, { error: String(error) }),
        );
        return;
      default:
        return send(404, {});
    }
  });
  const listening = await listen(server);
  const issuer = listening.origin;
  const used = new Set<string>();

  async function answerToken(request: IncomingMessage): Promise<readonly [number, unknown]> {
    const form = new URLSearchParams((await Array.fromAsync(request)).join(''));
    clients.push(request.headers.authorization);
    const pair = [clientId, clientSecret].map((text) => new URLSearchParams({ x: text }).toString().slice(2)).join(':');
    if (request.headers.authorization !== `Basic ${Buffer.from(pair).toString('base64')}`) return [401, { error: 'invalid_client' }];
    const deviceCode = form.get('device_code');
    if (deviceCode !== null && !areDevicesApproved) return [400, { error: 'authorization_pending' }];
    const code = deviceCode ?? form.get('code') ?? '';
    const asked = codes.get(code);
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url');
    const isHonest = deviceCode !== null || (asked?.challenge === challenge && asked.redirectUri === form.get('redirect_uri'));
    if (!isHonest || (used.has(code) && !provider.isForgetful)) return [400, { error: 'invalid_grant' }];
    used.add(code);
    const nonce = asked === undefined ? {} : { nonce: asked.nonce };
    return [200, { id_token: await provider.answer({ ...provider.person, ...nonce }), token_type: 'Bearer' }];
  }

  const provider: OpenidProvider = {
    issuer,
    clientId,
    clientSecret,
    person: { sub: 'alice-1', name: 'Alice', email: 'alice@example.com', email_verified: true },
    answer: (claims) => provider.mint(claims),
    isForgetful: false,
    mint(claims, header = {}) {
      const at = Math.floor(now().getTime() / 1000);
      return new SignJWT({ iss: issuer, aud: clientId, iat: at, exp: at + 300, ...claims })
        .setProtectedHeader({ alg: 'RS256', kid: jwk.kid, ...header })
        .sign(privateKey);
    },
    publicJwk: () => jwk,
    approveDevices() {
      areDevicesApproved = true;
    },
    clients,
    [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose](),
  };
  return provider;
}

/** What the command line's port would have been sent: the browser's way, without a browser. */
export async function browse(authorizationUrl: string): Promise<URL> {
  const atProvider = await fetch(authorizationUrl, { redirect: 'manual' });
  const atControlPlane = await fetch(atProvider.headers.get('location') ?? '', { redirect: 'manual' });
  return new URL(atControlPlane.headers.get('location') ?? '');
}

/** Logs in as whoever sits in front of the provider, as the command line does it. */
export async function logIn(url: string, invitation?: string): Promise<SessionView> {
  const api = createApi({ url, version: 'test', retryBudgetMs: 0 });
  const { authorizationUrl, handle } = await api.session.begin.mutate({
    port: 40_000,
    state: 'the state of the command line'.replaceAll(' ', '-'),
  });
  const back = await browse(authorizationUrl);
  return api.session.finish.mutate({ handle, code: back.searchParams.get('code') ?? '', ...(invitation !== undefined && { invitation }) });
}

/** Options of a control plane whose people log in there. */
export function loginThrough({ issuer, clientId, clientSecret }: Pick<OpenidProvider, 'issuer' | 'clientId' | 'clientSecret'>) {
  return { options: { oidcIssuer: issuer, oidcClientId: clientId }, environment: { CHAINLOOP_OIDC_CLIENT_SECRET: clientSecret } };
}
