import { randomUUID } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ApiOptions } from '../client/api.ts';
import type { RunCredential, WorkflowChoice } from '../client/exchange.ts';
import { ciTokenSource } from '../core/adapters/ci-token.ts';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import type { Env } from '../core/runner.ts';
import type { Inputs } from './inputs.ts';
import { version } from './release.ts';

/** How a job speaks to the control plane. */
export type Session = {
  /** `run`: a credential for what the CI system proved; `token`: one that somebody keeps as a secret. */
  readonly type: 'run' | 'token';
  /** With a credential that is good for minutes from now. */
  options(): Promise<ApiOptions>;
  /** Of a run credential. */
  readonly credential?: RunCredential | undefined;
};

export type SessionPorts = {
  readonly env: Env;
  /** Keeps a text out of the log of the job. Called before a credential is used for anything. */
  readonly mask: (secret: string) => void;
  /** Keeps the credential for the step at the end of the job. */
  readonly keep: (credential: KeptCredential) => Promise<void>;
  readonly onRetry: ApiOptions['onRetry'];
};
/** All that the end of the job needs to speak once more. */
export type KeptCredential = Pick<ApiOptions, 'url' | 'organization' | 'insecure'> & {
  readonly token: string;
  /** When another one has to be asked for, and how. Null for a token that was given. */
  readonly renewal: { readonly expiresAt: string; readonly audience: string; readonly choice: WorkflowChoice } | null;
};

/** A credential is replaced when it has less than this: time to send a large file's last piece, and to sign. */
const marginMs = 3 * 60_000;

type SessionInputs = Pick<
  Inputs,
  'controlPlane' | 'organization' | 'project' | 'workflow' | 'auth' | 'token' | 'audience' | 'retryTimeoutMs'
>;

/**
 * Exchanges the token of the job, or takes the one that was given. UNAUTHENTICATED with what to write into the workflow when there is neither;
 * NO_BINDING with the claims; CONTROL_PLANE_UNREACHABLE.
 */
export async function openSession(inputs: SessionInputs, ports: SessionPorts): Promise<Session> {
  const { env, mask, keep, onRetry } = ports;
  const { controlPlane: url, organization, retryTimeoutMs } = inputs;
  const base = { url, organization, version, retryBudgetMs: retryTimeoutMs, insecure: env.CHAINLOOP_INSECURE === '1', onRetry };
  const source = inputs.auth === 'token' ? undefined : ciTokenSource(env);
  if (source === undefined) {
    if (inputs.auth === 'oidc' || inputs.token === undefined) throw withoutToken(inputs);
    const { token } = inputs;
    mask(token);
    await keep({ url, organization, insecure: base.insecure, token, renewal: null });
    return { type: 'token', options: async () => ({ ...base, token }) };
  }
  const audience = inputs.audience ?? new URL(url).origin;
  const masked = {
    ...source,
    async token(): Promise<string> {
      const token = await source.token(audience);
      mask(token);
      return token;
    },
  };
  const { exchangeFrom } = await import('../client/exchange.ts');
  const ask = async (choice: WorkflowChoice): Promise<RunCredential> => {
    const made = await exchangeFrom(masked, base, choice);
    mask(made.token);
    await keep({ url, organization: made.organization, insecure: base.insecure, token: made.token, renewal: { expiresAt: made.expiresAt, audience, choice } });
    return made;
  };
  const { project, workflow } = inputs;
  let choice: WorkflowChoice = { project, workflow };
  let credential = await ask(choice).catch(async (error: unknown) => {
    // Several workflows would have this job; unless it says otherwise, it means the one that is called as its own file is.
    const fallback = { project: project ?? repositoryName(env), workflow: workflow ?? workflowFileName(env) };
    if (!isChainloopError(error, 'CONFLICT') || (project !== undefined && workflow !== undefined)) throw error;
    choice = fallback;
    return ask(fallback);
  });
  return {
    type: 'run',
    credential,
    async options() {
      if (Date.parse(credential.expiresAt) - Date.now() < marginMs) credential = await ask(choice);
      return { ...base, token: credential.token, organization: credential.organization };
    },
  };
}

/** The repository's name: what a project is called unless somebody says otherwise. */
export function repositoryName(env: Env): string | undefined {
  return asName(env.GITHUB_REPOSITORY?.split('/').at(-1));
}

/** `release` for .github/workflows/release.yml. */
export function workflowFileName(env: Env): string | undefined {
  const [path = ''] = (env.GITHUB_WORKFLOW_REF ?? '').split('@refs/');
  return asName(
    path
      .split('/')
      .at(-1)
      ?.replace(/\.ya?ml$/, ''),
  );
}

function asName(text: string | undefined): string | undefined {
  const name = text
    ?.toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 63);
  return name === '' ? undefined : name;
}

/** Where a credential waits for the end of the job: outside of the workspace, for this user alone. */
export function credentialPath(env: Env): string {
  const { RUNNER_TEMP } = env;
  if (RUNNER_TEMP === undefined || RUNNER_TEMP === '')
    throw new ChainloopError('USAGE', 'RUNNER_TEMP is not set; this runs in GitHub Actions, in other places use the chainloop command');
  return join(RUNNER_TEMP, 'chainloop', `credential-${randomUUID()}.json`);
}

export async function writeCredential(path: string, credential: KeptCredential): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await rm(path, { force: true });
  await writeFile(path, JSON.stringify(credential), { mode: 0o600, flag: 'wx' });
}

function withoutToken({ auth, controlPlane }: SessionInputs): ChainloopError {
  const tokenless = auth === 'oidc' ? '' : ", or give an API token in 'token'";
  const lines = ['permissions:', '  contents: read', '  id-token: write'];
  return new ChainloopError(
    'UNAUTHENTICATED',
    `this job has no way to say who it is to ${controlPlane}: it lacks the permission 'id-token: write'. Add to the job${tokenless}:\n\n${lines.join('\n')}`,
    { problems: [] },
  );
}
