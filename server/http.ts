import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { getRequestListener, type HttpBindings } from '@hono/node-server';
import { Hono } from 'hono';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { recordAct } from '../db/audit.ts';
import type { Authenticate } from './actor.ts';
import { createApi } from './api.ts';
import { auditActor } from './audit-actor.ts';
import { readBytes } from './body.ts';
import { type Gateway, gatewayServerOptions } from './gateway/index.ts';
import { callbackPath } from './login/login.ts';
import { relayLogin } from './login/relay.ts';
import { runPage } from './run-page.ts';
import type { Services } from './trpc.ts';
import { publicError } from './wire-error.ts';

export type HttpOptions = {
  readonly services: Services;
  readonly gateway: Gateway['handle'];
  readonly authenticate: Authenticate;
  readonly version: string;
  /** Serves /metrics without a token: nobody but this machine can connect. */
  readonly openMetrics: boolean;
  /** More are closed at once. */
  readonly maxConnections: number;
  readonly timeouts?: Timeouts | undefined;
};

/** How long a client may take for the head of a request, and for the body of a call; uploads have their own limits in the gateway. */
export type Timeouts = { readonly headMs: number; readonly bodyMs: number };
const defaultTimeouts: Timeouts = { headMs: 10_000, bodyMs: limits.requestTimeoutMs };
/** A connection on which nothing moves. */
const silenceTimeoutMs = 2 * limits.idleTimeoutMs;

/** The server, and the switches that stop it: a retiring one answers as ever but for /readyz; a draining one has 503 and Retry-After for whatever is new. */
export type HttpServer = {
  readonly server: Server;
  retire(): void;
  drain(): void;
  /** Requests that are being answered. */
  inFlight(): number;
};

/** `/v2` goes to the gateway as it is, the rest to hono. Every answer has a request id, in `x-request-id`. */
export function createHttpServer(options: HttpOptions): HttpServer {
  const { log, metrics } = options.services;
  const { headMs } = options.timeouts ?? defaultTimeouts;
  let retiring = false;
  let draining = false;
  let inFlight = 0;
  const listener = getRequestListener(createApp(options, () => retiring).fetch, { overrideGlobalObjects: false });

  const server = createServer(
    { ...gatewayServerOptions, headersTimeout: headMs, connectionsCheckingInterval: headMs / 5, keepAliveTimeout: 65_000 },
    (request, response) => {
      const startedAt = performance.now();
      const requestId = randomUUID();
      const path = pathOf(request);
      const route = path.startsWith('/trpc/') ? 'trpc' : path === '/v2' || path.startsWith('/v2/') ? 'v2' : 'other';
      inFlight++;
      response.once('close', () => {
        inFlight--;
        const seconds = (performance.now() - startedAt) / 1000;
        metrics.request(route, response.statusCode, seconds);
        log.debug({ requestId, method: request.method, path, status: response.statusCode, seconds }, 'request');
      });
      response.setHeader('x-request-id', requestId);
      response.setHeader('x-content-type-options', 'nosniff');
      response.setHeader('x-chainloop-version', options.version);
      // The next request of this client goes to another server.
      if (retiring) response.setHeader('connection', 'close');
      if (draining && route !== 'other') return refuse(response, route);
      const answered = route === 'v2' ? options.gateway(request, response) : listener(request, response);
      answered.catch((error: unknown) => {
        log.error({ requestId, error }, 'request failed');
        if (response.headersSent) response.destroy();
        else
          answer(response, 500, route === 'v2' ? distributionError('UNKNOWN', 'internal error') : { error: publicError(error, requestId) });
      });
    },
  );
  const retire = (): void => {
    retiring = true;
  };
  const drain = (): void => {
    retiring = draining = true;
  };
  server.maxConnections = options.maxConnections;
  server.setTimeout(silenceTimeoutMs);
  return { server, retire, drain, inFlight: () => inFlight };
}

function createApp(options: HttpOptions, retiring: () => boolean): Hono<{ Bindings: HttpBindings }> {
  const { services, authenticate, version, openMetrics } = options;
  const { log, metrics, database } = services;
  const app = new Hono<{ Bindings: HttpBindings }>();
  const idOf = (response: { getHeader(name: string): unknown }): string => String(response.getHeader('x-request-id'));
  const { bodyMs } = options.timeouts ?? defaultTimeouts;
  const api = createApi({ services, authenticate, bodyTimeoutMs: bodyMs });

  app.all('/trpc/*', (c) => api(c.env.incoming, idOf(c.env.outgoing)));
  const countStamp = createAllowance(services.now);
  app.post('/tsa', (c) => {
    countStamp();
    return answerTimestampQuery(c.env.incoming, services, bodyMs);
  });
  app.get('/', (c) => c.json({ name: 'chainloop', version, api: '/trpc', registry: '/v2/', documentation: 'README.md' }));
  app.get('/runs/:id{[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}}', (c) => runPage(c.req.param('id')));
  app.get(callbackPath, (c) => relayLogin(services.login, c.req.url));
  app.get('/healthz', (c) => c.text('ok\n'));
  app.get('/readyz', async (c) => {
    if (retiring()) return c.text('stopping\n', 503);
    await database.ping();
    return c.text('ok\n');
  });
  app.get('/metrics', async (c) => {
    if (!openMetrics && (await authenticate(c.req.header('authorization'))).type !== 'owner') return c.notFound();
    return c.body(await metrics.text(), 200, { 'content-type': metrics.contentType });
  });
  app.get('/backup', async (c) => {
    const actor = await authenticate(c.req.header('authorization'));
    if (actor.type !== 'owner') return c.notFound();
    // Nobody would read it, and it holds the database until somebody does.
    if (c.req.method !== 'GET') return c.body(null, 405, { allow: 'GET' });
    // Everything leaves here: the log of the instance says so, in the backup too.
    const act = { action: 'backup.make', name: 'database', details: {} };
    if (database.kind === 'pglite') await recordAct(database.systemAs(auditActor(actor)), act);
    return backupOf(services);
  });
  app.notFound((c) =>
    c.json({ error: { code: 'NOT_FOUND', message: 'there is nothing here; the API is at /trpc, the registry at /v2/' } }, 404),
  );
  app.onError((error, c) => {
    const requestId = idOf(c.env.outgoing);
    const { httpStatus, ...body } = publicError(error, requestId);
    if (!isChainloopError(error)) log.error({ requestId, error }, 'request failed');
    return Response.json({ error: body }, { status: httpStatus, headers: body.code === 'RATE_LIMITED' ? { 'retry-after': '1' } : {} });
  });
  return app;
}

/**
 * The embedded database, which nobody else can open, as in db/dump.ts, compressed. What breaks off has no end: also when whoever reads it is so slow
 * that all others have waited for `holdMs`.
 */
export function backupOf({ database, log }: Pick<Services, 'database' | 'log'>, holdMs: number = limits.backupHoldMs): Response {
  if (database.kind !== 'pglite') {
    throw new ChainloopError('USAGE', 'backup: the records of this server are in PostgreSQL; run the command where DATABASE_URL is set');
  }
  const gzip = createGzip({ level: 3 });
  database
    .dump((lines) => pipeline(Readable.from(lines), gzip, { signal: AbortSignal.timeout(holdMs) }))
    .catch((error: unknown) => {
      log.error({ error }, 'backup failed');
      gzip.destroy();
    });
  return new Response(Readable.toWeb(gzip), { headers: { 'content-type': 'application/gzip' } });
}

/** RFC 3161, section 3.4. Open to all: a timestamp says that somebody had these bytes then, and nothing of anybody. */
async function answerTimestampQuery(request: IncomingMessage, { authority }: Services, timeoutMs: number): Promise<Response> {
  if (request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase() !== 'application/timestamp-query') {
    throw new ChainloopError('USAGE', 'timestamp: the body must be application/timestamp-query (RFC 3161, section 3.4)');
  }
  const query = await readBytes(request, limits.timestampRequestSizeBytes, timeoutMs);
  const reply = await authority.timestamp(new Uint8Array(query));
  return new Response(new Uint8Array(reply), { headers: { 'content-type': 'application/timestamp-reply' } });
}

/**
 * Nobody is known here, and behind a proxy all have one address: so it is for all together. Jobs are stamped by the API, with their token,
 * whatever others do here. RATE_LIMITED.
 */
function createAllowance(now: () => Date): () => void {
  let second = 0;
  let count = 0;
  return () => {
    const current = Math.floor(now().getTime() / 1000);
    if (current !== second) [second, count] = [current, 0];
    if (++count > limits.openTimestampsPerSecond) {
      throw new ChainloopError('RATE_LIMITED', 'timestamp: too many were asked for; try again in a second');
    }
  };
}

function refuse(response: ServerResponse, route: 'trpc' | 'v2'): void {
  const message = 'the control plane is stopping; try again in a moment';
  response.setHeader('retry-after', '1');
  response.setHeader('connection', 'close');
  const data = { code: 'CONTROL_PLANE_UNREACHABLE', httpStatus: 503, requestId: String(response.getHeader('x-request-id')) };
  answer(response, 503, route === 'v2' ? distributionError('UNAVAILABLE', message) : { error: { message, code: -32603, data } });
}

/** OCI distribution specification, "Error Codes". */
function distributionError(code: string, message: string): unknown {
  return { errors: [{ code, message }] };
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

function pathOf(request: IncomingMessage): string {
  const url = request.url ?? '/';
  const query = url.indexOf('?');
  return query < 0 ? url : url.slice(0, query);
}
