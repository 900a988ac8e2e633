import { createServer } from 'node:http';
import { ChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';

/** Where the browser of a login comes back to, on this machine (RFC 8252, section 7.3). */
export type Loopback = {
  readonly port: number;
  /** The code, once. UNAUTHENTICATED when the provider refused, or nobody came in time. */
  readonly code: Promise<string>;
  [Symbol.asyncDispose](): Promise<void>;
};

/**
 * Listens on a free port of 127.0.0.1 for the browser that knows `state`. Whatever else comes, from a foreign page that guesses the port or by
 * another name of this machine, is refused, and changes nothing.
 */
export async function awaitBrowser(state: string): Promise<Loopback> {
  const { promise: code, resolve, reject } = Promise.withResolvers<string>();
  // It may fail before anybody waits for it.
  code.catch(() => undefined);
  const server = createServer({ headersTimeout: 10_000 }, (request, response) => {
    const answer = (status: number, text: string): void => {
      const headers = { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' };
      response.writeHead(status, { ...headers, connection: 'close', 'x-content-type-options': 'nosniff' }).end(text);
    };
    const url = URL.parse(request.url ?? '', `http://127.0.0.1:${port}`);
    const isOurs = url?.pathname === '/callback' && request.method === 'GET' && request.headers.host === `127.0.0.1:${port}`;
    if (!isOurs || url.searchParams.get('state') !== state) return answer(400, 'This is no answer to a login of this terminal.\n');
    const given = url.searchParams.get('code');
    if (given === null) {
      const why = (url.searchParams.get('error_description') ?? url.searchParams.get('error') ?? 'without a reason').slice(0, 200);
      reject(new ChainloopError('UNAUTHENTICATED', `login: the provider refused it: ${why}`));
      return answer(200, 'You are not logged in. Go back to the terminal, which says more.\n');
    }
    resolve(given);
    answer(200, 'Go back to the terminal: it ends the login. You may close this window.\n');
  });
  await new Promise<void>((listening, failed) => server.once('error', failed).listen(0, '127.0.0.1', listening));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const timer = setTimeout(
    () => reject(new ChainloopError('UNAUTHENTICATED', 'login: nobody came back from the browser; begin again')),
    limits.loginMs,
  );
  return {
    port,
    code,
    async [Symbol.asyncDispose]() {
      clearTimeout(timer);
      server.close();
      server.closeIdleConnections();
    },
  };
}
