import * as z from 'zod';
import type { Http } from '../../core/adapters/http.ts';
import { ChainloopError } from '../../core/errors.ts';
import { jsonValue } from '../../core/json-value.ts';
import { limits } from '../../core/limits.ts';
import { printable } from '../../core/source/place.ts';
import { insecureProblem } from '../federation/issuers.ts';
import { createKeySource, type KeySource } from '../federation/keys.ts';
import type { ProviderConfig } from './config.ts';

/** What a provider gives for a code: who that is, and what its userinfo endpoint takes. */
export type Grant = { readonly idToken: string; readonly accessToken: string | undefined };

/** All throw CONTROL_PLANE_UNREACHABLE when the provider does not answer, or not as OpenID Connect says. */
export type Provider = {
  /** Where a browser is sent to (OpenID Connect Core 1.0, section 3.1.2.1; RFC 7636). */
  authorizationUrl(request: { redirectUri: string; state: string; nonce: string; challenge: string }): Promise<string>;
  /** UNAUTHENTICATED: the provider does not take the code. */
  redeem(request: { code: string; redirectUri: string; verifier: string }): Promise<Grant>;
  /** RFC 8628, section 3.2. LOGIN_UNSUPPORTED: the provider has no such flow. */
  beginDevice(): Promise<z.infer<typeof DeviceAnswer>>;
  /** RFC 8628, section 3.5. UNAUTHENTICATED: it was refused, or took too long. */
  pollDevice(deviceCode: string): Promise<Grant | 'pending' | 'slow-down'>;
  /** What the provider says of whoever the token is of, or undefined: it has no such endpoint. */
  userinfo(accessToken: string): Promise<unknown>;
  /** The key that signs its tokens, or undefined. */
  key(kid: string): ReturnType<KeySource>;
};

/** OpenID Connect Discovery 1.0, section 3; RFC 8628, section 4. */
const Metadata = z.object({
  issuer: z.string(),
  authorization_endpoint: z.string().max(2048),
  token_endpoint: z.string().max(2048),
  jwks_uri: z.string().max(2048),
  userinfo_endpoint: z.string().max(2048).optional(),
  device_authorization_endpoint: z.string().max(2048).optional(),
  token_endpoint_auth_methods_supported: z.array(z.string()).default(['client_secret_basic']),
});
type Metadata = z.infer<typeof Metadata>;

const TokenAnswer = z.object({ id_token: z.string(), access_token: z.string().max(limits.subjectTokenSizeBytes).optional() });
const Refusal = z.object({ error: z.string(), error_description: z.string().optional() });
const DeviceAnswer = z.object({
  device_code: z.string().min(1).max(2048),
  user_code: z.string().min(1).max(64),
  verification_uri: z.url({ protocol: /^https?$/ }).max(2048),
  verification_uri_complete: z
    .url({ protocol: /^https?$/ })
    .max(2048)
    .optional(),
  expires_in: z.number().positive().max(3600),
  interval: z.number().positive().max(60).default(5),
});

/** A client of the provider, which asks it nothing before it is needed. The client's secret goes to its token and device endpoints, and nowhere else. */
export function createProvider(deps: { readonly config: ProviderConfig; readonly http: Http; readonly now: () => Date }): Provider {
  const { config, http, now } = deps;
  const { issuer, clientId, clientSecret } = config;
  // The configuration lets only a provider on this machine be asked in clear.
  const allowInsecure = issuer.startsWith('http:');
  const scope = ['openid', ...config.scopes].join(' ');
  const keys = createKeySource({ http, now });
  let known: { readonly metadata: Promise<Metadata>; readonly at: number } | undefined;

  function metadata(): Promise<Metadata> {
    const at = now().getTime();
    if (known === undefined || Math.abs(at - known.at) > limits.issuerKeysLifetimeMs) {
      const asked = discover();
      known = { metadata: asked, at };
      asked.catch(() => {
        known = undefined;
      });
    }
    return known.metadata;
  }

  /** OpenID Connect Discovery 1.0, section 4.3: the document must be of this very issuer. What it names may be elsewhere: it is read over TLS. */
  async function discover(): Promise<Metadata> {
    const { status, body } = await exchange('GET', `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, {});
    const read = Metadata.safeParse(body);
    if (status !== 200 || !read.success) throw unusable(`its discovery document is missing or malformed (status ${status})`);
    if (read.data.issuer !== issuer) throw unusable(`its discovery document is of another issuer, '${printable(read.data.issuer, 120)}'`);
    return read.data;
  }

  async function exchange(method: string, address: string, headers: Readonly<Record<string, string>>, form?: URLSearchParams) {
    const problem = insecureProblem(address, allowInsecure);
    if (problem !== undefined) throw unusable(`an address of its discovery document ${problem}`);
    try {
      const response = await http.request({
        method,
        url: new URL(address),
        headers: { accept: 'application/json', ...(form && { 'content-type': 'application/x-www-form-urlencoded' }), ...headers },
        body: form && Buffer.from(form.toString()),
        answerTimeoutMs: limits.issuerTimeoutMs,
        idleTimeoutMs: limits.issuerTimeoutMs,
        signal: AbortSignal.timeout(limits.issuerTimeoutMs),
      });
      const text = (await response.bytes(limits.issuerAnswerSizeBytes)).toString('utf8');
      return { status: response.status, body: jsonValue(text) };
    } catch (cause) {
      throw unusable(cause instanceof Error ? cause.message.slice(0, 200) : 'unknown', cause);
    }
  }

  /** A request as the registered client: RFC 6749, section 2.3.1. */
  async function asClient(
    address: string,
    fields: Readonly<Record<string, string>>,
    { token_endpoint_auth_methods_supported: methods }: Metadata,
  ) {
    const form = new URLSearchParams({ ...fields, client_id: clientId });
    if (clientSecret === undefined) return exchange('POST', address, {}, form);
    if (methods.includes('client_secret_basic')) {
      const pair = [clientId, clientSecret].map((text) => new URLSearchParams({ x: text }).toString().slice(2)).join(':');
      return exchange('POST', address, { authorization: `Basic ${Buffer.from(pair).toString('base64')}` }, form);
    }
    form.set('client_secret', clientSecret);
    return exchange('POST', address, {}, form);
  }

  function grantOf(body: unknown): Grant {
    const read = TokenAnswer.safeParse(body);
    if (!read.success) throw unusable('its answer has no ID token; is openid among the scopes that the client may ask for?');
    return { idToken: read.data.id_token, accessToken: read.data.access_token };
  }

  function refused(body: unknown): ChainloopError {
    const { error, error_description: why } = Refusal.safeParse(body).data ?? { error: 'without a reason' };
    const said = printable([error, why].filter((part) => part !== undefined).join(': '), 200);
    const advice =
      error === 'invalid_client' || error === 'unauthorized_client'
        ? 'an administrator of this control plane must check --oidc-client-id and CHAINLOOP_OIDC_CLIENT_SECRET'
        : 'begin again with: chainloop auth login';
    return new ChainloopError('UNAUTHENTICATED', `login: ${issuer} refused it (${said}); ${advice}`);
  }

  function unusable(why: string, cause?: unknown): ChainloopError {
    return new ChainloopError('CONTROL_PLANE_UNREACHABLE', `login: ${issuer} cannot be used now: ${why}`, { cause });
  }

  return {
    async authorizationUrl({ redirectUri, state, nonce, challenge }) {
      const url = new URL((await metadata()).authorization_endpoint);
      const problem = insecureProblem(url.href, allowInsecure);
      if (problem !== undefined) throw unusable(`its authorization endpoint ${problem}`);
      const pkce = { code_challenge: challenge, code_challenge_method: 'S256' };
      const parameters = { response_type: 'code', client_id: clientId, redirect_uri: redirectUri, scope, state, nonce, ...pkce };
      for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
      return url.href;
    },
    async redeem({ code, redirectUri, verifier }) {
      const provider = await metadata();
      const fields = { grant_type: 'authorization_code', code, redirect_uri: redirectUri, code_verifier: verifier };
      const { status, body } = await asClient(provider.token_endpoint, fields, provider);
      if (status !== 200) throw refused(body);
      return grantOf(body);
    },
    async beginDevice() {
      const provider = await metadata();
      if (provider.device_authorization_endpoint === undefined) {
        throw new ChainloopError(
          'LOGIN_UNSUPPORTED',
          `login: ${issuer} has no device flow; use chainloop auth login where there is a browser`,
        );
      }
      const { status, body } = await asClient(provider.device_authorization_endpoint, { scope }, provider);
      if (status !== 200) throw refused(body);
      const read = DeviceAnswer.safeParse(body);
      if (!read.success) throw unusable('its answer to the device flow is malformed');
      return read.data;
    },
    async pollDevice(deviceCode) {
      const provider = await metadata();
      const fields = { grant_type: 'urn:ietf:params:oauth:grant-type:device_code', device_code: deviceCode };
      const { status, body } = await asClient(provider.token_endpoint, fields, provider);
      if (status === 200) return grantOf(body);
      const { error } = Refusal.safeParse(body).data ?? {};
      if (error === 'authorization_pending') return 'pending';
      if (error === 'slow_down') return 'slow-down';
      throw refused(body);
    },
    async userinfo(accessToken) {
      const { userinfo_endpoint: address } = await metadata();
      if (address === undefined) return undefined;
      const { status, body } = await exchange('GET', address, { authorization: `Bearer ${accessToken}` });
      return status === 200 ? body : undefined;
    },
    async key(kid) {
      return keys({ issuer, jwksUri: (await metadata()).jwks_uri, allowInsecure }, kid);
    },
  };
}
