import { lookup as resolveName } from 'node:dns';
import type { Agent, ClientRequest, IncomingMessage } from 'node:http';
import { isIP, type LookupFunction } from 'node:net';
import { ChainloopError } from '../errors.ts';
import { limits } from '../limits.ts';
import { failureOf, HttpFailure, redactUrl } from './http-failure.ts';

/** Bytes to send. `read` begins anew at every call; a piece may be reused by the source once the next one is asked for. */
export type BodySource = {
  /** Sent as Content-Length; without it the body goes in chunked coding. */
  readonly sizeBytes?: number | undefined;
  read(): AsyncIterable<Uint8Array>;
};

type HttpRequest = {
  readonly method: string;
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | BodySource | undefined;
  /** From the end of the request to the beginning of the answer. */
  readonly answerTimeoutMs?: number | undefined;
  /** Between two pieces of a body, in either direction. */
  readonly idleTimeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
};

export type HttpResponse = {
  readonly status: number;
  /** A header by its lower-case name. */
  header(name: string): string | undefined;
  /** The body; throws HttpFailure when it breaks off. Must be read to its end, or given up with `discard`. */
  readonly body: AsyncIterable<Uint8Array>;
  /** The whole body; LIMIT_EXCEEDED when it is longer. */
  bytes(maxSizeBytes: number): Promise<Buffer>;
  /** The beginning of the body, as text; never throws. */
  excerpt(maxSizeBytes: number): Promise<string>;
  discard(): void;
};

/** One HTTP exchange: no redirect is followed, nothing is tried again. Answers of any status resolve; only HttpFailure is thrown. */
export type Http = {
  request(request: HttpRequest): Promise<HttpResponse>;
  close(): void;
};

/** Pieces are written in slices, so that a slow link shows progress within the idle timeout: 512 KiB in 60 s are 9 KB/s. */
const sliceSizeBytes = 512 * 1024;

/**
 * Keep-alive HTTP/1.1 over node:http. Not `fetch`: that one keeps every streamed body in memory (nodejs/undici #4058) and does not
 * tell when a buffer was written. `allowAddress` is asked about the resolved address of every new connection.
 */
export function createHttp(
  options: {
    readonly allowAddress?: ((address: string) => boolean) | undefined;
    /** For tests. Default: limits.connectTimeoutMs. */
    readonly connectTimeoutMs?: number | undefined;
  } = {},
): Http {
  const { allowAddress, connectTimeoutMs = limits.connectTimeoutMs } = options;
  // The proxy that Node was told to use (NODE_USE_ENV_PROXY): not where addresses are judged, since it would resolve them.
  const proxied = process.env.NODE_USE_ENV_PROXY === '1' && allowAddress === undefined;
  const agentOptions = { keepAlive: true, ...(proxied && { proxyEnv: process.env }) };
  const agents = new Map<string, Agent>();
  const agentOf = (protocol: Protocol): Agent => {
    const agent = agents.get(protocol) ?? new (moduleOf(protocol).Agent)(agentOptions);
    agents.set(protocol, agent);
    return agent;
  };

  return {
    async request(request) {
      const { url } = request;
      const protocol = url.protocol === 'https:' ? 'https:' : 'http:';
      // Node would turn userinfo into an Authorization header.
      if (url.protocol !== protocol || url.username !== '' || url.password !== '')
        throw new HttpFailure('address', `${redactUrl(url)} is not a plain http(s) URL`);
      const hostname = url.hostname.replace(/^\[|\]$/g, '');
      if (allowAddress !== undefined && isIP(hostname) !== 0 && !allowAddress(hostname)) throw refusedAddress(hostname);
      request.signal?.throwIfAborted();

      const { body } = request;
      const sizeBytes = body instanceof Uint8Array ? body.byteLength : body?.sizeBytes;
      const outgoing = moduleOf(protocol).request(url, {
        method: request.method,
        headers: { ...request.headers, ...(sizeBytes === undefined ? {} : { 'content-length': String(sizeBytes) }) },
        agent: agentOf(protocol),
        ...(allowAddress === undefined ? {} : { lookup: guardedLookup(allowAddress) }),
        ...(request.signal === undefined ? {} : { signal: request.signal }),
      });
      return exchange(outgoing, request, connectTimeoutMs);
    },
    close() {
      for (const agent of agents.values()) agent.destroy();
    },
  };
}

type Protocol = 'http:' | 'https:';

/**
 * Not by import: that would read all that node:http has, also `WebSocket`, and for it Node loads its whole fetch, 30 ms and 12 MB of each
 * start. Nor before it is used: TLS is 3 MB more.
 */
function moduleOf(protocol: Protocol) {
  return process.getBuiltinModule(protocol === 'https:' ? 'node:https' : 'node:http');
}

const timedOut = Object.assign(new Error('no connection'), { code: 'ETIMEDOUT' });

function exchange(outgoing: ClientRequest, request: HttpRequest, connectTimeoutMs: number): Promise<HttpResponse> {
  const { body } = request;
  const idleTimeoutMs = request.idleTimeoutMs ?? limits.idleTimeoutMs;
  const what = `${request.method} ${redactUrl(request.url)}`;
  const fail = (error: unknown) => {
    if (error instanceof HttpFailure || error instanceof ChainloopError) return error;
    if (request.signal?.aborted === true) return request.signal.reason;
    return failureOf(error, what, !connected);
  };
  let connected = false;
  return new Promise((resolve, reject) => {
    const silent = (ms: number) => outgoing.destroy(new HttpFailure('timeout', `${what}: no sign of life for ${ms / 1000} s`));
    let timer: NodeJS.Timeout | undefined;
    let stopped = false;
    let wake = () => {};
    const stop = () => {
      stopped = true;
      clearTimeout(timer);
      wake();
    };
    const write = (slice: Uint8Array) =>
      new Promise<void>((done) => {
        wake = done;
        // The callback, not the return value, says that the buffer may be used again.
        outgoing.write(slice, () => done());
      });

    outgoing.on('socket', (socket) => {
      connected = !socket.connecting;
      if (connected) return;
      socket.once('connect', () => {
        connected = true;
      });
      const late = setTimeout(() => outgoing.destroy(failureOf(timedOut, what, true)), connectTimeoutMs);
      for (const end of [request.url.protocol === 'https:' ? 'secureConnect' : 'connect', 'close'])
        socket.once(end, () => clearTimeout(late));
    });
    outgoing.on('error', (error) => {
      stop();
      reject(fail(error));
    });
    outgoing.on('response', (incoming) => {
      const early = !outgoing.writableEnded;
      stop();
      // The rest of the body was never sent, so the connection cannot serve another request.
      if (early) incoming.on('close', () => outgoing.destroy());
      resolve(createResponse(incoming, idleTimeoutMs, what, fail));
    });

    async function send(source: BodySource): Promise<void> {
      // Only writing counts: a slow source is no fault of the other side.
      let isWriting = false;
      timer = setTimeout(() => isWriting && silent(idleTimeoutMs), idleTimeoutMs);
      for await (const piece of source.read()) {
        isWriting = true;
        for (let start = 0; start < piece.byteLength && !stopped; start += sliceSizeBytes) {
          timer.refresh();
          await write(piece.subarray(start, start + sliceSizeBytes));
        }
        isWriting = false;
        if (stopped) return;
      }
    }
    const finish = () => {
      if (stopped) return;
      outgoing.end();
      clearTimeout(timer);
      const timeoutMs = request.answerTimeoutMs ?? limits.requestTimeoutMs;
      timer = setTimeout(silent, timeoutMs, timeoutMs);
    };
    if (body === undefined) finish();
    else {
      const source = body instanceof Uint8Array ? { read: () => once(body) } : body;
      // A source that fails (a file that changed, a client that went away) ends the request with its own error.
      send(source).then(finish, (error: unknown) => {
        stop();
        outgoing.destroy();
        reject(error);
      });
    }
  });
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function createResponse(incoming: IncomingMessage, idleTimeoutMs: number, what: string, fail: (error: unknown) => unknown): HttpResponse {
  // A break after the head is seen by whoever reads the body.
  incoming.on('error', () => {});

  async function* read(): AsyncGenerator<Buffer> {
    const pieces: AsyncIterator<Buffer> = incoming.iterator();
    try {
      for (;;) {
        // Only waiting counts: a slow reader is no fault of the other side.
        const timer = setTimeout(
          () => incoming.destroy(new HttpFailure('timeout', `${what}: no byte of the answer for ${idleTimeoutMs / 1000} s`)),
          idleTimeoutMs,
        );
        const next = await pieces.next().finally(() => clearTimeout(timer));
        if (next.done === true) return;
        yield next.value;
      }
    } catch (error) {
      throw fail(error);
    } finally {
      incoming.destroy();
    }
  }

  return {
    status: incoming.statusCode ?? 0,
    header(name) {
      const value = incoming.headers[name];
      return typeof value === 'string' ? value : value?.join(', ');
    },
    body: { [Symbol.asyncIterator]: read },
    async bytes(maxSizeBytes) {
      const pieces: Buffer[] = [];
      let sizeBytes = 0;
      for await (const piece of read()) {
        sizeBytes += piece.byteLength;
        if (sizeBytes > maxSizeBytes)
          throw new ChainloopError('LIMIT_EXCEEDED', `${what}: the answer is larger than ${maxSizeBytes} bytes`);
        pieces.push(piece);
      }
      return Buffer.concat(pieces);
    },
    async excerpt(maxSizeBytes) {
      const pieces: Buffer[] = [];
      let sizeBytes = 0;
      try {
        for await (const piece of read()) {
          pieces.push(piece.subarray(0, maxSizeBytes - sizeBytes));
          sizeBytes += piece.byteLength;
          if (sizeBytes >= maxSizeBytes) break;
        }
      } catch {
        // What arrived is all there is to say.
      }
      return Buffer.concat(pieces).toString('utf8');
    },
    discard() {
      const announced = Number(incoming.headers['content-length'] ?? Number.POSITIVE_INFINITY);
      if (announced <= limits.errorBodySizeBytes) incoming.resume();
      else incoming.destroy();
    },
  };
}

/** Resolves all addresses and refuses the name when one of them is not allowed, whichever would have been taken. */
function guardedLookup(allowAddress: (address: string) => boolean): LookupFunction {
  return (hostname, options, callback) => {
    resolveName(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, '', 0);
      const refused = addresses.find(({ address }) => !allowAddress(address));
      if (refused !== undefined) return callback(refusedAddress(hostname), '', 0);
      const first = addresses[0];
      if (options.all === true) callback(null, addresses);
      else callback(null, first?.address ?? '', first?.family ?? 0);
    });
  };
}

function refusedAddress(host: string): HttpFailure {
  return new HttpFailure('address', `${host} leads to an address that must not be called from here`);
}
