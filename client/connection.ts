import { setTimeout as sleep } from 'node:timers/promises';
import type { Http } from '../core/adapters/http.ts';
import { HttpFailure } from '../core/adapters/http-failure.ts';
import { ChainloopError, type ErrorCode, errorTable, isErrorCode } from '../core/errors.ts';
import { limits } from '../core/limits.ts';

/** Where a client's calls go, and what it learned about the other end. */
export type Connection = {
  readonly http: Http;
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

/** A call: JSON to a path of the API. */
export type Call = {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  readonly signal: AbortSignal | null | undefined;
};

/** The largest answer is a description of a run: a bundle and its statement, in JSON. */
const maxAnswerSizeBytes = 2 * limits.requestBodySizeBytes;
/** One attempt: the server may have to store a bundle in a slow registry. */
const attemptTimeoutMs = limits.idleTimeoutMs;
const firstPauseMs = 200;
const longestPauseMs = 5_000;

/** A failure that may pass: in the words of the server, or in ours. `notDone`: the server cannot have done it. */
type Failure = {
  readonly type: 'failure';
  readonly end: () => unknown;
  readonly notDone: boolean;
  readonly pauseMs?: number | undefined;
  readonly cause?: ErrorCode | undefined;
};
type Outcome = { readonly type: 'answer'; readonly answer: unknown } | Failure;

/** Retries within the budget, follows no redirect, and ends in the JSON of an answer or in CONTROL_PLANE_UNREACHABLE. */
export async function send(connection: Connection, call: Call, repeat: Repeat): Promise<unknown> {
  const { retryBudgetMs: budgetMs, onRetry } = connection;
  const startedAt = performance.now();
  for (let attempt = 0; ; attempt++) {
    const outcome = await tryOnce(connection, call);
    if (outcome.type === 'answer') return outcome.answer;
    const pauseMs = outcome.pauseMs ?? Math.min(longestPauseMs, firstPauseMs * 2 ** attempt) * (0.5 + Math.random() / 2);
    if ((repeat !== 'always' && !outcome.notDone) || performance.now() - startedAt + pauseMs > budgetMs) return outcome.end();
    onRetry?.({ attempt: attempt + 1, elapsedMs: performance.now() - startedAt, budgetMs, cause: outcome.cause });
    await sleep(pauseMs);
  }
}

async function tryOnce(connection: Connection, { path, headers, body, signal }: Call): Promise<Outcome> {
  const { origin, http } = connection;
  const timeout = AbortSignal.timeout(attemptTimeoutMs);
  try {
    const response = await http.request({
      method: 'POST',
      url: new URL(path, origin),
      headers: { 'content-type': 'application/json', ...headers },
      body: Buffer.from(body ?? ''),
      answerTimeoutMs: attemptTimeoutMs,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    connection.serverVersion = response.header('x-chainloop-version') ?? connection.serverVersion;
    const { status, header } = response;
    if (status >= 300 && status < 400) {
      response.discard();
      throw unreachable(origin, redirected(origin, header('location')));
    }
    const text = (await response.bytes(maxAnswerSizeBytes)).toString('utf8');
    const code = header('content-type')?.startsWith('application/json') === true ? outcomeOf(text) : undefined;
    const answer = (): unknown => {
      if (code !== undefined) return JSON.parse(text);
      throw unreachable(origin, `it answers with status ${status} and not as a control plane does; is CHAINLOOP_URL right?`);
    };
    const passes = code === undefined || code === 'OK' ? [408, 429, 502, 503, 504].includes(status) : errorTable[code].exit === 75;
    if (!passes) return { type: 'answer', answer: answer() };
    // Only who refuses before doing anything says when to come back.
    const retryAfter = header('retry-after') ?? '';
    // Not all at the same moment: many may have been told the same.
    const pauseMs = /^\d{1,4}$/.test(retryAfter) ? Number(retryAfter) * 1000 * (1 + Math.random() / 4) : undefined;
    const cause = code === 'OK' ? undefined : code;
    return { type: 'failure', end: answer, notDone: pauseMs !== undefined, pauseMs, cause };
  } catch (cause) {
    if (cause instanceof ChainloopError || signal?.aborted === true) throw cause;
    const code = codeOf(cause);
    const what = timeout.aborted ? `no answer in ${attemptTimeoutMs / 1000} s` : (reasons[code] ?? 'the connection was lost');
    const end = (): never => {
      throw unreachable(origin, `${what}; is it running, and is CHAINLOOP_URL right?`, cause);
    };
    const unsent = cause instanceof HttpFailure && ['unreachable', 'unknownHost', 'tls'].includes(cause.reason);
    return { type: 'failure', end, notDone: unsent && !timeout.aborted };
  }
}

/** The token goes nowhere but to the origin that it was meant for. */
function redirected(origin: string, location: string | undefined): string {
  const target = location !== undefined && URL.canParse(location, origin) ? new URL(location, origin).origin : 'elsewhere';
  return `it redirects to ${target}; set CHAINLOOP_URL to where it really is`;
}

/** What people are told of a connection that failed. */
const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the connection was refused',
  ENOTFOUND: 'the host name is not known',
  EAI_AGAIN: 'the host name cannot be resolved now',
  EHOSTUNREACH: 'there is no route to the host',
  ENETUNREACH: 'the network cannot be reached',
  ETIMEDOUT: 'the host does not answer',
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
