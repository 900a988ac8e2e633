import type { Api, ApiOptions } from '../client/api.ts';
import { ChainloopError } from '../core/errors.ts';
import type { Context } from './context.ts';
import { version } from './release.ts';
import type { Settings } from './settings.ts';

/** How long an operator waits for a control plane that does not answer. A CI job waits as long as the client's own budget. */
const operatorPatienceMs = 5_000;

/** The settings with a token. Throws UNAUTHENTICATED when there is none. */
export async function authenticatedSettings(context: Context, advice = whereFrom(context)): Promise<Settings & { readonly token: string }> {
  const settings = await context.settings();
  if (settings.token === undefined) {
    throw new ChainloopError('UNAUTHENTICATED', `no token for ${settings.url}: ${advice}`);
  }
  return { ...settings, token: settings.token };
}

const ofOperators = 'set CHAINLOOP_TOKEN, or keep one with: chainloop auth login';

/** How the user of this command comes by a token; a CI job needs none that is kept anywhere. */
function whereFrom({ env }: Context): string {
  if (env.GITHUB_ACTIONS === 'true') {
    return "give the job the permission 'id-token: write' (jobs for pull requests from forks never have it), or set CHAINLOOP_TOKEN";
  }
  if (env.GITLAB_CI === 'true') return 'give the job id_tokens with CHAINLOOP_ID_TOKEN (docs/federation.md), or set CHAINLOOP_TOKEN';
  return ofOperators;
}

/** How to reach the control plane as the user of this command. */
export async function apiOptions(context: Context, patienceMs?: number, advice?: string): Promise<ApiOptions> {
  const settings = await authenticatedSettings(context, advice);
  // Asked again before each call: the credential of a job is renewed.
  const token = async () => (await authenticatedSettings(context)).token;
  return { ...addressOf(context, settings, patienceMs), token };
}

/** The same for calls that need no token. CHAINLOOP_RETRY_SECONDS says how long a call may be retried; USAGE when it says something else. */
export function addressOf(context: Context, { url, organization }: Settings, patienceMs?: number): Omit<ApiOptions, 'token'> {
  const { env, log } = context;
  const retryBudgetMs = retryBudgetOf(context) ?? patienceMs;
  const onRetry: ApiOptions['onRetry'] = ({ attempt, cause }) => {
    if (cause === 'RATE_LIMITED' && attempt === 1)
      log.warn('the control plane has too many requests of this token or organization: waiting, as it asks');
  };
  return { url, organization, version, retryBudgetMs, insecure: env.CHAINLOOP_INSECURE === '1', onRetry };
}

/** What CHAINLOOP_RETRY_SECONDS says. USAGE when it says something else. */
export function retryBudgetOf({ env }: Pick<Context, 'env'>): number | undefined {
  const asked = env.CHAINLOOP_RETRY_SECONDS || undefined;
  if (asked === undefined || /^\d{1,5}$/.test(asked)) return asked === undefined ? undefined : Number(asked) * 1000;
  throw new ChainloopError('USAGE', `CHAINLOOP_RETRY_SECONDS: '${asked}' is not a whole number of seconds, from 0 to 99999`);
}

/**
 * The control plane's procedures. Nothing is sent yet. What a CI job proves of itself lets it attest, and nothing else: whoever has no
 * token is told to get one, unless the command is for jobs too.
 */
export async function connect(context: Context, { forJobs = false } = {}): Promise<Api> {
  const advice = forJobs ? undefined : ofOperators;
  const [options, { createApi }] = await Promise.all([apiOptions(context, operatorPatienceMs, advice), import('../client/api.ts')]);
  return createApi(options);
}

/** The same without an organization: to create and list those that there are. */
export async function connectToInstance(context: Context): Promise<Api> {
  const settings = await context.settings();
  return connect({ ...context, settings: async () => ({ ...settings, organization: undefined }) });
}
