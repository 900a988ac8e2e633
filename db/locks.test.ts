import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limits } from '../core/limits.ts';
import { forEachDatabase } from '../test/databases.ts';
import { startPostgres } from '../test/fakes/postgres.ts';
import { needs } from '../test/needs.ts';
import { connect } from './client.ts';
import { createLocks } from './locks.ts';

test('servers of one database work one at a time under one key, and at once under two', async (t) => {
  if (!needs(t, 'postgresql')) return;
  await using server = await startPostgres();
  const databaseUrl = await server.createDatabase();
  await using one = await connect({ databaseUrl });
  await using two = await connect({ databaseUrl });
  const servers = [createLocks(one), createLocks(two)];
  let working = 0;
  let count = 0;
  const works = Array.from({ length: 4 * limits.databaseLocks }, (_, index) =>
    servers[index % 2]?.exclusively('a tag', async () => {
      working++;
      assert.equal(working, 1);
      const before = count;
      await one.ping();
      count = before + 1;
      working--;
    }),
  );
  await Promise.all(works);
  assert.equal(count, works.length);

  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  await Promise.all([servers[0]?.exclusively('first', () => begun), servers[1]?.exclusively('second', async () => begin())]);
});

forEachDatabase('work that fails fails as it did, and the next one has its turn', async (_t, database) => {
  const locks = createLocks(database);
  for (let count = 0; count <= limits.databaseLocks; count++)
    await assert.rejects(
      locks.exclusively('a tag', async () => {
        throw new TypeError('broken');
      }),
      TypeError,
    );
  assert.equal(await locks.exclusively('a tag', async () => 'done'), 'done');
});
