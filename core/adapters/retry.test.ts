import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultRetryPolicy, retry, retryAfterMs } from './retry.ts';

const fast = { ...defaultRetryPolicy, attempts: 4, baseDelayMs: 1, maxDelayMs: 2 };

async function failing(times: number, policy = fast, verdict: { retry: boolean; afterMs?: number } = { retry: true }) {
  let calls = 0;
  const outcome = await retry(
    async () => {
      calls++;
      if (calls <= times) throw new Error(`failure ${calls}`);
      return 'done';
    },
    () => verdict,
    { policy },
  ).catch((error: unknown) => (error instanceof Error ? error.message : 'unknown'));
  return { calls, outcome };
}

test('an operation is repeated until it succeeds, and no more often than the policy says', async () => {
  assert.deepEqual(await failing(0), { calls: 1, outcome: 'done' });
  assert.deepEqual(await failing(3), { calls: 4, outcome: 'done' });
  assert.deepEqual(await failing(4), { calls: 4, outcome: 'failure 4' });
});

test('a final failure is not repeated', async () => {
  assert.deepEqual(await failing(1, fast, { retry: false }), { calls: 1, outcome: 'failure 1' });
});

test('a wait beyond the budget is not begun', async () => {
  assert.deepEqual(await failing(1, { ...fast, budgetMs: 50 }, { retry: true, afterMs: 60_000 }), { calls: 1, outcome: 'failure 1' });
});

test('an abort signal ends a pause', async () => {
  const controller = new AbortController();
  const slow = { ...fast, baseDelayMs: 60_000, maxDelayMs: 60_000 };
  const waiting = retry(
    async () => {
      controller.abort();
      throw new Error('failure');
    },
    () => ({ retry: true }),
    { policy: slow, signal: controller.signal },
  );
  await assert.rejects(waiting, { name: 'AbortError' });
});

test('Retry-After is seconds or a date', () => {
  const now = new Date('2026-01-01T00:00:00Z');
  assert.equal(retryAfterMs('2', now), 2000);
  assert.equal(retryAfterMs('Thu, 01 Jan 2026 00:00:03 GMT', now), 3000);
  assert.equal(retryAfterMs('Wed, 31 Dec 2025 00:00:00 GMT', now), 0);
  for (const header of [undefined, '', 'soon', '-1x']) assert.equal(retryAfterMs(header, now), undefined);
});

test('being told to come back later is no failure: only the budget ends it', async () => {
  assert.deepEqual(await failing(10, fast, { retry: true, afterMs: 1 }), { calls: 11, outcome: 'done' });
  const { outcome, calls } = await failing(1_000, { ...fast, budgetMs: 40 }, { retry: true, afterMs: 4 });
  assert.equal(outcome, `failure ${calls}`);
  assert.ok(calls > fast.attempts && calls < 20);
});
