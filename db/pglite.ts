import { Duplex } from 'node:stream';
import { PGlite } from '@electric-sql/pglite';
import pg from 'pg';
import type { Driver } from './client.ts';
import { lockFolder } from './folder-lock.ts';
import { migratePglite } from './migrate.ts';
import { driverOf } from './postgres.ts';

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
  // The user is PGlite's own; what the environment says of a PostgreSQL is not meant for it.
  const session = { user: 'postgres', password: 'any', database: 'postgres', host: 'localhost', ssl: false };
  const pool = new pg.Pool({ ...session, stream: () => connectionTo(client), pipeline: true, max: 1, idleTimeoutMillis: 0 });
  pool.on('error', () => {});
  pool.on('connect', (connection) => connection.on('error', () => {}));
  cleanup.defer(() => pool.end());
  const open = cleanup.move();
  return { kind: 'pglite', ...driverOf(pool), close: () => open.disposeAsync() };
}

/** What pg takes for a socket: what is written to it is a message to PGlite, which answers at once. */
function connectionTo(client: PGlite): Duplex {
  async function send(message: Uint8Array): Promise<void> {
    const answer: Buffer[] = [];
    await client.execProtocolRawStream(message, { onRawData: (bytes) => answer.push(Buffer.from(bytes)) });
    stream.push(Buffer.concat(answer));
  }
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
  });
  // There is one session: what an earlier connection left in it must not reach this one.
  async function begin(): Promise<void> {
    await client.exec('rollback');
    await client.exec('discard all');
    stream.emit('connect');
  }
  return Object.assign(stream, {
    connect: () => void begin().catch((error: Error) => stream.destroy(error)),
    setNoDelay() {},
    setKeepAlive() {},
    ref() {},
    unref() {},
  });
}
