import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import { exportJWK, generateKeyPair, type JWK, type JWTHeaderParameters, SignJWT } from 'jose';
import { listen } from './listen.ts';

type Claims = Readonly<Record<string, unknown>>;

export type MintOptions = {
  /** Default: the one of `startIssuer`. */
  readonly audience?: string | readonly string[];
  /** Added to the claims, or instead of them; undefined leaves one out. */
  readonly claims?: Claims;
  readonly header?: Partial<JWTHeaderParameters>;
  /** From now; negative: long ago. GitHub's tokens live for 300 s. */
  readonly issuedInS?: number;
  readonly lifetimeS?: number;
};

/** A CI system's token issuer on loopback, with real keys: GitHub's and GitLab's claims, and GitHub's endpoint for jobs. */
export type Issuer = {
  readonly issuer: string;
  /** As a job of GitHub has them: ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN. */
  readonly githubEnv: Readonly<Record<string, string>>;
  /** The same for one of several jobs that run at once; its claims beside those of `githubJob`. */
  jobEnv(claims?: Claims): Readonly<Record<string, string>>;
  github(options?: MintOptions): Promise<string>;
  gitlab(options?: MintOptions): Promise<string>;
  /** What the endpoint for jobs mints from now on. */
  setJob(claims: Claims): void;
  /** Takes a new key; the old one stays in the key set, unless it is withdrawn. */
  rotate(options?: { readonly withdraw?: boolean }): Promise<void>;
  /** The public key that signs now. */
  publicJwk(): JWK;
  /** Answers so many requests for the key set or the discovery document with this status. */
  failNext(times: number, status?: number): void;
  /** Replaces the discovery document. */
  setDiscovery(document: unknown): void;
  /** The paths that were asked for, in order. */
  readonly requests: readonly string[];
  /** Every token that it gave out. */
  readonly minted: readonly string[];
  [Symbol.asyncDispose](): Promise<void>;
};

/** What GitHub says of a push to main of acme/app. */
export const githubJob = {
  repository: 'acme/app',
  repository_id: '456789',
  repository_owner: 'acme',
  repository_owner_id: '123456',
  repository_visibility: 'private',
  ref: 'refs/heads/main',
  ref_type: 'branch',
  ref_protected: 'true',
  base_ref: '',
  head_ref: '',
  sha: '9a96775da456e595f242bb9b5826cf46d8dd5d81',
  actor: 'alice',
  actor_id: '77',
  event_name: 'push',
  workflow: 'release',
  workflow_ref: 'acme/app/.github/workflows/release.yml@refs/heads/main',
  workflow_sha: '9a96775da456e595f242bb9b5826cf46d8dd5d81',
  job_workflow_ref: 'acme/app/.github/workflows/release.yml@refs/heads/main',
  job_workflow_sha: '9a96775da456e595f242bb9b5826cf46d8dd5d81',
  runner_environment: 'github-hosted',
  run_id: '1536140711',
  run_number: '42',
  run_attempt: '1',
  check_run_id: '88001',
  sub: 'repo:acme@123456/app@456789:ref:refs/heads/main',
} as const;

/** What GitLab says of a push to main of acme/app. */
export const gitlabJob = {
  project_id: '456789',
  project_path: 'acme/app',
  namespace_id: '123456',
  namespace_path: 'acme',
  job_project_id: '456789',
  job_project_path: 'acme/app',
  job_namespace_id: '123456',
  job_namespace_path: 'acme',
  user_id: '77',
  user_login: 'alice',
  user_email: 'alice@example.com',
  user_access_level: 'maintainer',
  pipeline_id: '991',
  pipeline_source: 'push',
  job_id: '5501',
  ref: 'main',
  ref_type: 'branch',
  ref_path: 'refs/heads/main',
  ref_protected: 'true',
  runner_id: 12,
  runner_environment: 'gitlab-hosted',
  sha: '9a96775da456e595f242bb9b5826cf46d8dd5d81',
  project_visibility: 'private',
  ci_config_ref_uri: 'gitlab.com/acme/app//.gitlab-ci.yml@refs/heads/main',
  ci_config_sha: '9a96775da456e595f242bb9b5826cf46d8dd5d81',
  sub: 'project_path:acme/app:ref_type:branch:ref:main',
} as const;

/** Starts one. `audience` is what tokens are for unless said otherwise. */
export async function startIssuer(options: { readonly audience?: string; readonly now?: () => Date } = {}): Promise<Issuer> {
  const { audience = 'nobody', now = () => new Date() } = options;
  const requestToken = `request-${randomUUID()}`;
  const requests: string[] = [];
  const minted: string[] = [];
  let keys = [await newKey()];
  let failing = { times: 0, status: 503 };
  let discovery: unknown;
  let job: Claims = githubJob;
  const jobs = new Map<string, Claims>();

  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    requests.push(url.pathname);
    const send = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    if (url.pathname === '/token') {
      const asking = mayAsk(request) ? job : jobs.get(request.headers.authorization ?? '');
      if (asking === undefined) return send(401, { message: 'unauthorized' });
      const asked = url.searchParams.get('audience') ?? 'https://github.com/acme';
      mint(asking, { audience: asked }).then(
        (value) => send(200, { value }),
        () => send(500, {}),
      );
      return;
    }
    if (failing.times > 0) {
      failing = { ...failing, times: failing.times - 1 };
      return send(failing.status, { message: 'out of order' });
    }
    if (url.pathname === '/.well-known/openid-configuration') {
      return send(200, discovery ?? { issuer, jwks_uri: `${issuer}/jwks`, id_token_signing_alg_values_supported: ['RS256'] });
    }
    if (url.pathname === '/jwks') return send(200, { keys: keys.map(({ jwk }) => jwk) });
    send(404, {});
  });
  const listening = await listen(server);
  const issuer = listening.origin;
  const mayAsk = (request: IncomingMessage): boolean => request.headers.authorization === `Bearer ${requestToken}`;

  async function mint(claims: Claims, mintOptions: MintOptions = {}): Promise<string> {
    const { issuedInS = 0, lifetimeS = 300, header } = mintOptions;
    const key = keys.at(-1);
    if (key === undefined) throw new Error('the issuer has no key');
    const at = Math.floor(now().getTime() / 1000) + issuedInS;
    const aud = mintOptions.audience ?? audience;
    const registered = {
      iss: issuer,
      aud: typeof aud === 'string' ? aud : [...aud],
      iat: at,
      nbf: at,
      exp: at + lifetimeS,
      jti: randomUUID(),
    };
    const token = await new SignJWT({ ...claims, ...registered, ...mintOptions.claims })
      .setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid: key.jwk.kid ?? '', ...header })
      .sign(key.privateKey);
    minted.push(token);
    return token;
  }

  return {
    issuer,
    githubEnv: {
      ACTIONS_ID_TOKEN_REQUEST_URL: `${issuer}/token?api-version=2.0`,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: requestToken,
    },
    jobEnv(claims = {}) {
      const ownToken = `request-${randomUUID()}`;
      jobs.set(`Bearer ${ownToken}`, { ...githubJob, ...claims });
      return { ACTIONS_ID_TOKEN_REQUEST_URL: `${issuer}/token?api-version=2.0`, ACTIONS_ID_TOKEN_REQUEST_TOKEN: ownToken };
    },
    github: (mintOptions) => mint(githubJob, mintOptions),
    gitlab: (mintOptions) => mint(gitlabJob, mintOptions),
    setJob(claims) {
      job = claims;
    },
    async rotate({ withdraw = false } = {}) {
      const made = await newKey();
      keys = withdraw ? [made] : [...keys, made];
    },
    publicJwk() {
      const key = keys.at(-1);
      if (key === undefined) throw new Error('the issuer has no key');
      return key.jwk;
    },
    failNext(times, status = 503) {
      failing = { times, status };
    },
    setDiscovery(document) {
      discovery = document;
    },
    requests,
    minted,
    [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose](),
  };
}

async function newKey() {
  const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true });
  return { privateKey, jwk: { ...(await exportJWK(publicKey)), kid: randomUUID(), use: 'sig', alg: 'RS256' } satisfies JWK };
}
