import { createTRPCClient, type TRPCClient, TRPCClientError, type TRPCLink } from '@trpc/client';
import { observable } from '@trpc/server/observable';
import { createHttp } from '../core/adapters/http.ts';
import { ChainloopError } from '../core/errors.ts';
import type { AppRouter } from '../server/router.ts';
import { type Connection, type Retry, send } from './connection.ts';
import { translated } from './translated.ts';

export type ApiOptions = {
  /** The control plane, as in CHAINLOOP_URL. */
  readonly url: string;
  /** Absent for the few calls that need none. A function is asked before each call, for what may expire. */
  readonly token?: string | (() => Promise<string>) | undefined;
  /** By name. Needed with the owner token, which belongs to no organization. */
  readonly organization?: string | undefined;
  /** Sent along, so that a refusal between different versions can say so. */
  readonly version?: string | undefined;
  /** How long a call may be retried, all attempts together. */
  readonly retryBudgetMs?: number | undefined;
  /** Told of each failure that is followed by another try. */
  readonly onRetry?: ((retry: Retry) => void) | undefined;
  /** Sends the token over plain http to other machines too (CHAINLOOP_INSECURE=1). Whoever listens on the way can then use it. */
  readonly insecure?: boolean | undefined;
};

/** Every procedure of the control plane, typed. Calls throw ChainloopError with the server's code and problems. */
export type Api = TRPCClient<AppRouter>;

/** How long a call is retried, unless said otherwise. */
export const defaultRetryBudgetMs = 60_000;

/** Mutations that give the same result when they are sent twice: they carry their own key, end in a state, or change nothing. */
const repeatable: ReadonlySet<string> = new Set([
  'attestation.init',
  'attestation.begin',
  'attestation.collect',
  'attestation.push',
  'attestation.end',
  'signing.certificate',
]);

/**
 * A client of the control plane. Throws USAGE for a URL that is not an http or https origin, or a token that would travel in clear.
 * Calls are retried within the budget: what may be repeated after any failure of the connection or 408, 429, 502, 503, 504; anything
 * else only when the server cannot have done it.
 */
export function createApi(options: ApiOptions): Api {
  const connection: Connection = {
    http: createHttp(),
    origin: originOf(options),
    version: options.version ?? '',
    retryBudgetMs: options.retryBudgetMs ?? defaultRetryBudgetMs,
    onRetry: options.onRetry,
    serverVersion: '',
  };
  const { token } = options;
  const headers = async () => ({
    ...(token !== undefined && { authorization: `Bearer ${typeof token === 'string' ? token : await token()}` }),
    ...(options.organization !== undefined && { 'x-chainloop-organization': options.organization }),
    ...(options.version !== undefined && { 'x-chainloop-version': options.version }),
  });
  const call = async (path: string, input: unknown, type: string, signal: AbortSignal | null | undefined): Promise<unknown> => {
    // POST for queries too: their input may be a contract, which no URL can hold.
    const sent = { path: `/trpc/${path}`, headers: await headers(), body: JSON.stringify(input), signal };
    return send(connection, sent, type === 'query' || repeatable.has(path) ? 'always' : 'when not done');
  };
  // Not tRPC's own link: it asks whether the input is a form, and for that question Node loads its whole fetch, 30 ms and 12 MB.
  const link: TRPCLink<AppRouter> =
    () =>
    ({ op: { path, input, type, signal } }) =>
      observable((observer) => {
        call(path, input, type, signal).then(
          (answer) => {
            if (!isResult(answer)) return observer.error(failed(answer));
            observer.next({ result: { type: 'data', data: answer.result.data } });
            observer.complete();
          },
          (error: unknown) => observer.error(failed(error)),
        );
      });
  const client = createTRPCClient<AppRouter>({ links: [link] });
  return translated(client, connection);
}

function isResult(answer: unknown): answer is { readonly result: { readonly data?: unknown } } {
  return typeof answer === 'object' && answer !== null && 'result' in answer && typeof answer.result === 'object' && answer.result !== null;
}

/** What tRPC rejects a call with: `translated` finds in it what the server said, or the error of ours. */
function failed(cause: unknown): TRPCClientError<AppRouter> {
  return TRPCClientError.from(typeof cause === 'object' && cause !== null ? cause : new Error(String(cause)));
}

function originOf({ url, insecure }: ApiOptions): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (
    parsed === undefined ||
    !/^https?:$/.test(parsed.protocol) ||
    parsed.username !== '' ||
    parsed.pathname !== '/' ||
    parsed.search !== ''
  ) {
    const shown = parsed === undefined ? '' : ` '${parsed.protocol}//${parsed.host}${parsed.pathname}'`;
    throw new ChainloopError(
      'USAGE',
      `control plane:${shown} is not an origin such as https://chainloop.example.com; correct CHAINLOOP_URL`,
    );
  }
  const loopback = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(parsed.hostname);
  if (parsed.protocol === 'http:' && !loopback && insecure !== true) {
    throw new ChainloopError(
      'USAGE',
      `control plane: the token would travel in clear to ${parsed.origin}; use https, or set CHAINLOOP_INSECURE=1 if the network is yours`,
    );
  }
  return parsed.origin;
}
