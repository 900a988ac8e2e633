import type { IncomingMessage, ServerResponse } from 'node:http';
import { limits } from '../../core/limits.ts';
import type { DistributionError } from './errors.ts';

/**
 * Answers an error. A client that is still sending gets the answer at once, then the connection is closed: what it sends meanwhile is
 * thrown away for a moment, because closing at once would reset the connection before the answer is read.
 */
export async function refuse(request: IncomingMessage, response: ServerResponse, refusal: DistributionError): Promise<void> {
  if (response.socket === null || response.socket.destroyed) return;
  // Half an answer is out: cut it off, so that the client cannot take it for a whole one.
  if (response.headersSent) return void response.destroy();
  const body = Buffer.from(JSON.stringify(refusal));
  const lingers = isSendingMuch(request);
  response.writeHead(refusal.status, {
    ...refusal.headers,
    // An answer to HEAD has no body to say it in.
    ...(refusal.failure === undefined ? {} : { 'x-chainloop-error': refusal.failure }),
    'content-type': 'application/json',
    'content-length': String(body.byteLength),
    ...(lingers ? { connection: 'close' } : {}),
  });
  if (!lingers) return void response.end(body);
  response.write(body);
  await discard(request);
  response.end();
}

/** Small bodies are read to their end by node:http itself, and the connection lives on. */
function isSendingMuch(request: IncomingMessage): boolean {
  if (request.readableEnded) return false;
  const length = request.headers['content-length'];
  return request.headers['transfer-encoding'] !== undefined || Number(length ?? 0) > 64 * 1024;
}

function discard(request: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, limits.lingerTimeoutMs);
    request.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    request.resume();
  });
}
