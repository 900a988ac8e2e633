import { once } from 'node:events';
import type { Server } from 'node:http';

/** Listens on a free port of a loopback address; closing ends the open connections too. */
export async function listen(
  server: Server,
  address = '127.0.0.1',
): Promise<{ readonly host: string; readonly origin: string; [Symbol.asyncDispose](): Promise<void> }> {
  server.listen(0, address);
  await once(server, 'listening');
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new Error('the server has no port');
  const host = `${address}:${bound.port}`;
  return {
    host,
    origin: `http://${host}`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
