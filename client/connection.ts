import { setTimeout as sleep } from 'node:timers/promises';
import { ChainloopError, type ErrorCode, errorTable, isErrorCode } from '../core/errors.ts';
import { limits } from '../core/limits.ts';

/** Where a client's calls go, and what it learned about the other end. */
export type Connection = {
  readonly origin: string;
  readonly version: string;
  readonly retryBudgetMs: number;
  readonly onRetry?: ((retry: Retry) => void) | undefined;
  /** Of the last answer; empty before the first. */
  serverVersion: string;
};

/** A try that failed, just before the pause that another one follows. `cause` is what the server said, if it did. */
export type Retry = {
  readonly attempt: number;
  readonly elapsedMs: number;
  readonly budgetMs: number;
  readonly cause?: ErrorCode | undefined;
};

/** A call may be sent again always, or only when the server cannot have done it. */
type Repeat = 'always' | 'when not done';

/** What tRPC's client asks of a fetch. */
export type Fetch = (
  url: unknown,
  init?: {
    readonly method?: string;
    readonly headers?: unknown;
    readonly body?: unknown;
    readonly signal?: AbortSignal | null | undefined;
  },
) => Promise<Response>;

/** The largest answer is a description of a run: a bundle and its statement, in JSON. */
const maxAnswerSizeBytes = 2 * limits.requestBodySizeBytes;
/** One attempt: the server may have to store a bundle in a slow registry. */
const attemptTimeoutMs = limits.idleTimeoutMs;
const firstPauseMs = 200;
const longestPauseMs = 5_000;

/** A failure that may pass: in the words of the server, or in ours. `notDone`: the server cannot have done it. */
type Failure = {
  readonly type: 'failure';
  readonly end: () => Response;
  readonly notDone: boolean;
  readonly pauseMs?: number | undefined;
  readonly cause?: ErrorCode | undefined;
};
type Outcome = { readonly type: 'answer'; readonly response: Response } | Failure;

/** A fetch that retries within the budget, follows no redirect, and ends in JSON or in CONTROL_PLANE_UNREACHABLE. */
export function createFetch(connection: Connection, repeat: Repeat): Fetch {
  return async (url, init) => {
    const { retryBudgetMs: budgetMs, onRetry } = connection;
    const startedAt = performance.now();
    for (let attempt = 0; ; attempt++) {
      const outcome = await tryOnce(connection, String(url), init);
      if (outcome.type === 'answer') return outcome.response;
      const pauseMs = outcome.pauseMs ?? Math.min(longestPauseMs, firstPauseMs * 2 ** attempt) * (0.5 + Math.random() / 2);
      if ((repeat !== 'always' && !outcome.notDone) || performance.now() - startedAt + pauseMs > budgetMs) return outcome.end();
      onRetry?.({ attempt: attempt + 1, elapsedMs: performance.now() - startedAt, budgetMs, cause: outcome.cause });
      await sleep(pauseMs);
    }
  };
}

async function tryOnce(connection: Connection, url: string, init: Parameters<Fetch>[1]): Promise<Outcome> {
  const { origin } = connection;
  const timeout = AbortSignal.timeout(attemptTimeoutMs);
  try {
    const response = await fetch(url, {
      method: init?.method ?? 'POST',
      headers: headersOf(init?.headers),
      body: typeof init?.body === 'string' ? init.body : null,
      redirect: 'manual',
      signal: init?.signal ? AbortSignal.any([init.signal, timeout]) : timeout,
    });
    connection.serverVersion = response.headers.get('x-chainloop-version') ?? connection.serverVersion;
    const { status, headers } = response;
    if (status >= 300 && status < 400) throw unreachable(origin, redirected(origin, headers.get('location')));
    const text = await readText(response);
    const code = headers.get('content-type')?.startsWith('application/json') === true ? outcomeOf(text) : undefined;
    const answer = (): Response => {
      if (code !== undefined) return new Response(text, { status, headers: { 'content-type': 'application/json' } });
      throw unreachable(origin, `it answers with status ${status} and not as a control plane does; is CHAINLOOP_URL right?`);
    };
    const passes = code === undefined || code === 'OK' ? [408, 429, 502, 503, 504].includes(status) : errorTable[code].exit === 75;
    if (!passes) return { type: 'answer', response: answer() };
    // Only who refuses before doing anything says when to come back.
    const retryAfter = headers.get('retry-after') ?? '';
    // Not all at the same moment: many may have been told the same.
    const pauseMs = /^\d{1,4}$/.test(retryAfter) ? Number(retryAfter) * 1000 * (1 + Math.random() / 4) : undefined;
    const cause = code === 'OK' ? undefined : code;
    return { type: 'failure', end: answer, notDone: pauseMs !== undefined, pauseMs, cause };
  } catch (cause) {
    if (cause instanceof ChainloopError || init?.signal?.aborted === true) throw cause;
    const code = codeOf(cause);
    const what = timeout.aborted ? `no answer in ${attemptTimeoutMs / 1000} s` : (reasons[code] ?? 'the connection was lost');
    const end = (): never => {
      throw unreachable(origin, `${what}; is it running, and is CHAINLOOP_URL right?`, cause);
    };
    return { type: 'failure', end, notDone: code in reasons && !timeout.aborted };
  }
}

/** The token goes nowhere but to the origin that it was meant for. */
function redirected(origin: string, location: string | null): string {
  const target = location !== null && URL.canParse(location, origin) ? new URL(location, origin).origin : 'elsewhere';
  return `it redirects to ${target}; set CHAINLOOP_URL to where it really is`;
}

/** Failures before a request was sent. */
const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the connection was refused',
  ENOTFOUND: 'the host name is not known',
  EAI_AGAIN: 'the host name cannot be resolved now',
  EHOSTUNREACH: 'there is no route to the host',
  ENETUNREACH: 'the network cannot be reached',
  UND_ERR_CONNECT_TIMEOUT: 'the host does not answer',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed; name your authority with NODE_EXTRA_CA_CERTS',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is of an unknown authority; name it with NODE_EXTRA_CA_CERTS',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is of an unknown authority; name it with NODE_EXTRA_CA_CERTS',
};

function unreachable(origin: string, what: string, cause?: unknown): ChainloopError {
  return new ChainloopError('CONTROL_PLANE_UNREACHABLE', `control plane ${origin}: ${what}`, { cause });
}

function codeOf(error: unknown): string {
  for (let inner = error; inner instanceof Error; inner = inner.cause) {
    if ('code' in inner && typeof inner.code === 'string') return inner.code;
  }
  return '';
}

function headersOf(headers: unknown): Record<string, string> {
  const entries = typeof headers === 'object' && headers !== null ? Object.entries(headers) : [];
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}

async function readText(response: Response): Promise<string> {
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const piece of response.body ?? []) {
    sizeBytes += piece.byteLength;
    if (sizeBytes > maxAnswerSizeBytes) {
      throw new ChainloopError('LIMIT_EXCEEDED', `control plane: an answer is larger than ${maxAnswerSizeBytes} bytes`);
    }
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}

/** The code of an error of ours, OK for a result (tRPC, "HTTP RPC specification"); undefined when it is neither. */
function outcomeOf(text: string): ErrorCode | 'OK' | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed !== 'object' || parsed === null) return undefined;
    if ('result' in parsed) return 'OK';
    const error = 'error' in parsed ? parsed.error : undefined;
    const data = typeof error === 'object' && error !== null && 'data' in error ? error.data : undefined;
    const code = typeof data === 'object' && data !== null && 'code' in data ? data.code : undefined;
    // A newer server may have codes that are not known here.
    return isErrorCode(code) ? code : typeof code === 'string' ? 'INTERNAL' : undefined;
  } catch {
    return undefined;
  }
}
