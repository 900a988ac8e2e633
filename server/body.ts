import type { IncomingMessage } from 'node:http';
import { ChainloopError } from '../core/errors.ts';

/** The body of a request as text: `readBytes` in UTF-8. */
export async function readBody(request: IncomingMessage, limitBytes: number, timeoutMs: number): Promise<string> {
  return (await readBytes(request, limitBytes, timeoutMs)).toString('utf8');
}

/**
 * The body of a request, counted while it is read: neither a length that lies nor a missing one makes it larger than
 * `limitBytes`. Throws LIMIT_EXCEEDED at once (also before the first byte, when the length says so), and USAGE when the body is not
 * there in time, so that a slow sender holds nothing for long.
 */
export async function readBytes(request: IncomingMessage, limitBytes: number, timeoutMs: number): Promise<Buffer> {
  const tooLarge = (): ChainloopError =>
    new ChainloopError('LIMIT_EXCEEDED', `request: the body is larger than ${limitBytes} bytes; send less at once`);
  if (Number(request.headers['content-length'] ?? 0) > limitBytes) throw tooLarge();
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  const onData = (piece: Buffer): void => {
    sizeBytes += piece.length;
    if (sizeBytes > limitBytes) reject(tooLarge());
    else pieces.push(piece);
  };
  const onEnd = (): void => resolve(Buffer.concat(pieces));
  const onClose = (): void => {
    if (!request.readableEnded) reject(new ChainloopError('USAGE', 'request: the connection was closed before the body was complete'));
  };
  const timer = setTimeout(
    () => reject(new ChainloopError('USAGE', `request: the body was not complete after ${timeoutMs / 1000} s`)),
    timeoutMs,
  );
  request.on('data', onData).once('end', onEnd).once('close', onClose);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    // What still comes is drained by the listener (a little of it) and the connection closed.
    request.off('data', onData).off('end', onEnd).off('close', onClose).pause();
  }
}
