import { TRPCError } from '@trpc/server';
import * as z from 'zod';
import { ChainloopError, type ErrorCode, errorTable, isChainloopError, type Problem } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { databaseRefusal } from '../db/violation.ts';

/** What of an error may leave the server. */
export type PublicError = {
  readonly code: ErrorCode;
  readonly message: string;
  readonly httpStatus: number;
  readonly problems?: readonly Problem[];
};

/**
 * Our own errors keep code, message and problems. Input that fails its schema is USAGE, with every problem (at most 20). Everything
 * else is INTERNAL and says nothing but the request id: its message may hold SQL, paths or somebody's data.
 */
export function publicError(error: unknown, requestId: string): PublicError {
  if (isChainloopError(error)) return ours(error);
  if (error instanceof TRPCError) {
    if (isChainloopError(error.cause)) return ours(error.cause);
    if (error.cause instanceof z.ZodError) return ours(usageOf(error.cause));
    switch (error.code) {
      case 'NOT_FOUND':
        return ours(
          new ChainloopError('NOT_FOUND', 'request: this server has no such procedure; its version may differ from that of the client'),
        );
      case 'BAD_REQUEST':
      case 'PARSE_ERROR':
      case 'METHOD_NOT_SUPPORTED':
      case 'UNSUPPORTED_MEDIA_TYPE':
        return ours(new ChainloopError('USAGE', 'request: it is not a call of this API: method, content type, batch or JSON are wrong'));
    }
  }
  // 22021, 22P05: the one character that PostgreSQL's text cannot hold.
  const state = databaseRefusal(error)?.state;
  if (state === '22021' || state === '22P05')
    return ours(new ChainloopError('USAGE', 'request: a text contains a NUL character; remove it'));
  return ours(new ChainloopError('INTERNAL', `internal error; request id ${requestId}`));
}

function ours(error: ChainloopError): PublicError {
  const { code, message } = error;
  const problems = error.problems.slice(0, limits.problems);
  return { code, message, httpStatus: errorTable[code].http, ...(problems.length > 0 && { problems }) };
}

function usageOf(error: z.ZodError): ChainloopError {
  const problems = error.issues.slice(0, limits.problems).map((issue): Problem => {
    const path = issue.path.map((key) => String(key).slice(0, 64)).join('.');
    return { path: path === '' ? 'input' : path, message: issue.message.slice(0, limits.textLength) };
  });
  const more = error.issues.length > problems.length ? `; and ${error.issues.length - problems.length} more` : '';
  return new ChainloopError('USAGE', `request: ${problems.map(({ path, message }) => `${path}: ${message}`).join('; ')}${more}`, {
    problems,
  });
}
