import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Api } from '../client/api.ts';
import { ChainloopError } from '../core/errors.ts';
import type { SessionView } from '../core/people.ts';
import type { Context } from './context.ts';
import { awaitBrowser } from './loopback.ts';

export type LoginWay = {
  /** Takes an invitation, whatever the e-mail address. */
  readonly invitation: string | undefined;
  /** Only says where to go: the browser of this machine is not for it. */
  readonly urlOnly: boolean;
};

/** Logs in with a browser on this machine (RFC 8252). Throws UNAUTHENTICATED, FORBIDDEN, LOGIN_UNSUPPORTED. */
export async function loginWithBrowser({ log, env }: Context, api: Api, { invitation, urlOnly }: LoginWay): Promise<SessionView> {
  const state = randomBytes(32).toString('base64url');
  await using loopback = await awaitBrowser(state);
  const { authorizationUrl, handle } = await api.session.begin.mutate({ port: loopback.port, state });
  log.info(`Log in with a browser on this machine: ${authorizationUrl}`);
  if (!urlOnly) openBrowser(authorizationUrl, env);
  const code = await loopback.code;
  return api.session.finish.mutate({ handle, code, invitation });
}

/** Logs in with any other device (RFC 8628). Throws as `loginWithBrowser` does. */
export async function loginWithDevice({ log }: Context, api: Api, invitation: string | undefined): Promise<SessionView> {
  const { handle, userCode, verificationUri, verificationUriComplete, intervalSeconds, expiresAt } = await api.session.device.mutate({});
  log.info(`On any device, open ${verificationUri} and enter the code ${userCode}`);
  if (verificationUriComplete !== null) log.detail(`or open ${verificationUriComplete}, and compare the code`);
  let intervalMs = intervalSeconds * 1000;
  while (Date.now() < Date.parse(expiresAt)) {
    await sleep(intervalMs);
    const answer = await api.session.poll.mutate({ handle, invitation });
    if (answer.state === 'done') return answer;
    // RFC 8628, section 3.5.
    if (answer.state === 'slow-down') intervalMs += 5_000;
  }
  throw new ChainloopError('UNAUTHENTICATED', 'login: nobody entered the code in time; begin again');
}

/** As well as it can be done: the address is on the terminal, too. */
function openBrowser(url: string, env: Context['env']): void {
  const [program, ...args] =
    process.platform === 'darwin'
      ? ['open', url]
      : process.platform === 'win32'
        ? ['rundll32', 'url.dll,FileProtocolHandler', url]
        : ['xdg-open', url];
  if (program === undefined) return;
  spawn(program, args, { stdio: 'ignore', detached: true, env: { ...env } })
    .on('error', () => undefined)
    .unref();
}
