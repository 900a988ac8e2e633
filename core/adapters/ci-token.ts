import { ChainloopError, isChainloopError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Env } from '../runner.ts';
import { type RetryPolicy, retry, retryAfterMs, type Verdict } from './retry.ts';

/** Where a job gets the token of its CI system from (OpenID Connect): what it proves, and for whom, is in the token. */
export type CiTokenSource = {
  readonly platform: 'github' | 'gitlab';
  /**
   * A token for this audience, the origin of a control plane. GitHub makes a new one for each call. GitLab made one when the job began,
   * for the audience that its configuration says, and a control plane takes it once. UNAUTHENTICATED when the CI system refuses,
   * CONTROL_PLANE_UNREACHABLE when it does not answer. No message has a token in it.
   */
  token(audience: string): Promise<string>;
};

const policy: RetryPolicy = { attempts: 4, baseDelayMs: 500, maxDelayMs: 4_000, budgetMs: 15_000 };
/** A token in JSON, with room. */
const answerSizeBytes = 2 * limits.subjectTokenSizeBytes;

/**
 * The token source of this job, when its CI system offers one. GitHub: for jobs with the permission `id-token: write`. GitLab: for jobs with
 * `id_tokens: CHAINLOOP_ID_TOKEN`.
 */
export function ciTokenSource(env: Env, options: { readonly retryPolicy?: RetryPolicy | undefined } = {}): CiTokenSource | undefined {
  const { ACTIONS_ID_TOKEN_REQUEST_URL: url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: requestToken, CHAINLOOP_ID_TOKEN: idToken } = env;
  if (isSet(url) && isSet(requestToken)) {
    return { platform: 'github', token: (audience) => fromGithub({ url, requestToken, audience }, options.retryPolicy ?? policy) };
  }
  if (isSet(idToken)) return { platform: 'gitlab', token: async () => idToken.trim() };
  return undefined;
}

/** The audience that Fulcio asks for, unless a private one is configured otherwise. */
const sigstoreAudience = 'sigstore';

/**
 * The token of this job for Sigstore: SIGSTORE_ID_TOKEN, as GitLab gives it to jobs with such an entry in `id_tokens`, else one that GitHub makes for it.
 * UNAUTHENTICATED when there is neither, and as `CiTokenSource`.
 */
export async function sigstoreToken(env: Env, options: { readonly retryPolicy?: RetryPolicy | undefined } = {}): Promise<string> {
  const { SIGSTORE_ID_TOKEN: given, CHAINLOOP_ID_TOKEN: _, ...others } = env;
  if (isSet(given)) return given.trim();
  const source = ciTokenSource(others, options);
  if (source !== undefined) return source.token(sigstoreAudience);
  throw new ChainloopError(
    'UNAUTHENTICATED',
    "signing: sigstore certifies who a job is by the token of its CI system, and there is none; at GitHub give the job the permission 'id-token: write', at GitLab id_tokens with SIGSTORE_ID_TOKEN and 'aud: sigstore'; elsewhere set SIGSTORE_ID_TOKEN",
  );
}

type Request = { readonly url: string; readonly requestToken: string; readonly audience: string };

/** No (usable) answer, and whether another try may help. */
class Refusal extends Error {
  readonly verdict: Verdict;

  constructor(message: string, verdict: Verdict, cause?: unknown) {
    super(message, { cause });
    this.name = 'Refusal';
    this.verdict = verdict;
  }
}

async function fromGithub(request: Request, retryPolicy: RetryPolicy): Promise<string> {
  try {
    return await retry(
      () => askGithub(request),
      (error) => (error instanceof Refusal ? error.verdict : { retry: false }),
      { policy: retryPolicy },
    );
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (error.verdict.retry) {
      throw new ChainloopError('CONTROL_PLANE_UNREACHABLE', `token of the job: ${error.message}; try again later`, { cause: error });
    }
    throw new ChainloopError(
      'UNAUTHENTICATED',
      `token of the job: ${error.message}; does the job have the permission 'id-token: write', and is its run not over?`,
      { cause: error },
    );
  }
}

/** GitHub, "OpenID Connect reference", section "Requesting the JWT using environment variables". */
async function askGithub({ url, requestToken, audience }: Request): Promise<string> {
  const address = URL.canParse(url) ? new URL(url) : undefined;
  if (address === undefined || !/^https?:$/.test(address.protocol)) {
    throw new Refusal('ACTIONS_ID_TOKEN_REQUEST_URL is not a URL', { retry: false });
  }
  address.searchParams.set('audience', audience);
  const { status, retryAfter, text } = await get(address, requestToken);
  // A redirect would take the request token somewhere else.
  if (status !== 200) {
    const passes = status === 408 || status === 429 || status >= 500;
    const afterMs = retryAfterMs(retryAfter);
    throw new Refusal(`GitHub's token service at ${address.origin} answers with status ${status}`, { retry: passes, afterMs });
  }
  const token = tokenIn(text);
  if (token === undefined) throw new Refusal(`what answers at ${address.origin} is not GitHub's token service`, { retry: false });
  return token;
}

async function get(url: URL, requestToken: string) {
  // Few jobs ask here, and most commands look whether they could.
  const { createHttp } = await import('./http.ts');
  const http = createHttp();
  try {
    const answer = await http.request({
      method: 'GET',
      url,
      headers: { authorization: `Bearer ${requestToken}`, accept: 'application/json; api-version=2.0' },
      signal: AbortSignal.timeout(limits.requestTimeoutMs),
    });
    return {
      status: answer.status,
      retryAfter: answer.header('retry-after'),
      text: (await answer.bytes(answerSizeBytes)).toString('utf8'),
    };
  } catch (error) {
    if (isChainloopError(error, 'LIMIT_EXCEEDED')) {
      throw new Refusal(`the answer of ${url.origin} is larger than ${answerSizeBytes} bytes`, { retry: false });
    }
    // Its own message may carry the URL.
    throw new Refusal(`GitHub's token service at ${url.origin} does not answer`, { retry: true }, error);
  } finally {
    http.close();
  }
}

function tokenIn(text: string): string | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    const value = typeof parsed === 'object' && parsed !== null && 'value' in parsed ? parsed.value : undefined;
    return typeof value === 'string' && value !== '' ? value : undefined;
  } catch {
    return undefined;
  }
}

function isSet(text: string | undefined): text is string {
  return text !== undefined && text.trim() !== '';
}
