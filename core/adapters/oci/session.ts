import { limits } from '../../limits.ts';
import type { BodySource, Http, HttpResponse } from '../http.ts';
import { redactUrl } from '../http-failure.ts';
import { type RetryPolicy, retry } from '../retry.ts';
import type { Access, Authorizer } from './auth.ts';
import { answerError, failureError, judgeRegistry, RegistryError, type Subject } from './errors.ts';

/** How a client deals with time: the policy of repeating, and the timeouts of one try. */
export type FetchPolicy = RetryPolicy & {
  readonly requestTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly commitTimeoutMs: number;
  /** How long a fallback tag has to stand still before its writer leaves; by default `limits.fallbackQuietMs`. */
  readonly quietMs?: number;
};

type RegistryRequest = {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PATCH' | 'PUT' | 'DELETE';
  readonly url: URL;
  readonly access: Access;
  /** What is attempted, for messages: `upload of app.tar`. */
  readonly what: string;
  /** Statuses that are answers; all others are thrown as RegistryError. */
  readonly accept: readonly number[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | BodySource;
  readonly answerTimeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
  /** False: a redirect is an answer. */
  readonly follow?: boolean;
};

/** Requests to one repository of one registry, with authentication. */
export type Session = {
  /** `registry ghcr.io`, for messages. */
  readonly name: string;
  readonly policy: FetchPolicy;
  /** The URL of a path below `/v2/<repository>/`. */
  url(path: string): URL;
  /** Repeats what may be repeated; the caller has one answer or one error. Not for streamed bodies. */
  send(request: RegistryRequest): Promise<HttpResponse>;
  /** One try. A 401 renews the token; the request is repeated with it unless its body is a stream, which the caller repeats. */
  sendOnce(request: RegistryRequest): Promise<HttpResponse>;
  /** The whole body of an answer, of at most so many bytes. */
  read(answer: HttpResponse, maxBytes: number, what: string): Promise<Uint8Array>;
  /** The URL in a Location or Link header; must be of this registry, for credentials go there. */
  sameOrigin(location: string | undefined, base: URL, what: string): URL;
};

/** The registry took a new token: what was refused with 401 is worth exactly one more try. */
export class TokenRenewed extends RegistryError {}

export function createSession(options: {
  readonly http: Http;
  /** For hosts that the registry names: refuses the addresses that only we may choose to call. */
  readonly foreignHttp: Http;
  readonly origin: URL;
  readonly name: string;
  readonly repository: string;
  readonly authorizer: Authorizer;
  readonly userAgent: string;
  readonly advice: string;
  readonly policy: FetchPolicy;
}): Session {
  const { origin, name, authorizer, policy } = options;
  const subjectOf = (what: string): Subject => ({ name, what, advice: options.advice });

  async function exchange(request: RegistryRequest, url: URL, authorization: string | undefined): Promise<HttpResponse> {
    try {
      return await (url.host === origin.host ? options.http : options.foreignHttp).request({
        method: request.method,
        url,
        headers: { 'user-agent': options.userAgent, ...request.headers, ...(authorization === undefined ? {} : { authorization }) },
        body: request.body,
        answerTimeoutMs: request.answerTimeoutMs ?? policy.requestTimeoutMs,
        idleTimeoutMs: policy.idleTimeoutMs,
        signal: request.signal,
      });
    } catch (error) {
      throw failureError(error, subjectOf(request.what));
    }
  }

  async function sendOnce(request: RegistryRequest): Promise<HttpResponse> {
    const authorization = await authorizer.header(request.access);
    let response = await exchange(request, request.url, authorization);
    if (response.status === 401 && (await authorizer.renew(response, request.access, authorization))) {
      const streamed = request.body !== undefined && !(request.body instanceof Uint8Array);
      if (streamed) {
        const refusal = await answerError(response, subjectOf(request.what));
        throw new TokenRenewed('REGISTRY_UNAUTHORIZED', refusal.message, { status: 401 });
      }
      response.discard();
      response = await exchange(request, request.url, await authorizer.header(request.access));
    }
    if ((request.method === 'GET' || request.method === 'HEAD') && request.follow !== false) response = await follow(request, response);
    if (request.accept.includes(response.status)) return response;
    throw await answerError(response, subjectOf(request.what));
  }

  /**
   * Registries send readers to object storage. Credentials stay here, https is never left, and this machine or a
   * metadata service is not called because a registry says so (`foreignHttp`).
   */
  async function follow(request: RegistryRequest, first: HttpResponse): Promise<HttpResponse> {
    let response = first;
    let url = request.url;
    for (let count = 0; [301, 302, 303, 307, 308].includes(response.status); count++) {
      const location = response.header('location');
      const next = location === undefined ? null : URL.parse(location, url.href);
      response.discard();
      const refuse = (problem: string) =>
        new RegistryError('REGISTRY_ERROR', `${name}: ${request.what} failed: it redirects ${problem}; nothing was sent there`);
      if (next === null) throw refuse('without saying where to');
      if (count === limits.redirects) throw refuse(`more than ${limits.redirects} times`);
      if (next.username !== '' || next.password !== '') throw refuse('to an address with credentials');
      if (next.protocol !== 'https:' && (next.protocol !== 'http:' || url.protocol !== 'http:'))
        throw refuse(`to ${redactUrl(next)}, which is not https`);
      url = next;
      response = await exchange(request, url, url.origin === origin.origin ? await authorizer.header(request.access) : undefined);
    }
    return response;
  }

  return {
    name,
    policy,
    url: (path) => new URL(`/v2/${options.repository}/${path}`, origin),
    send: (request) => retry(() => sendOnce(request), judgeRegistry, { policy, signal: request.signal }),
    sendOnce,
    async read(answer, maxBytes, what) {
      try {
        return await answer.bytes(maxBytes);
      } catch (error) {
        throw failureError(error, subjectOf(what));
      }
    },
    sameOrigin(location, base, what) {
      const url = location === undefined ? null : URL.parse(location, base.href);
      if (url !== null && url.origin === origin.origin && url.username === '' && url.password === '') return url;
      const where = url === null ? 'nowhere' : redactUrl(url);
      throw new RegistryError(
        'REGISTRY_ERROR',
        `${name}: ${what} failed: it points to ${where}, which is not itself; nothing was sent there. Check its external URL (X-Forwarded-Proto, X-Forwarded-Host)`,
      );
    },
  };
}
