import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** What stands in front of several servers: TCP, one connection after the other to each that says it is ready. */
export type Balancer = {
  readonly url: string;
  /** Those that get connections now. */
  ready(): readonly string[];
  [Symbol.asyncDispose](): Promise<void>;
};

const checkEveryMs = 100;

/** Asks `/readyz` of each target ten times a second; one that does not answer 200 gets no new connection. */
export async function startBalancer(targets: readonly string[]): Promise<Balancer> {
  let ready: readonly string[] = targets;
  let turn = 0;
  const check = async (): Promise<void> => {
    const states = await Promise.all(
      targets.map((url) =>
        fetch(`${url}/readyz`, { signal: AbortSignal.timeout(1_000) }).then(
          ({ ok }) => ok,
          () => false,
        ),
      ),
    );
    ready = targets.filter((_, index) => states[index]);
  };
  const timer = setInterval(() => void check(), checkEveryMs);
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const target = ready[turn++ % Math.max(1, ready.length)];
    if (target === undefined) return void client.destroy();
    const { hostname, port } = new URL(target);
    const upstream = connect(Number(port), hostname);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(from);
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        open.delete(from);
        to.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the balancer has no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    ready: () => ready,
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      server.close();
      for (const socket of open) socket.destroy();
      await once(server, 'close');
    },
  };
}
