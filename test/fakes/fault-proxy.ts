import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { Writable } from 'node:stream';
import { listen } from './listen.ts';

/**
 * What goes wrong with a request that matches `method` and `path` (all, when absent), after `skip` matching ones went through
 * (default 0), for `times` of them (default 1). Bytes are those of the body.
 */
export type Fault = {
  readonly method?: string;
  /** Tested against path and query. */
  readonly path?: RegExp;
  readonly skip?: number;
  readonly times?: number;
} & (
  | { readonly type: 'status'; readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }
  /** The target gets `afterBytes` of the body, then both connections are reset. */
  | { readonly type: 'cutRequest'; readonly afterBytes: number }
  /** The client gets head and `afterBytes` of the body, then a reset. */
  | { readonly type: 'cutResponse'; readonly afterBytes: number }
  /** The target does its work; the client gets a reset instead of the answer. */
  | { readonly type: 'loseAnswer' }
  /** The request is read and never answered. */
  | { readonly type: 'hang' }
  /** The client gets head and `afterBytes` of the body, then silence. */
  | { readonly type: 'stallResponse'; readonly afterBytes: number }
  /** The body of the answer is changed in its first byte. */
  | { readonly type: 'corruptResponse' }
  | { readonly type: 'delay'; readonly delayMs: number }
  /** A slow link, both ways. */
  | { readonly type: 'slow'; readonly bytesPerSecond: number }
);

export type SeenRequest = {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly authorized: boolean;
  bodyBytes: number;
  /** Undefined while unanswered, and when the connection was reset. */
  status: number | undefined;
  fault: Fault['type'] | undefined;
};

export type FaultProxy = {
  readonly host: string;
  readonly origin: string;
  /** Every request, in the order of arrival. */
  readonly requests: readonly SeenRequest[];
  inject(...faults: readonly Fault[]): void;
  /** Faults that nothing has met yet. */
  armed(): number;
  /** From now on everything passes, but for what is under way. */
  clear(): void;
  /** Sum of the bytes of all request bodies that arrived. */
  bodyBytes(): number;
  [Symbol.asyncDispose](): Promise<void>;
};

/** A reverse proxy that passes everything on as it is (with the client's Host header), except for the faults. */
export async function startFaultProxy(options: { readonly target: string; readonly faults?: readonly Fault[] }): Promise<FaultProxy> {
  const target = new URL(options.target);
  const armed: { fault: Fault; skip: number; times: number }[] = [];
  const requests: SeenRequest[] = [];
  const inject = (...faults: readonly Fault[]) => {
    for (const fault of faults) armed.push({ fault, skip: fault.skip ?? 0, times: fault.times ?? 1 });
  };
  inject(...(options.faults ?? []));

  /** The first armed fault that matches; one that is skipping lets the next ones see the request. */
  function faultFor(method: string, path: string): Fault | undefined {
    for (const [index, row] of armed.entries()) {
      if ((row.fault.method ?? method) !== method || row.fault.path?.test(path) === false) continue;
      if (row.skip > 0) {
        row.skip--;
        continue;
      }
      if (--row.times === 0) armed.splice(index, 1);
      return row.fault;
    }
    return undefined;
  }

  const server = createServer((incoming, outgoing) => {
    const method = incoming.method ?? 'GET';
    const path = incoming.url ?? '/';
    const fault = faultFor(method, path);
    const seen: SeenRequest = {
      method,
      path,
      headers: incoming.headers,
      authorized: incoming.headers.authorization !== undefined,
      bodyBytes: 0,
      status: undefined,
      fault: fault?.type,
    };
    requests.push(seen);
    incoming.on('error', () => {});
    outgoing.on('error', () => {});
    if (fault?.type === 'status') {
      // Like a registry that refuses: answers at once and does not wait for the body.
      incoming.on('data', (piece: Buffer) => {
        seen.bodyBytes += piece.length;
      });
      seen.status = fault.status;
      outgoing.writeHead(fault.status, fault.headers).end(fault.body);
    } else if (fault?.type === 'hang') {
      incoming.on('data', (piece: Buffer) => {
        seen.bodyBytes += piece.length;
      });
    } else if (fault?.type === 'delay') setTimeout(() => pass(incoming, outgoing, seen, undefined, target), fault.delayMs);
    else pass(incoming, outgoing, seen, fault, target);
  });
  // A test may hold a request for longer than the defaults.
  server.requestTimeout = 0;
  const listening = await listen(server);
  return {
    ...listening,
    requests,
    inject,
    armed: () => armed.length,
    clear() {
      armed.length = 0;
    },
    bodyBytes: () => requests.reduce((sum, seen) => sum + seen.bodyBytes, 0),
  };
}

function pass(incoming: IncomingMessage, outgoing: ServerResponse, seen: SeenRequest, fault: Fault | undefined, target: URL): void {
  const reset = () => incoming.socket.resetAndDestroy();
  const upstream = request({
    host: target.hostname,
    port: target.port,
    method: seen.method,
    path: seen.path,
    headers: incoming.rawHeaders,
    agent: false,
  });
  upstream.on('error', reset);
  incoming.on('close', () => {
    if (!incoming.complete) upstream.destroy();
  });
  incoming.on('data', (piece: Buffer) => {
    const left = fault?.type === 'cutRequest' ? fault.afterBytes - seen.bodyBytes : piece.length;
    seen.bodyBytes += Math.min(piece.length, left);
    if (left <= piece.length && fault?.type === 'cutRequest') {
      incoming.pause();
      // The bytes before the cut do arrive: the target has them, the client gets no answer.
      upstream.write(piece.subarray(0, left), () => {
        upstream.destroy();
        reset();
      });
      return;
    }
    hand(piece, incoming, upstream, fault);
  });
  incoming.on('end', () => {
    if (fault?.type === 'cutRequest') {
      upstream.destroy();
      reset();
    } else upstream.end();
  });
  upstream.on('response', (answer) => answerBack(answer, incoming, outgoing, seen, fault));
}

/** Takes the next piece when this one is gone: over a slow link, when it would have arrived. */
function hand(piece: Buffer, from: IncomingMessage, to: Writable, fault: Fault | undefined): void {
  const isTaken = to.write(piece);
  const resume = (): unknown => from.resume();
  if (fault?.type === 'slow') {
    from.pause();
    setTimeout(() => (to.writableNeedDrain ? to.once('drain', resume) : resume()), (piece.length / fault.bytesPerSecond) * 1000);
  } else if (!isTaken) {
    from.pause();
    to.once('drain', resume);
  }
}

function answerBack(
  answer: IncomingMessage,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  seen: SeenRequest,
  fault: Fault | undefined,
): void {
  const reset = () => incoming.socket.resetAndDestroy();
  answer.on('error', reset);
  if (fault?.type === 'loseAnswer') {
    answer.resume();
    answer.on('end', reset);
    return;
  }
  if (fault?.type === 'cutRequest') return;
  const limit = fault?.type === 'cutResponse' || fault?.type === 'stallResponse' ? fault.afterBytes : Number.POSITIVE_INFINITY;
  seen.status = answer.statusCode;
  outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
  outgoing.flushHeaders();
  let sent = 0;
  answer.on('data', (piece: Buffer) => {
    if (sent >= limit) return;
    const part = piece.subarray(0, limit - sent);
    if (fault?.type === 'corruptResponse' && sent === 0 && part.length > 0) part[0] = (part[0] ?? 0) ^ 1;
    sent += part.length;
    if (sent >= limit) {
      answer.pause();
      outgoing.write(part, () => {
        if (fault?.type === 'cutResponse') reset();
      });
      return;
    }
    hand(part, answer, outgoing, fault);
  });
  answer.on('end', () => {
    if (limit === Number.POSITIVE_INFINITY) outgoing.end();
    else if (fault?.type === 'cutResponse') reset();
  });
}
