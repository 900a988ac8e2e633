import { ChainloopError, type ErrorCode } from '../../errors.ts';
import { jsonValue } from '../../json-value.ts';
import { limits } from '../../limits.ts';
import type { HttpResponse } from '../http.ts';
import { HttpFailure } from '../http-failure.ts';
import { retryAfterMs, type Verdict } from '../retry.ts';

/** A registry that refused or failed a request; says whether another try may help. */
export class RegistryError extends ChainloopError {
  /** Undefined when there was no answer. */
  readonly status: number | undefined;
  /** The codes of the answer, as DIGEST_INVALID (distribution specification, "Error Codes"). */
  readonly registryCodes: readonly string[];
  readonly temporary: boolean;
  readonly afterMs: number | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    details: {
      readonly status?: number;
      readonly registryCodes?: readonly string[];
      readonly temporary?: boolean;
      readonly afterMs?: number | undefined;
      readonly cause?: unknown;
    } = {},
  ) {
    super(code, message, { cause: details.cause });
    this.status = details.status;
    this.registryCodes = details.registryCodes ?? [];
    this.temporary = details.temporary ?? false;
    this.afterMs = details.afterMs;
  }
}

/** What a failure of a registry says about trying again. */
export function judgeRegistry(error: unknown): Verdict {
  if (!(error instanceof RegistryError)) return { retry: false };
  return { retry: error.temporary, afterMs: error.afterMs };
}

/** Whom an error speaks of: `what` was attempted at `name` (`registry ghcr.io`); `advice` says how to log in there. */
export type Subject = { readonly name: string; readonly what: string; readonly advice: string };

/** The error of a connection that failed. Anything that is no HttpFailure is returned as it is. */
export function failureError(error: unknown, subject: Subject): unknown {
  if (!(error instanceof HttpFailure)) return error;
  const where = `${subject.name}: ${subject.what} failed`;
  const details = { cause: error };
  switch (error.reason) {
    case 'address':
      return new RegistryError('REGISTRY_ERROR', `${where}: ${error.message}`, details);
    case 'unknownHost':
      return new RegistryError('REGISTRY_UNAVAILABLE', `${where}: ${error.message}; check the name of the registry`, details);
    case 'tls':
      return new RegistryError(
        'REGISTRY_UNAVAILABLE',
        `${where}: ${error.message}; repair that, or trust a CA of your own with NODE_EXTRA_CA_CERTS`,
        details,
      );
    case 'unreachable':
    case 'broken':
    case 'timeout':
      return new RegistryError('REGISTRY_UNAVAILABLE', `${where}: ${error.message}; try again later`, { ...details, temporary: true });
  }
}

const temporaryStatuses = new Set([408, 425, 429, 500, 502, 503, 504]);

/** The error of an answer that was not expected; reads (the beginning of) its body. */
export async function answerError(response: HttpResponse, subject: Subject): Promise<RegistryError> {
  const text = await response.excerpt(limits.errorBodySizeBytes);
  const { codes, message } = parseErrors(text);
  const behind = behindOf(response);
  const { status } = response;
  const afterMs = retryAfterMs(response.header('retry-after'));
  const said = [String(status), ...codes.slice(0, 3)].join(' ') + (message === '' ? '' : `: ${message}`);
  const { code, advice, final }: ReturnType<typeof meaningOf> =
    behind === undefined
      ? meaningOf(status, codes, text, subject, afterMs)
      : { code: behind, advice: 'that is the storage behind it: its operator has to mend it', final: true };
  // A look-up is answered without a body, which would say it.
  const isUnopened = response.header('x-chainloop-error') === 'STORAGE_UNAVAILABLE';
  return new RegistryError(code, `${subject.name}: ${subject.what} failed (${said}); ${isUnopened ? unopened : advice}`, {
    status,
    registryCodes: codes,
    temporary: temporaryStatuses.has(status) && final !== true,
    afterMs,
  });
}

const unopened = 'its storage cannot be used: an operator of the organization is told why by: chainloop cas-backend check';

function meaningOf(
  status: number,
  codes: readonly string[],
  text: string,
  subject: Subject,
  afterMs: number | undefined,
): { code: ErrorCode; advice: string; final?: boolean } {
  if (codes.includes('DIGEST_INVALID'))
    return {
      code: 'DIGEST_MISMATCH',
      advice: 'the bytes changed while they were read or sent; try again with a file that nobody writes to',
    };
  // ENOSPC is 28; docker-registry answers 500 with the error of its file system inside.
  if (status === 507 || (status >= 500 && /no space left|"Err":28\b|disk quota/i.test(text)))
    return { code: 'DISK_FULL', advice: 'it has no space left: make room there and try again', final: true };
  if (status === 401) return { code: 'REGISTRY_UNAUTHORIZED', advice: subject.advice };
  if (status === 403) return { code: 'REGISTRY_UNAUTHORIZED', advice: `the account may not do this; ${subject.advice}` };
  if (status === 413) return { code: 'REGISTRY_ERROR', advice: 'it, or a proxy before it, limits the size of a request: raise that limit' };
  if (status === 429) {
    const when = afterMs === undefined ? 'later' : `in ${Math.ceil(afterMs / 1000)} s`;
    return { code: 'RATE_LIMITED', advice: `too many requests: try again ${when}` };
  }
  if (status === 404) return { code: 'REGISTRY_ERROR', advice: 'check the name of the repository, and that the account may see it' };
  if (temporaryStatuses.has(status)) return { code: 'REGISTRY_UNAVAILABLE', advice: 'it is in trouble: try again later' };
  if (status >= 300 && status < 400) return { code: 'REGISTRY_ERROR', advice: 'redirects are not followed here' };
  return { code: 'REGISTRY_ERROR', advice: 'its log says more' };
}

/** The body `{"errors":[{"code","message"}]}`; anything else is ignored. Control characters never reach a terminal. */
function parseErrors(text: string): { codes: string[]; message: string } {
  const parsed = jsonValue(text);
  const errors = isRecord(parsed) && Array.isArray(parsed.errors) ? parsed.errors.filter(isRecord) : [];
  const codes = errors.flatMap(({ code }) => (typeof code === 'string' && /^[A-Z0-9_]{1,40}$/.test(code) ? [code] : []));
  const messages = errors.flatMap(({ message }) =>
    typeof message === 'string'
      ? [
          withoutCredentials(message)
            .replace(/[^\x20-\x7e]/g, '?')
            .slice(0, 200),
        ]
      : [],
  );
  return { codes, message: messages[0] ?? '' };
}

/** Our gateway says what is wrong with the storage behind it (server/gateway/refusal.ts): that another try cannot help. */
function behindOf(response: HttpResponse): ErrorCode | undefined {
  const code = response.header('x-chainloop-error');
  if (response.status < 500) return undefined;
  return code === 'REGISTRY_UNAUTHORIZED' || code === 'REGISTRY_ERROR' || code === 'DIGEST_MISMATCH' ? code : undefined;
}

/** A registry may repeat what it was asked: signed queries, a user in a URL, an authorization. Not in our messages. */
function withoutCredentials(text: string): string {
  return text
    .slice(0, 1000)
    .replace(/\?\S*/g, '?')
    .replace(/:\/\/[^\s/@]*@/g, '://')
    .replace(/\b(Basic|Bearer)\s+\S+/gi, '$1');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
