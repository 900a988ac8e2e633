import { ChainloopError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { withoutSecrets } from '../../redact.ts';
import { printable } from '../../source/place.ts';
import { isLoopbackHost } from '../address.ts';
import type { Http } from '../http.ts';
import { HttpFailure, redactUrl } from '../http-failure.ts';
import { type RetryPolicy, retry, retryAfterMs, type Verdict } from '../retry.ts';

/** A service of Sigstore, as people know it. */
type ServiceName = 'Fulcio' | 'Rekor' | 'time-stamping authority';

export type ServiceRequest = {
  readonly service: ServiceName;
  readonly url: URL;
  readonly accept: string;
  /** Without one, the request is a GET. */
  readonly body?: { readonly type: string; readonly bytes: Uint8Array };
  /** Statuses, besides those of success, that mean something to the caller. */
  readonly understood?: readonly number[];
};

export type ServiceAnswer = { readonly status: number; readonly location: string | undefined; readonly bytes: Buffer };

type Patience = { readonly policy: RetryPolicy; readonly answerTimeoutMs: number | undefined };

/** Asks a service once, with retries. As `createServices` says. */
export type Services = (request: ServiceRequest) => Promise<ServiceAnswer>;

/** The service did not answer as it should; whether another try may help. */
class Refusal extends Error {
  readonly verdict: Verdict;
  readonly status: number | undefined;

  constructor(message: string, verdict: Verdict, status: number | undefined, cause?: unknown) {
    super(message, { cause });
    this.name = 'Refusal';
    this.verdict = verdict;
    this.status = status;
  }
}

/**
 * Asks the services of Sigstore, each answer whole and within `limits.sigstoreAnswerSizeBytes`. What passes (no answer, 408, 429, 5xx) is
 * tried again within the policy, then SIGNING_UNAVAILABLE; 401 and 403 are UNAUTHENTICATED; anything else is SIGNING_REFUSED. No redirect is followed, and nothing is sent
 * in the clear but to this machine: a token goes along.
 */
export function createServices(http: Http, { policy, answerTimeoutMs }: Patience): Services {
  return async (request) => {
    const { service, url } = request;
    if (url.protocol !== 'https:' && !isLoopbackHost(url.hostname)) {
      throw new ChainloopError('USAGE', `${service}: ${redactUrl(url)} is not https; what a signature needs is not sent in the clear`);
    }
    try {
      return await retry(
        () => ask(http, request, answerTimeoutMs),
        (error) => (error instanceof Refusal ? error.verdict : { retry: false }),
        { policy },
      );
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const { status, verdict } = error;
      const message = `${service}: ${error.message}`;
      if (status === 401 || status === 403) {
        throw new ChainloopError('UNAUTHENTICATED', `${message}; does it know the issuer and the audience of this job's token?`, {
          cause: error,
        });
      }
      if (verdict.retry || status === undefined)
        throw new ChainloopError('SIGNING_UNAVAILABLE', `${message}; try again later`, { cause: error });
      throw new ChainloopError('SIGNING_REFUSED', message, { cause: error });
    }
  };
}

/** The answer is there, and cannot be used. */
export function unusable(service: ServiceName, url: URL, what: string, cause?: unknown): ChainloopError {
  return new ChainloopError('SIGNING_REFUSED', `${service}: what answers at ${url.origin} ${what}`, { cause });
}

async function ask(http: Http, request: ServiceRequest, answerTimeoutMs: number | undefined): Promise<ServiceAnswer> {
  const { url, accept, body, understood = [] } = request;
  try {
    const response = await http.request({
      method: body === undefined ? 'GET' : 'POST',
      url,
      headers: { accept, 'user-agent': 'chainloop', ...(body !== undefined && { 'content-type': body.type }) },
      body: body?.bytes,
      answerTimeoutMs,
    });
    const { status } = response;
    if ((status >= 200 && status < 300) || understood.includes(status)) {
      return { status, location: response.header('location'), bytes: await response.bytes(limits.sigstoreAnswerSizeBytes) };
    }
    const passes = status === 408 || status === 429 || status >= 500;
    const reason = reasonIn(await response.excerpt(limits.errorBodySizeBytes));
    const afterMs = retryAfterMs(response.header('retry-after'));
    throw new Refusal(`${redactUrl(url)} answers with status ${status}${reason}`, { retry: passes, afterMs }, status);
  } catch (error) {
    if (!(error instanceof HttpFailure)) throw error;
    const { reason, message } = error;
    throw new Refusal(message, { retry: reason !== 'unknownHost' && reason !== 'tls' && reason !== 'address' }, undefined, error);
  }
}

/** All three say why in the `message` of a JSON object. */
function reasonIn(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    const message = typeof value === 'object' && value !== null && 'message' in value ? value.message : undefined;
    return typeof message === 'string' && message !== '' ? `: ${printable(withoutSecrets(message), 300)}` : '';
  } catch {
    return '';
  }
}
