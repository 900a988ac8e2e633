import { Duplex } from 'node:stream';
import { PGlite } from '@electric-sql/pglite';
import pg from 'pg';
import type { Driver } from './client.ts';
import { lockFolder } from './folder-lock.ts';
import { migratePglite } from './migrate.ts';
import { driverOf } from './postgres.ts';

/** How pg connects to PGlite: the user is PGlite's own, and what the environment says of a PostgreSQL is not meant for it. */
export const session = { user: 'postgres', password: 'any', database: 'postgres', host: 'localhost', ssl: false };

/**
 * PGlite has one connection: transactions run one after the other. Its process is ours, so it is never unreachable. It is asked as
 * PostgreSQL is, with the same client: its own sends the five messages of a query one by one, and has each query planned anew.
 */
export async function openPglite(options: { readonly dataDir?: string; readonly snapshot?: Blob | undefined }): Promise<Driver> {
  await using cleanup = new AsyncDisposableStack();
  const lock = options.dataDir === undefined ? undefined : await lockFolder(options.dataDir);
  cleanup.defer(() => lock?.release());
  const client = await PGlite.create({
    ...(options.dataDir === undefined ? {} : { dataDir: options.dataDir }),
    ...(options.snapshot === undefined ? {} : { loadDataDir: options.snapshot }),
  });
  cleanup.defer(() => client.close());
  await migratePglite(client);
  const pool = new pg.Pool({ ...session, stream: socketsTo(client), pipeline: true, max: 1, idleTimeoutMillis: 0 });
  cleanup.defer(() => pool.end());
  const open = cleanup.move();
  const silence = { signal: async () => {}, listen: () => async () => {} };
  return { kind: 'pglite', ...driverOf(pool), ...silence, close: () => open.disposeAsync() };
}

/**
 * What pg takes for sockets: what is written to one is a message to PGlite, which answers at once. PGlite has one session, so the newest
 * connection has it alone: it finds nothing of an earlier one in it, and of that one nothing is heard any more, not even what it had sent.
 */
export function socketsTo(client: PGlite): () => Duplex {
  let owner: Duplex | undefined;
  let last: Promise<unknown> = Promise.resolve();
  /** One after the other. Who owns the session is looked at when it is their turn. */
  function inTurn<T>(fn: () => Promise<T>): Promise<T> {
    const turn = last.then(fn);
    last = turn.catch(() => {});
    return turn;
  }

  function connection(): Duplex {
    const send = (message: Uint8Array): Promise<void> =>
      inTurn(async () => {
        if (owner !== stream) throw new Error('Connection terminated: it is no longer the one to PGlite');
        const answer: Buffer[] = [];
        await client.execProtocolRawStream(message, { onRawData: (bytes) => answer.push(Buffer.from(bytes)) });
        stream.push(Buffer.concat(answer));
      });
    const begin = (): Promise<void> =>
      inTurn(async () => {
        await client.exec('rollback');
        await client.exec('discard all');
        stream.emit('connect');
      });
    const stream = new Duplex({
      read() {},
      write(message: Uint8Array, _encoding, done) {
        send(message).then(() => done(), done);
      },
      // The messages of one query come together, and are answered together.
      writev(messages, done) {
        send(Buffer.concat(messages.map(({ chunk }) => chunk))).then(() => done(), done);
      },
      final(done) {
        stream.push(null);
        done();
      },
      destroy(error, done) {
        if (owner === stream) owner = undefined;
        done(error);
      },
    });
    return Object.assign(stream, {
      connect() {
        owner = stream;
        begin().catch((error: Error) => stream.destroy(error));
      },
      setNoDelay() {},
      setKeepAlive() {},
      ref() {},
      unref() {},
    });
  }
  return connection;
}
