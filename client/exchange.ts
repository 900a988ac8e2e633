import type { CiTokenSource } from '../core/adapters/ci-token.ts';
import { defaultRetryPolicy, retry } from '../core/adapters/retry.ts';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import type { ExchangeAnswer } from '../core/wire.ts';
import { type ApiOptions, createApi, defaultRetryBudgetMs } from './api.ts';

/** What a job works with instead of a secret: good for minutes, and for the run of its CI run alone. */
export type RunCredential = ExchangeAnswer;

/** Chooses, where bindings let a job into several workflows. */
export type WorkflowChoice = { readonly workflow?: string | undefined; readonly project?: string | undefined };

/**
 * A run credential for the token of a CI system. UNAUTHENTICATED and TOKEN_EXPIRED for the token; NO_BINDING, its problems naming claim
 * by claim what was expected and found; USAGE when the organization must be named; CONFLICT when there is something to choose;
 * CONTROL_PLANE_UNREACHABLE, and then the token may have been used, which is good once; FORBIDDEN for a credential of something else than
 * was asked for.
 */
export async function exchange(
  options: Omit<ApiOptions, 'token'>,
  request: WorkflowChoice & { readonly subjectToken: string },
): Promise<RunCredential> {
  const made = await createApi(options).auth.exchange.mutate(request);
  // What a credential is for decides what the job hands over: the contract of a stranger may ask for any variable.
  const wrong = (['organization', 'project', 'workflow'] as const).filter((key) => {
    const asked = key === 'organization' ? options.organization : request[key];
    return asked !== undefined && asked !== made[key];
  });
  if (wrong.length === 0) return made;
  const place = `${made.organization}/${made.project}/${made.workflow}`;
  throw new ChainloopError('FORBIDDEN', `run credential: it is for ${place}, which has another ${wrong.join(' and ')} than was asked for`);
}

/**
 * The same for a token that is asked for now, with the origin of the control plane as its audience. Where the CI system makes new ones
 * (GitHub), an exchange whose answer was lost is tried again with another, within the budget.
 */
export async function exchangeFrom(
  source: CiTokenSource,
  options: Omit<ApiOptions, 'token'>,
  choice: WorkflowChoice = {},
): Promise<RunCredential> {
  const budgetMs = options.retryBudgetMs ?? defaultRetryBudgetMs;
  const startedAt = performance.now();
  const endsAt = startedAt + budgetMs;
  let attempt = 0;
  const again = (error: unknown): boolean => {
    const lost = source.platform === 'github' && isChainloopError(error, 'CONTROL_PLANE_UNREACHABLE') && performance.now() < endsAt;
    if (lost) options.onRetry?.({ attempt: ++attempt, elapsedMs: performance.now() - startedAt, budgetMs });
    return lost;
  };
  return retry(
    async () => {
      const subjectToken = await source.token(new URL(options.url).origin);
      return exchange({ ...options, retryBudgetMs: Math.max(0, endsAt - performance.now()) }, { subjectToken, ...choice });
    },
    (error) => ({ retry: again(error) }),
    // The budget alone ends it: a restart of the control plane may take longer than a few tries.
    { policy: { ...defaultRetryPolicy, attempts: Number.POSITIVE_INFINITY, budgetMs } },
  );
}
