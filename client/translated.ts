import { ChainloopError, type ErrorCode, isChainloopError, isErrorCode, type Problem } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { Connection } from './connection.ts';

type Call = (...args: never[]) => unknown;

/** The same client, whose promises are rejected with ChainloopError instead of the transport's own error. */
export function translated<T extends object>(client: T, connection: Connection): T {
  const wrap = (value: unknown): unknown => (isCall(value) ? translated(value, connection) : value);
  return new Proxy(client, {
    get: (target, key) => wrap(Reflect.get(target, key)),
    apply(target, self, args) {
      const result: unknown = isCall(target) ? Reflect.apply(target, self, args) : undefined;
      if (!(result instanceof Promise)) return result;
      return result.catch((error: unknown) => {
        throw errorOf(error, connection);
      });
    },
  });
}

function isCall(value: unknown): value is Call {
  return typeof value === 'function';
}

/** What the server said, or the error of our own transport, whichever is in there. Anything else is a defect and stays what it is. */
function errorOf(error: unknown, connection: Connection): unknown {
  for (let inner = error; inner instanceof Error; inner = inner.cause) {
    if (isChainloopError(inner)) return inner;
  }
  if (!(error instanceof Error) || !('data' in error)) return error;
  const data = error.data;
  if (typeof data !== 'object' || data === null || !('code' in data)) return error;
  const code: ErrorCode = isErrorCode(data.code) ? data.code : 'INTERNAL';
  const problems = 'problems' in data && Array.isArray(data.problems) ? data.problems.slice(0, limits.problems).flatMap(problemOf) : [];
  return new ChainloopError(code, error.message + skew(code, connection), { problems });
}

/** A request that the other end does not understand is most often one from another version. */
function skew(code: ErrorCode, { version, serverVersion }: Connection): string {
  const differs = version !== '' && serverVersion !== '' && version !== serverVersion;
  if (!differs || (code !== 'USAGE' && code !== 'NOT_FOUND' && code !== 'INTERNAL')) return '';
  return ` (this is chainloop ${version}, the control plane has ${serverVersion})`;
}

function claimOf(value: object): Pick<Problem, 'claim'> {
  const claim = 'claim' in value ? value.claim : undefined;
  if (typeof claim !== 'object' || claim === null) return {};
  const text = (key: string): string => {
    const found: unknown = Reflect.get(claim, key);
    return typeof found === 'string' ? found : '';
  };
  return { claim: { binding: text('binding'), expected: text('expected'), found: text('found') } };
}

function problemOf(value: unknown): readonly Problem[] {
  if (typeof value !== 'object' || value === null || !('message' in value) || typeof value.message !== 'string') return [];
  const { message } = value;
  const path = 'path' in value && typeof value.path === 'string' ? value.path : undefined;
  const line = 'line' in value && typeof value.line === 'number' ? value.line : undefined;
  const column = 'column' in value && typeof value.column === 'number' ? value.column : undefined;
  return [{ message, path, line, column, ...claimOf(value) }];
}
