import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { PGlite } from '@electric-sql/pglite';
import pg from 'pg';
import { socketsTo } from './pglite.ts';

/** Of PGlite there is one session, whatever pg takes for connections: what one leaves in it must never be another's. */
describe('connections to PGlite', () => {
  const session = { user: 'postgres', password: 'any', database: 'postgres', host: 'localhost', ssl: false };
  let database: PGlite;
  let stream: ReturnType<typeof socketsTo>;

  before(async () => {
    database = await PGlite.create();
    stream = socketsTo(database);
    await database.exec('create table pairs (transaction int, half text)');
  });
  beforeEach(() => database.exec('delete from pairs'));
  after(() => database.close());

  async function connected(): Promise<pg.Client> {
    const client = new pg.Client({ ...session, stream, pipeline: true });
    client.on('error', () => {});
    await client.connect();
    return client;
  }
  const insert = (client: pg.ClientBase, transaction: number, half: string) =>
    client.query({ name: 'insert', text: 'insert into pairs values ($1, $2)', values: [transaction, half] });
  /** As the next connection finds them. */
  const pairs = async (): Promise<readonly string[]> => {
    const client = await connected();
    const { rows } = await client.query<{ pair: string }>(
      `select transaction || string_agg(half, '' order by half) as pair from pairs group by transaction order by transaction`,
    );
    await client.end();
    return rows.map(({ pair }) => pair);
  };
  /** Commits the pair of this number in a transaction of its own. */
  async function whole(client: pg.ClientBase, transaction: number): Promise<void> {
    await client.query('begin');
    await insert(client, transaction, 'a');
    await insert(client, transaction, 'b');
    await client.query('commit');
  }

  test('a second one ends the transaction of the first, which can then say nothing more', async () => {
    const first = await connected();
    await first.query(`begin; set local role pg_monitor; set application_name = 'first'`);
    const second = await connected();
    const { rows } = await second.query(
      `select current_user as who, current_setting('application_name') as name, now() = statement_timestamp() as fresh`,
    );
    assert.deepEqual(rows, [{ who: 'postgres', name: '', fresh: true }]);
    await second.query('begin');
    await insert(second, 2, 'a');
    // Were it heard, it would commit half of what the second is doing.
    await assert.rejects(first.query('commit'));
    await assert.rejects(insert(first, 2, 'of the first'));
    await insert(second, 2, 'b');
    await second.query('rollback');
    await whole(second, 3);
    await Promise.allSettled([first.end(), second.end()]);
    assert.deepEqual(await pairs(), ['3ab']);
  });

  test('the end of an old one says nothing to the session of the new one', async () => {
    const first = await connected();
    await first.query('begin');
    await insert(first, 1, 'a');
    const second = await connected();
    await second.query('begin');
    await insert(second, 2, 'a');
    await Promise.allSettled([first.end()]);
    await insert(second, 2, 'b');
    await second.query('commit');
    await second.end();
    const third = await connected();
    await whole(third, 3);
    await third.end();
    assert.deepEqual(await pairs(), ['2ab', '3ab']);
  });

  test('what was sent and not yet heard when a connection breaks does not reach the next one', async () => {
    const first = await connected();
    await first.query('begin');
    const sent = [insert(first, 1, 'a'), insert(first, 1, 'b'), first.query('select pg_sleep(0.05)'), first.query('commit')];
    const settled = Promise.allSettled(sent);
    const second = await connected();
    await whole(second, 2);
    await settled;
    await Promise.allSettled([first.end(), second.end()]);
    const kept = await pairs();
    assert.ok(kept.includes('2ab') && kept.every((pair) => pair === '1ab' || pair === '2ab'), kept.join());
  });

  test('transactions that break anywhere leave whole pairs or nothing, and what was acknowledged is there', async () => {
    const pool = new pg.Pool({ ...session, stream, pipeline: true, max: 1, idleTimeoutMillis: 0 });
    pool.on('error', () => {});
    pool.on('connect', (client) => client.on('error', () => {}));
    const acknowledged = new Set<string>();
    const attempt = async (transaction: number): Promise<void> => {
      const client = await pool.connect();
      const failing = transaction % 4;
      try {
        client.query('begin').catch(() => {});
        await insert(client, transaction, 'a');
        if (failing === 1) await client.query('select 1 / 0');
        // Given back as broken, with what it sent still on its way.
        if (failing === 2) insert(client, transaction, 'b').catch(() => {});
        if (failing === 2 || failing === 3) throw new Error('the work failed');
        await insert(client, transaction, 'b');
        await client.query('commit');
        acknowledged.add(`${transaction}ab`);
        client.release();
      } catch {
        client.release(true);
      }
    };
    await Promise.all(Array.from({ length: 80 }, (_, index) => attempt(index)));
    await pool.end();
    const kept = await pairs();
    assert.deepEqual(new Set(kept), acknowledged);
    assert.equal(acknowledged.size, 20);
  });
});
