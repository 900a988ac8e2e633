import { limits } from '../../core/limits.ts';

/** The OpenID provider that people log in with, and who this control plane is there. */
export type ProviderConfig = {
  /** Exactly as `iss` has it. Plain http is for a provider on this machine, such as one that is tried out. */
  readonly issuer: string;
  readonly clientId: string;
  /** Absent: a public client, which PKCE alone protects. */
  readonly clientSecret?: string | undefined;
  /** `openid` is always asked for. */
  readonly scopes: readonly string[];
};

export type LoginConfig = ProviderConfig & {
  /** How long a session lasts, and how long it lasts unused: undefined, as long. */
  readonly sessionMs: number;
  readonly sessionIdleMs: number | undefined;
};

/** What the command line says of logins (ServerOptions), as it was typed. */
export type LoginOptions = {
  readonly oidcIssuer?: string | undefined;
  readonly oidcClientId?: string | undefined;
  /** Between spaces. Default: `profile email`. */
  readonly oidcScopes?: string | undefined;
  readonly sessionHours?: string | undefined;
  readonly sessionIdleMinutes?: string | undefined;
};

/** How people log in, or undefined: they do not. Every problem is reported. */
export function loginConfig(
  options: LoginOptions,
  clientSecret: string | undefined,
  report: (path: string, message: string) => void,
): LoginConfig | undefined {
  const { oidcIssuer: issuer, oidcClientId: clientId } = options;
  const count = (flag: string, text: string, most: number): number => {
    if (!/^[1-9]\d{0,5}$/.test(text) || Number(text) > most) report(flag, `must be a whole number from 1 to ${most}, not '${text}'`);
    return Number(text);
  };
  const hours = count('--session-hours', options.sessionHours ?? `${limits.sessionHours}`, limits.sessionHoursMost);
  const idle = options.sessionIdleMinutes;
  // The use of a session is noted once a minute.
  const idleMinutes = idle === undefined ? undefined : count('--session-idle-minutes', idle, 60 * limits.sessionHoursMost);
  const scopes = (options.oidcScopes ?? 'profile email').split(' ').filter((scope) => scope !== '' && scope !== 'openid');
  if (scopes.some((scope) => !/^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/.test(scope)))
    report('--oidc-scopes', 'must be scopes with spaces between them');
  if (issuer === undefined && clientId === undefined) return undefined;
  if (issuer === undefined || !isIssuer(issuer)) {
    report(
      '--oidc-issuer',
      'must be the https URL of an OpenID provider, without query and fragment; plain http is for loopback addresses',
    );
  }
  if (clientId === undefined) report('--oidc-client-id', 'is missing: it is what the provider calls this control plane');
  if (issuer === undefined || clientId === undefined) return undefined;
  const idleMs = idleMinutes === undefined ? undefined : idleMinutes * 60_000;
  return { issuer, clientId, clientSecret, scopes, sessionMs: hours * 3_600_000, sessionIdleMs: idleMs };
}

function isIssuer(text: string): boolean {
  return URL.canParse(text) && /^(?:https:\/\/|http:\/\/(?:127\.\d{1,3}\.\d{1,3}\.\d{1,3}|localhost|\[::1\])[:/])[^\s?#@]+$/.test(text);
}
