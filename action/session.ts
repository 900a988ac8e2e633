import type { ApiOptions } from '../client/api.ts';
import type { WorkflowChoice } from '../client/exchange.ts';
import { keepCredential } from '../client/run-credential.ts';
import { type CiTokenSource, ciTokenSource } from '../core/adapters/ci-token.ts';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import type { Env } from '../core/runner.ts';
import type { Inputs } from './inputs.ts';
import { version } from './release.ts';

/** How to reach the control plane, with a credential that is good for a minute at least. */
export type Connected = ApiOptions & { readonly token: string };

/** How a job speaks to the control plane. */
export type Session = {
  /** `run`: a credential for what the CI system proved; `token`: one that somebody keeps as a secret. */
  readonly type: 'run' | 'token';
  options(): Promise<Connected>;
  /** Deletes the credential that is kept. */
  forget(): Promise<void>;
  /** How the end of the job opens the same session. Nothing in it is secret. */
  readonly plan: SessionPlan;
};

/** What a session is opened with, besides the environment. */
export type SessionPlan = {
  readonly url: string;
  readonly organization: string | undefined;
  readonly auth: Inputs['auth'];
  readonly audience: string | undefined;
  readonly choice: WorkflowChoice;
  readonly retryBudgetMs: number;
};

export type SessionPorts = {
  readonly env: Env;
  readonly token: string | undefined;
  /** The checkout: credentials are kept outside of it. */
  readonly workspace: string;
  /** Keeps a text out of the log of the job. Called before a credential is used for anything. */
  readonly mask: (secret: string) => void;
  readonly onRetry?: ApiOptions['onRetry'];
};

/**
 * Exchanges the token of the job, or takes the one that was given. UNAUTHENTICATED with what to write into the workflow when there is neither;
 * NO_BINDING with the claims; CONTROL_PLANE_UNREACHABLE.
 */
export async function openSession(plan: SessionPlan, ports: SessionPorts): Promise<Session> {
  const { env, token, mask } = ports;
  const source = plan.auth === 'token' ? undefined : ciTokenSource(env);
  if (source !== undefined) return exchanged(plan, masking(source, plan, mask), ports);
  if (plan.auth === 'oidc' || token === undefined) throw withoutToken(plan);
  mask(token);
  const options = { ...base(plan, ports), token };
  return { type: 'token', plan, options: async () => options, forget: async () => undefined };
}

async function exchanged(plan: SessionPlan, source: CiTokenSource, ports: SessionPorts): Promise<Session> {
  const { env, workspace, mask } = ports;
  const keptFor = (choice: WorkflowChoice) =>
    keepCredential({ env, source, workspace, choice, options: base(plan, ports), now: () => new Date() });
  let { choice } = plan;
  let kept = keptFor(choice);
  const current = async () => {
    const credential = await kept.current();
    mask(credential.token);
    return credential;
  };
  await current().catch(async (error: unknown) => {
    // Several workflows would have this job; unless it says otherwise, it means the one that is called as its own file is.
    const fallback = { project: choice.project ?? repositoryName(env), workflow: choice.workflow ?? workflowFileName(env) };
    const named = choice.project !== undefined && choice.workflow !== undefined;
    if (!isChainloopError(error, 'CONFLICT') || named) throw error;
    choice = fallback;
    kept = keptFor(fallback);
    await current().catch((again: unknown) => {
      throw isChainloopError(again, 'NO_BINDING') ? error : again;
    });
  });
  return {
    type: 'run',
    plan: { ...plan, choice },
    async options() {
      const { token, organization } = await current();
      return { ...base(plan, ports), token, organization };
    },
    forget: () => kept.forget(),
  };
}

function base({ url, organization, retryBudgetMs }: SessionPlan, { env, onRetry }: SessionPorts) {
  return { url, organization, version, retryBudgetMs, insecure: env.CHAINLOOP_INSECURE === '1', onRetry };
}

/** The same source; what it gives is kept out of the log before anybody has it. */
function masking(source: CiTokenSource, { url, audience }: SessionPlan, mask: (secret: string) => void): CiTokenSource {
  return {
    ...source,
    async token() {
      const token = await source.token(audience ?? new URL(url).origin);
      mask(token);
      return token;
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

function withoutToken({ auth, url }: SessionPlan): ChainloopError {
  const tokenless = auth === 'oidc' ? '' : ", or give it an API token in the input 'token'";
  const lines = ['permissions:', '  contents: read', '  id-token: write'];
  return new ChainloopError(
    'UNAUTHENTICATED',
    `this job cannot say who it is to ${url}: it lacks the permission 'id-token: write'. Add to the job${tokenless}:\n\n${lines.join('\n')}`,
  );
}
