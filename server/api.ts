import type { IncomingMessage } from 'node:http';
import { fetchRequestHandler } from '@trpc/server/adapters/fetch';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { Actor, Authenticate } from './actor.ts';
import { readBody } from './body.ts';
import { appRouter } from './router.ts';
import type { Context, Services } from './trpc.ts';
import { publicError } from './wire-error.ts';

/** Bodies of all requests that are being read or answered, so that many large ones at once cannot take all memory. */
const maxBodiesSizeBytes = 256 * 1024 * 1024;

/** The calls with a body that need no token: the token of a CI system is in it, or the code of a login. */
const openPaths: ReadonlySet<string> = new Set([
  '/trpc/auth.exchange',
  ...['begin', 'finish', 'device', 'poll'].map((step) => `/trpc/session.${step}`),
]);

/** Answers the calls under `/trpc`. A body is read only for a known token (a small one also to exchange a token for one), only as JSON, and never past its limit. */
export function createApi(deps: {
  readonly services: Services;
  readonly authenticate: Authenticate;
  readonly bodyTimeoutMs: number;
}): (request: IncomingMessage, requestId: string) => Promise<Response> {
  const { services, authenticate, bodyTimeoutMs } = deps;
  let bodiesSizeBytes = 0;

  return async (request, requestId) => {
    const context = createContext(services, authenticate, request, requestId);
    let reservedBytes = 0;
    try {
      const open = isOpen(request);
      const maxSizeBytes = open ? limits.openRequestBodySizeBytes : limits.requestBodySizeBytes;
      const known = open || (await isKnown(context));
      const hasBody = request.method === 'POST' && known;
      if (hasBody) {
        assertPlainJson(request);
        reservedBytes = expectedSizeBytes(request, maxSizeBytes);
        bodiesSizeBytes += reservedBytes;
        if (bodiesSizeBytes > maxBodiesSizeBytes) {
          throw new ChainloopError('RATE_LIMITED', 'request: the server is busy with large requests; try again in a moment');
        }
      }
      const body = hasBody ? await readBody(request, maxSizeBytes, bodyTimeoutMs) : '';
      const init = request.method === 'POST' ? { method: 'POST', body } : { method: request.method ?? 'GET' };
      return await fetchRequestHandler({
        endpoint: '/trpc',
        req: new Request(new URL(request.url ?? '/', 'http://localhost'), { ...init, headers: { 'content-type': 'application/json' } }),
        router: appRouter,
        createContext: () => context,
        allowMethodOverride: true,
        maxBatchSize: limits.requestBatch,
        onError: ({ error, path }) => {
          const { code, message } = publicError(error, requestId);
          if (code === 'INTERNAL') services.log.error({ requestId, procedure: path, error }, 'call failed');
          else services.log.info({ requestId, procedure: path, code, message }, 'call refused');
        },
      });
    } catch (error) {
      return refusal(error, requestId, services);
    } finally {
      bodiesSizeBytes -= reservedBytes;
    }
  };
}

function createContext(services: Services, authenticate: Authenticate, request: IncomingMessage, requestId: string): Context {
  let actor: Promise<Actor> | undefined;
  const { authorization } = request.headers;
  const organization = request.headers['x-chainloop-organization'];
  const organizationName = typeof organization === 'string' && organization !== '' ? organization : undefined;
  return {
    services,
    requestId,
    actor: () => {
      actor ??= authenticate(authorization, callsOf(request), organizationName);
      return actor;
    },
    address: request.socket.remoteAddress ?? '',
    organizationName,
  };
}

/** True for a call that anybody may make. Its body is read without a token, so it may be small only. In a batch, it is like the others. */
function isOpen(request: IncomingMessage): boolean {
  return openPaths.has((request.url ?? '').split('?', 1).join());
}

/**
 * An unknown token gets its error from the procedure; here it only means that its body is not worth reading. Whoever makes too many
 * requests, or comes when the database has no connection free, goes no further.
 */
async function isKnown(context: Context): Promise<boolean> {
  try {
    await context.actor();
    return true;
  } catch (error) {
    if (isChainloopError(error, 'RATE_LIMITED') || isChainloopError(error, 'CONTROL_PLANE_UNREACHABLE')) throw error;
    return false;
  }
}

/** The calls of a batch are in its path, with commas between them. */
function callsOf(request: IncomingMessage): number {
  const path = (request.url ?? '').split('?', 1).join();
  // As it is decoded before it is taken apart: %2C is a comma too.
  return path.split(/,|%2c/i).length;
}

function assertPlainJson(request: IncomingMessage): void {
  const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase();
  const encoding = request.headers['content-encoding'];
  if (type !== 'application/json' || (encoding !== undefined && encoding !== 'identity')) {
    throw new ChainloopError('USAGE', 'request: the body must be application/json, without a content encoding');
  }
}

/** What a body may take, before it is there: as much as it says, or as much as is allowed. */
function expectedSizeBytes(request: IncomingMessage, maxSizeBytes: number): number {
  const length = request.headers['content-length'];
  return length === undefined ? maxSizeBytes : Math.min(Number(length), maxSizeBytes);
}

/** Of a request that was not begun: the client may send it again whatever it is, and when, is said in Retry-After. */
function refusal(error: unknown, requestId: string, services: Services): Response {
  const { message, ...data } = publicError(error, requestId);
  if (data.code === 'INTERNAL') services.log.error({ requestId, error }, 'request failed');
  const retry = data.code === 'RATE_LIMITED' || data.code === 'CONTROL_PLANE_UNREACHABLE' ? { 'retry-after': '1' } : {};
  // JSON-RPC 2.0, "Error object": tRPC's client wants a number; ours reads data.code.
  const code = data.httpStatus >= 500 ? -32603 : -32600;
  return Response.json({ error: { message, code, data: { ...data, requestId } } }, { status: data.httpStatus, headers: retry });
}
