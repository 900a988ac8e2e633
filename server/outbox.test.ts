import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { ChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { describeCasBackend } from '../db/cas-backends.ts';
import { connect, type Database, type OrgScope } from '../db/client.ts';
import { newWorkflow, openedRun, someAttested } from '../db/fixtures.ts';
import {
  type ClaimedEffect,
  claimEffects,
  countEffects,
  effectsOfRun,
  extendLease,
  retryEffect,
  retryFailedEffects,
} from '../db/outbox.ts';
import { pushRun } from '../db/run-states.ts';
import { forEachDatabase, newOrganization } from '../test/databases.ts';
import { startPostgres } from '../test/fakes/postgres.ts';
import { collectGarbage } from '../test/garbage.ts';
import { needs } from '../test/needs.ts';
import { until } from '../test/until.ts';
import { createLog } from './log.ts';
import { type EffectHandler, type Outbox, type OutboxPolicy, startOutbox } from './outbox.ts';

/** Kinds of this test alone: the databases are shared by the tests of the file. */
const newKind = (): string => `test-${randomUUID().replaceAll(/[^a-z]/g, '')}`;

const quick: Partial<OutboxPolicy> = { pauseMs: 1, pollMs: 60_000 };

/** Pushes a run with these effects, and answers its id. */
async function pushed(scope: OrgScope, kinds: readonly string[]): Promise<string> {
  const workflow = await newWorkflow(scope);
  const run = await openedRun(scope, workflow.id);
  const { id } = await describeCasBackend(scope, 'default');
  const effects = kinds.map((kind, index) => ({ kind, step: index + 1, casBackendId: id }));
  assert.deepEqual(await pushRun(scope, run.id, someAttested(run.id, undefined, effects), new Date()), { type: 'accepted' });
  return run.id;
}

/** An outbox with these handlers, and what it logged. */
function started(database: Database, handlers: readonly EffectHandler[], policy: Partial<OutboxPolicy> = quick) {
  const log: string[] = [];
  const outbox = startOutbox({ database, handlers, policy, log: createLog('debug', { write: (line: string) => void log.push(line) }) });
  return { outbox, log };
}

/** Calls `when` back for each effect that was begun; resolves once it answered true. */
function handler(kind: string, run: (effect: ClaimedEffect, scope: OrgScope, signal: AbortSignal) => unknown): EffectHandler {
  return {
    kind,
    async run(scope, effect, signal) {
      await run(effect, scope, signal);
    },
  };
}

async function closing(outboxes: readonly Outbox[], fn: () => Promise<void>): Promise<void> {
  try {
    await fn();
  } finally {
    await Promise.all(outboxes.map((outbox) => outbox.close()));
  }
}

forEachDatabase('effects are there if and only if the push happened, once, and are gone when they are done', async (_, database) => {
  const { scope } = await newOrganization(database);
  const kind = newKind();
  const workflow = await newWorkflow(scope);
  const run = await openedRun(scope, workflow.id);
  const { id: casBackendId } = await describeCasBackend(scope, 'default');
  const attested = (name: string) => someAttested(name, undefined, [{ kind, step: 1, casBackendId }]);
  const outcomes = await Promise.all(['a', 'b', 'a', 'b'].map((name) => pushRun(scope, run.id, attested(name), new Date())));
  assert.equal(outcomes.filter(({ type }) => type === 'accepted').length, 1);
  assert.deepEqual(
    (await effectsOfRun(scope, run.id)).map((effect) => [effect.kind, effect.state, effect.attempts]),
    [[kind, 'pending', 0]],
  );
  const done = Promise.withResolvers<string>();
  const { outbox } = started(database, [handler(kind, ({ runId }) => done.resolve(runId))]);
  await closing([outbox], async () => assert.equal(await done.promise, run.id));
  assert.deepEqual(await effectsOfRun(scope, run.id), []);
});

forEachDatabase('two workers share the effects, and none is done twice', async (t, database) => {
  const { scope } = await newOrganization(database);
  const kind = newKind();
  const runs = await Promise.all(Array.from({ length: 40 }, () => pushed(scope, [kind])));
  const seen: string[][] = [[], []];
  const all = Promise.withResolvers<void>();
  const workers = seen.map((mine) =>
    started(database, [
      handler(kind, ({ runId }) => {
        mine.push(runId);
        if (seen.flat().length >= runs.length) all.resolve();
      }),
    ]),
  );
  await closing(
    workers.map(({ outbox }) => outbox),
    () => all.promise,
  );
  assert.deepEqual(seen.flat().toSorted(), runs.toSorted());
  t.diagnostic(`${seen.map((mine) => mine.length).join(' and ')} of ${runs.length}`);
});

forEachDatabase(
  'the effects of one run are done in the order of their steps, and one that failed for good lets the next one go on',
  async (_, database) => {
    const { scope } = await newOrganization(database);
    const [first, second] = [newKind(), newKind()];
    const order: string[] = [];
    const run = await pushed(scope, [first, second]);
    const end = Promise.withResolvers<void>();
    const { outbox } = started(
      database,
      [
        handler(first, () => {
          order.push('first');
          throw new ChainloopError('REGISTRY_UNAVAILABLE', 'registry example.com: no answer');
        }),
        handler(second, () => {
          order.push('second');
          end.resolve();
        }),
      ],
      { ...quick, attempts: 3 },
    );
    await closing([outbox], () => end.promise);
    assert.deepEqual(order, ['first', 'first', 'first', 'second']);
    const [failed, ...others] = await effectsOfRun(scope, run);
    assert.deepEqual(others, []);
    assert.deepEqual(
      [failed?.kind, failed?.state, failed?.attempts, failed?.errorCode, failed?.error],
      [first, 'failed', 3, 'REGISTRY_UNAVAILABLE', 'registry example.com: no answer'],
    );
  },
);

forEachDatabase(
  'what always fails holds back nothing else, says why without secrets, and is tried again when an operator says so',
  async (_, database) => {
    const { scope, name } = await newOrganization(database);
    const [poison, good] = [newKind(), newKind()];
    const poisoned = await pushed(scope, [poison]);
    const goodRuns = await Promise.all(Array.from({ length: 3 * limits.outboxConcurrency }, () => pushed(scope, [good])));
    let mended = false;
    let done = 0;
    const allGood = Promise.withResolvers<void>();
    const healed = Promise.withResolvers<void>();
    const failed = Promise.withResolvers<void>();
    const { outbox, log } = started(
      database,
      [
        handler(poison, ({ attempts }) => {
          if (mended) return healed.resolve();
          if (attempts === 2) failed.resolve();
          throw new Error('CANARY-secret https://user:CANARY@host');
        }),
        handler(good, () => ++done === goodRuns.length && allGood.resolve()),
      ],
      { ...quick, attempts: 2 },
    );
    await closing([outbox], async () => {
      await Promise.all([allGood.promise, failed.promise]);
    });
    const [effect] = await effectsOfRun(scope, poisoned);
    assert.deepEqual([effect?.state, effect?.errorCode], ['failed', 'INTERNAL']);
    assert.ok(effect?.error !== null && !effect?.error.includes('CANARY'), effect?.error ?? '');
    const counts = (await countEffects(database.system)).find(({ organization }) => organization === name);
    assert.deepEqual([counts?.pending, counts?.failed], [0, 1]);
    assert.equal(log.filter((line) => line.includes('failed for good')).length, 1);

    mended = true;
    assert.equal(await retryFailedEffects(scope), 1);
    const after = started(database, [handler(poison, () => healed.resolve())]);
    await closing([after.outbox], () => healed.promise);
    assert.deepEqual(await effectsOfRun(scope, poisoned), []);
    await assert.rejects(retryEffect(scope, effect?.id ?? ''), { code: 'NOT_FOUND' });
  },
);

forEachDatabase(
  'what a dead server had begun is done by another one when its lease is over, and one that works for long keeps it',
  async (_, database) => {
    const { scope } = await newOrganization(database);
    const kind = newKind();
    const run = await pushed(scope, [kind]);
    // A server takes it, and is never heard of again.
    const [dead] = await claimEffects(database.system, { kinds: [kind], limit: 10, leaseMs: 1 });
    assert.equal(dead?.runId, run);

    // The next one works for several leases, and keeps it all the time.
    const patience = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const slow = handler(kind, async () => {
      begun.resolve();
      await patience.promise;
    });
    const { outbox } = started(database, [slow], { ...quick, leaseMs: 600, drainMs: 5 });
    await closing([outbox], async () => {
      await begun.promise;
      const leasedUntil = async (): Promise<number> => (await effectsOfRun(scope, run))[0]?.dueAt.getTime() ?? 0;
      const first = await leasedUntil();
      await until('the lease is a longer one', async () => (await leasedUntil()) >= first + 600);
      patience.resolve();
      await until('the effect is done', async () => (await effectsOfRun(scope, run)).length === 0);
    });
    // Whoever lost it cannot keep it.
    assert.equal(await extendLease(database.system, dead ?? assert.fail(), 1_000), false);
  },
);

forEachDatabase('nothing is kept of an effect that is done: its signal is let go while the server goes on', async (_, database) => {
  const { scope } = await newOrganization(database);
  const kind = newKind();
  const signals: WeakRef<AbortSignal>[] = [];
  const { outbox } = started(database, [handler(kind, (_, __, signal) => void signals.push(new WeakRef(signal)))]);
  await closing([outbox], async () => {
    const runs = [await pushed(scope, [kind]), await pushed(scope, [kind])];
    outbox.wake();
    for (const run of runs) await until('it is done', async () => (await effectsOfRun(scope, run)).length === 0);
    assert.equal(signals.length, 2);
    await until(
      'they are let go',
      () => {
        collectGarbage();
        return signals.every((signal) => signal.deref() === undefined);
      },
      { withinMs: 10_000 },
    );
  });
});

forEachDatabase('a server that stops gives back what it had begun, at once and as if it had not been tried', async (_, database) => {
  const { scope } = await newOrganization(database);
  const kind = newKind();
  const run = await pushed(scope, [kind]);
  const taken = Promise.withResolvers<AbortSignal>();
  const hanging = handler(kind, (_effect, _scope, signal) => {
    taken.resolve(signal);
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  });
  const { outbox } = started(database, [hanging], { ...quick, drainMs: 5 });
  await taken.promise;
  await outbox.close();
  assert.deepEqual(
    (await effectsOfRun(scope, run)).map(({ state, attempts }) => [state, attempts]),
    [['pending', 0]],
  );
  const done = Promise.withResolvers<void>();
  const next = started(database, [handler(kind, () => done.resolve())]);
  await closing([next.outbox], () => done.promise);
});

test('a push on one server wakes the other one, also after the connection that listens was lost', async (t) => {
  if (!needs(t, 'postgresql')) return;
  await using postgres = await startPostgres();
  const databaseUrl = await postgres.createDatabase();
  await using pushing = await connect({ databaseUrl });
  await using working = await connect({ databaseUrl });
  const { scope } = await newOrganization(pushing);
  const kind = newKind();
  let arrived = Promise.withResolvers<number>();
  const worker = started(working, [handler(kind, () => arrived.resolve(performance.now()))]);
  // The one that pushes does nothing itself.
  const pusher = started(pushing, []);
  const latencies: number[] = [];
  async function measure(): Promise<void> {
    arrived = Promise.withResolvers();
    await pushed(scope, [kind]);
    const committedMs = performance.now();
    pusher.outbox.wake();
    latencies.push((await arrived.promise) - committedMs);
  }
  await closing([worker.outbox, pusher.outbox], async () => {
    for (let round = 0; round < 10; round++) await measure();
    await postgres.restart('immediate');
    await measure();
  });
  const restarted = latencies.pop() ?? 0;
  latencies.sort((a, b) => a - b);
  t.diagnostic(
    `pushed here, begun there: median ${latencies[5]?.toFixed(0)} ms, longest ${latencies.at(-1)?.toFixed(0)} ms (signals at most every ${limits.outboxSignalMs} ms); after a restart of PostgreSQL ${Math.max(0, restarted).toFixed(0)} ms`,
  );
  assert.ok((latencies.at(-1) ?? 0) < 10_000, 'by a signal, and not by looking every minute');
});
