import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

/** A pause between two tries to connect: PostgreSQL may be gone for long, and every server asks. */
const pauseMs = 1_000;

/**
 * Listens on a channel of PostgreSQL, on a connection of its own that is made anew whenever it is lost. `onSignal` gets what was sent, and
 * undefined after each connect: nobody knows what was said before. The answer ends it. A pooler in transaction mode passes no signals on.
 */
export function listen(config: pg.ClientConfig, channel: string, onSignal: (payload: string | undefined) => void): () => Promise<void> {
  const stopping = new AbortController();
  const { signal } = stopping;

  /** One connection, until it is lost. */
  async function session(): Promise<void> {
    const client = new pg.Client({ ...config, application_name: 'chainloop listen' });
    const lost = new Promise<void>((resolve) => {
      client.on('error', () => resolve()).on('end', () => resolve());
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    try {
      client.on('notification', ({ payload }) => onSignal(payload));
      await client.connect();
      await client.query(`listen ${channel}`);
      onSignal(undefined);
      await lost;
    } finally {
      await client.end().catch(() => {});
    }
  }

  async function keepListening(): Promise<void> {
    while (!signal.aborted) {
      await session().catch(() => {});
      await sleep(pauseMs * (0.5 + Math.random()), undefined, { signal }).catch(() => {});
    }
  }

  const done = keepListening();
  return async () => {
    stopping.abort();
    await done;
  };
}
