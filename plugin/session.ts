import type { ApiOptions } from '../client/api.ts';
import type { WorkflowChoice } from '../client/exchange.ts';
import { keepCredential } from '../client/run-credential.ts';
import { type CiTokenSource, ciTokenSource } from '../core/adapters/ci-token.ts';
import { isChainloopError } from '../core/errors.ts';
import type { Inputs } from './inputs.ts';
import type { Platform } from './platform.ts';

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
  readonly platform: Platform;
  readonly token: string | undefined;
};

/**
 * Exchanges the token of the job, or takes the one that was given. UNAUTHENTICATED with what to write into the workflow when there is neither;
 * NO_BINDING with the claims; CONTROL_PLANE_UNREACHABLE.
 */
export async function openSession(plan: SessionPlan, ports: SessionPorts): Promise<Session> {
  const { platform, token } = ports;
  const source = plan.auth === 'token' ? undefined : ciTokenSource(platform.env);
  if (source !== undefined) return exchanged(plan, masking(source, plan, platform), platform);
  if (plan.auth === 'oidc' || token === undefined) throw platform.withoutToken(plan);
  platform.mask(token);
  const options = { ...base(plan, platform), token };
  return { type: 'token', plan, options: async () => options, forget: async () => undefined };
}

async function exchanged(plan: SessionPlan, source: CiTokenSource, platform: Platform): Promise<Session> {
  const { env, directory } = platform;
  const keptFor = (choice: WorkflowChoice) =>
    keepCredential({ env, source, workspace: directory, choice, options: base(plan, platform), now: () => new Date() });
  let { choice } = plan;
  let kept = keptFor(choice);
  const current = async () => {
    const credential = await kept.current();
    platform.mask(credential.token);
    return credential;
  };
  await current().catch(async (error: unknown) => {
    // Several workflows would have this job; unless it says otherwise, it means the one that is called as its own file is.
    const fallback = { project: choice.project ?? platform.project, workflow: choice.workflow ?? platform.workflow };
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
      return { ...base(plan, platform), token, organization };
    },
    forget: () => kept.forget(),
  };
}

function base({ url, organization, retryBudgetMs }: SessionPlan, { env, version, say }: Platform) {
  const onRetry: ApiOptions['onRetry'] = ({ attempt, elapsedMs, budgetMs, cause }) =>
    say(
      `${cause === 'RATE_LIMITED' ? 'too many requests: ' : ''}retrying (attempt ${attempt + 1}, ${Math.round(elapsedMs / 1000)} s of ${Math.round(budgetMs / 1000)} s)`,
    );
  return { url, organization, version, retryBudgetMs, insecure: env.CHAINLOOP_INSECURE === '1', onRetry };
}

/** The same source; what it gives is kept out of the log before anybody has it. */
function masking(source: CiTokenSource, { url, audience }: SessionPlan, { mask }: Platform): CiTokenSource {
  return {
    ...source,
    async token() {
      const token = await source.token(audience ?? new URL(url).origin);
      mask(token);
      return token;
    },
  };
}
