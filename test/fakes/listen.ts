import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import type { Server } from 'node:http';
import { createServer } from 'node:net';

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

/**
 * A free loopback port for a program that is told its port, or keeps it over a restart. It lies below those that systems hand out by
 * themselves: otherwise somebody else may be given it while the program is away.
 */
export async function freePort(): Promise<number> {
  for (let tries = 1; ; tries++) {
    const port = randomInt(10_000, 16_000);
    const server = createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch (error) {
      if (tries < 100) continue;
      throw error;
    }
    server.close();
    await once(server, 'close');
    return port;
  }
}
