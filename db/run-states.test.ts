import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import fc from 'fast-check';
import { isChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { forEachDatabase, newOrganization } from '../test/databases.ts';
import { newWorkflow, openedRun, someAttested } from './fixtures.ts';
import { endRun, expireRuns, openRun, pushRun } from './run-states.ts';
import { describeRun, listMaterials } from './runs.ts';
import { databaseRefusal } from './violation.ts';
import { describeWorkflow } from './workflows.ts';

const now = new Date('2026-11-23T10:00:00Z');
const later = new Date('2026-11-24T10:00:00Z');

forEachDatabase('the same key opens the same run, once, also eight times at once', async (_, database) => {
  const { scope } = await newOrganization(database);
  const workflow = await newWorkflow(scope);
  const run = { workflowId: workflow.id, runner: { authenticated: false }, idempotencyKey: randomUUID(), expiresAt: later };
  const opened = await Promise.all(Array.from({ length: 8 }, () => openRun(scope, run)));
  assert.equal(new Set(opened.map(({ id }) => id)).size, 1);
  const counted = await describeWorkflow(scope, workflow);
  assert.equal(counted.runsCount, 1);
  assert.deepEqual([counted.lastRunId, counted.lastRunState, counted.lastRunAt], [opened[0]?.id, 'initialized', opened[0]?.createdAt]);
});

forEachDatabase('a run pins the revision that was asked for, else the latest', async (_, database) => {
  const { scope } = await newOrganization(database);
  const workflow = await newWorkflow(scope);
  const run = await openedRun(scope, workflow.id);
  assert.deepEqual(
    [run.contractName, run.contractRevision, run.workflow, run.project, run.state],
    [workflow.contractName, 1, workflow.name, workflow.project, 'initialized'],
  );
  await assert.rejects(
    openRun(scope, {
      workflowId: workflow.id,
      contractRevision: 7,
      runner: { authenticated: false },
      idempotencyKey: randomUUID(),
      expiresAt: later,
    }),
    (error) => isChainloopError(error, 'NOT_FOUND'),
  );
  await assert.rejects(openedRun(scope, randomUUID()), (error) => isChainloopError(error, 'NOT_FOUND'));
});

forEachDatabase(
  'runs are not opened without end: a workflow has room for so many, and the same key still gives its run',
  async (_, database) => {
    const { scope } = await newOrganization(database);
    const workflow = await newWorkflow(scope);
    const key = randomUUID();
    const first = await openedRun(scope, workflow.id, later, key);
    const count = (open: number) =>
      scope.run((tx) =>
        tx.execute(sql`update workflows set runs_count = ${open}, runs_initialized = ${open} where id = ${workflow.id}::uuid`),
      );
    await count(limits.openRuns);
    await assert.rejects(
      openedRun(scope, workflow.id),
      (error) => isChainloopError(error, 'LIMIT_EXCEEDED') && /1000 runs are open/.test(error.message),
    );
    assert.equal((await openedRun(scope, workflow.id, later, key)).id, first.id);
    await count(limits.openRuns - 1);
    await openedRun(scope, workflow.id);
  },
);

forEachDatabase('of eight pushes at once exactly one is accepted, the others are the same', async (_, database) => {
  const { scope } = await newOrganization(database);
  const workflow = await newWorkflow(scope);
  const run = await openedRun(scope, workflow.id);
  const attested = someAttested('one');
  const outcomes = await Promise.all(Array.from({ length: 8 }, () => pushRun(scope, run.id, attested, now)));
  assert.deepEqual(outcomes.map(({ type }) => type).sort(), ['accepted', ...Array.from({ length: 7 }, () => 'same')]);
  assert.deepEqual(await pushRun(scope, run.id, someAttested('two'), now), { type: 'finished', state: 'success' });
  assert.equal((await listMaterials(scope, run.id)).length, attested.materials.length);
  const counted = await describeWorkflow(scope, workflow);
  assert.deepEqual([counted.runsCount, counted.runsInitialized, counted.runsSuccess, counted.lastRunState], [1, 0, 1, 'success']);
});

forEachDatabase('a success keeps what the bundle said', async (_, database) => {
  const { scope } = await newOrganization(database);
  const run = await openedRun(scope, (await newWorkflow(scope)).id);
  const attested = someAttested('kept');
  await pushRun(scope, run.id, attested, now);
  const { materials, collected: _collected, effects: _effects, ...summary } = attested;
  const described = await describeRun(scope, run.id);
  assert.deepEqual(described, { ...run, ...summary, state: 'success', finishedAt: now });
  assert.deepEqual(await listMaterials(scope, run.id), [
    { ...materials[0], digest: null, fileName: null, sizeBytes: null, tag: null },
    { ...materials[1], tag: null, value: null },
  ]);
});

forEachDatabase('a run whose time is over is expired, before and after the sweep', async (_, database) => {
  const { scope } = await newOrganization(database);
  const workflow = await newWorkflow(scope);
  const run = await openedRun(scope, workflow.id, later);
  assert.deepEqual(await pushRun(scope, run.id, someAttested('late'), later), { type: 'expired' });
  assert.ok((await expireRuns(database.system, later, 1000)) >= 1);
  assert.deepEqual(await pushRun(scope, run.id, someAttested('late'), now), { type: 'expired' });
  assert.deepEqual(await endRun(scope, run.id, { state: 'cancelled', reason: '', now }), { type: 'expired' });
  const counted = await describeWorkflow(scope, workflow);
  assert.deepEqual([counted.runsInitialized, counted.runsExpired, counted.lastRunState], [0, 1, 'expired']);
});

forEachDatabase('a run is ended once, and keeps why', async (_, database) => {
  const { scope } = await newOrganization(database);
  const run = await openedRun(scope, (await newWorkflow(scope)).id);
  assert.deepEqual(await endRun(scope, run.id, { state: 'failed', reason: 'tests are red', now }), { type: 'ended' });
  assert.deepEqual(await endRun(scope, run.id, { state: 'failed', reason: 'again', now }), { type: 'same' });
  assert.deepEqual(await endRun(scope, run.id, { state: 'cancelled', reason: '', now }), { type: 'finished', state: 'failed' });
  assert.deepEqual(await pushRun(scope, run.id, someAttested('x'), now), { type: 'finished', state: 'failed' });
  assert.deepEqual(await endRun(scope, randomUUID(), { state: 'failed', reason: '', now }), { type: 'absent' });
  const { state, reason, finishedAt } = await describeRun(scope, run.id);
  assert.deepEqual({ state, reason, finishedAt }, { state: 'failed', reason: 'tests are red', finishedAt: now });
});

forEachDatabase('the database itself lets a run go forward only, and change nothing else', async (_, database) => {
  const { scope } = await newOrganization(database);
  const workflow = await newWorkflow(scope);
  const arrows = (id: string, change: string) =>
    scope
      .run((tx) => tx.execute(sql`update runs set ${sql.raw(change)} where id = ${id}`))
      .then(
        () => 'done',
        (error) => databaseRefusal(error)?.constraint,
      );
  for (const end of ['failed', 'cancelled', 'expired']) {
    const run = await openedRun(scope, workflow.id);
    assert.equal(await arrows(run.id, `state = '${end}', finished_at = now()`), 'done');
    for (const to of ['initialized', 'success', 'failed', 'cancelled', 'expired']) {
      assert.equal(await arrows(run.id, `state = '${to}'`), 'runs_arrows', `${end} → ${to}`);
    }
  }
  const open = await openedRun(scope, workflow.id);
  assert.equal(await arrows(open.id, `state = 'success', finished_at = now()`), 'runs_attested');
  assert.equal(await arrows(open.id, `state = 'failed'`), 'runs_finished');
  assert.equal(await arrows(open.id, `state = 'lost', finished_at = now()`), 'runs_state');
  assert.equal(await arrows(open.id, `state = 'failed', finished_at = now(), expires_at = now()`), 'runs_arrows');
});

forEachDatabase('after any sequence of steps the counters are the rows', async (_, database) => {
  const { scope } = await newOrganization(database);
  const workflow = await newWorkflow(scope);
  const steps = fc.array(fc.record({ run: fc.nat(4), step: fc.constantFrom('open', 'push', 'other', 'fail', 'cancel', 'expire') }), {
    maxLength: 12,
  });
  await fc.assert(
    fc.asyncProperty(steps, fc.uuid(), async (sequence, seed) => {
      const ids = await Promise.all(
        Array.from({ length: 5 }, async (_one, index) => (await openedRun(scope, workflow.id, later, `${seed}-${index}`)).id),
      );
      await Promise.all(
        sequence.map(({ run, step }) => {
          const id = ids[run] ?? '';
          if (step === 'open') return openedRun(scope, workflow.id, later, `${seed}-${run}`);
          if (step === 'push' || step === 'other') return pushRun(scope, id, someAttested(step), now);
          if (step === 'expire') return expireRuns(database.system, later, 2);
          return endRun(scope, id, { state: step === 'fail' ? 'failed' : 'cancelled', reason: step, now });
        }),
      );
      const { rows } = await scope.run((tx) =>
        tx.execute(sql`select count(*)::int as all, count(*) filter (where state = 'initialized')::int as initialized,
          count(*) filter (where state = 'success')::int as success, count(*) filter (where state = 'failed')::int as failed,
          count(*) filter (where state = 'cancelled')::int as cancelled, count(*) filter (where state = 'expired')::int as expired,
          (select runs from runner_counts where workflow_id = ${workflow.id}) as by_runner
          from runs where workflow_id = ${workflow.id}`),
      );
      const counted = await describeWorkflow(scope, workflow);
      assert.deepEqual(rows[0], {
        all: counted.runsCount,
        initialized: counted.runsInitialized,
        success: counted.runsSuccess,
        failed: counted.runsFailed,
        cancelled: counted.runsCancelled,
        expired: counted.runsExpired,
        by_runner: counted.runsCount,
      });
      assert.equal(counted.lastRunState, (await describeRun(scope, counted.lastRunId ?? '')).state);
    }),
    { numRuns: 8 },
  );
});
