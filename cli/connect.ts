import type { Api, ApiOptions } from '../client/api.ts';
import { ChainloopError } from '../core/errors.ts';
import type { Context } from './context.ts';
import { version } from './release.ts';
import type { Settings } from './settings.ts';

/** How long an operator waits for a control plane that does not answer. A CI job waits as long as the client's own budget. */
const operatorPatienceMs = 5_000;

/** The settings with a token. Throws UNAUTHENTICATED when there is none. */
export async function authenticatedSettings(context: Context): Promise<Settings & { readonly token: string }> {
  const settings = await context.settings();
  if (settings.token === undefined) {
    throw new ChainloopError(
      'UNAUTHENTICATED',
      `no token for ${settings.url}: set CHAINLOOP_TOKEN, or keep one with: chainloop auth login`,
    );
  }
  return { ...settings, token: settings.token };
}

/** How to reach the control plane as the user of this command. CHAINLOOP_RETRY_SECONDS says how long a call may be retried. */
export async function apiOptions(context: Context, patienceMs?: number): Promise<ApiOptions> {
  const { url, token, organization } = await authenticatedSettings(context);
  const asked = context.env.CHAINLOOP_RETRY_SECONDS ?? '';
  const retryBudgetMs = /^\d{1,5}$/.test(asked) ? Number(asked) * 1000 : patienceMs;
  return { url, token, organization, version, retryBudgetMs, insecure: context.env.CHAINLOOP_INSECURE === '1' };
}

/** The control plane's procedures. Nothing is sent yet. */
export async function connect(context: Context): Promise<Api> {
  const [options, { createApi }] = await Promise.all([apiOptions(context, operatorPatienceMs), import('../client/api.ts')]);
  return createApi(options);
}

/** The same without an organization: to create and list those that there are. */
export async function connectToInstance(context: Context): Promise<Api> {
  const settings = await context.settings();
  return connect({ ...context, settings: async () => ({ ...settings, organization: undefined }) });
}
