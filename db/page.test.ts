import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sql } from 'drizzle-orm';
import { isChainloopError } from '../core/errors.ts';
import type { Paged } from '../core/wire.ts';
import { forEachDatabase, newOrganization } from '../test/databases.ts';
import { newWorkflow, openedRun } from './fixtures.ts';
import { after } from './page.ts';
import { listRuns } from './runs.ts';
import { runs } from './schema.ts';

forEachDatabase('pages neither skip nor repeat rows of one instant or a microsecond apart, while new rows arrive', async (_, database) => {
  const { id, scope } = await newOrganization(database);
  const workflow = await newWorkflow(scope);
  // Twelve of the same instant, nine with a microsecond between them: a Date would take these for one.
  await scope.run((tx) =>
    tx.execute(sql`insert into runs (org_id, workflow_id, contract_revision_id, idempotency_key, expires_at, created_at)
      select ${id}, ${workflow.id}, r.id, 'idempotency-key-' || n, now(), '2026-01-01T00:00:00.123456Z'::timestamptz + greatest(0, n - 12) * interval '1 microsecond'
      from generate_series(1, 21) n, contract_revisions r`),
  );
  const seen: string[] = [];
  let page: Paged<{ readonly id: string }> = { items: [] };
  do {
    page = await listRuns(scope, { limit: 4, cursor: page.nextCursor });
    seen.push(...page.items.map((run) => run.id));
    await openedRun(scope, workflow.id);
  } while (page.nextCursor !== undefined);
  assert.equal(seen.length, 21);
  const { rows } = await scope.read((tx) =>
    tx.execute<{ id: string }>(sql`select id from runs where created_at < '2026-02-01' order by created_at desc, id desc`),
  );
  assert.deepEqual(
    seen,
    rows.map((row) => row.id),
  );
});

forEachDatabase('the last page says that it is the last, also when it is full', async (_, database) => {
  const { scope } = await newOrganization(database);
  assert.deepEqual(await listRuns(scope, { limit: 2 }), { items: [] });
  const workflow = await newWorkflow(scope);
  const [one, two] = [await openedRun(scope, workflow.id), await openedRun(scope, workflow.id)];
  const { items, nextCursor } = await listRuns(scope, { limit: 2 });
  assert.deepEqual([items.map(({ id }) => id), nextCursor], [[two.id, one.id], undefined]);
});

for (const cursor of [
  '',
  'x',
  '{}',
  '["2026-01-01",1]',
  '["2026-01-01 00:00:00+00\'","c3c0f5a4-0a5b-4b62-8b6e-8f2c63b1f6a5"]',
  '["now()","x"]',
]) {
  test(`a cursor that no list gave is refused: ${cursor}`, () => {
    assert.throws(
      () => after(runs, Buffer.from(cursor).toString('base64url')),
      (error) => isChainloopError(error, 'USAGE'),
    );
  });
}
