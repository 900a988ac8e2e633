import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limits } from '../core/limits.ts';
import { createRateLimit } from './rate-limit.ts';

/** How many of `tries` requests at one moment are let through. */
function letThrough(limit: ReturnType<typeof createRateLimit>, tries: number, key = 'a', cost = 1): number {
  let count = 0;
  for (let index = 0; index < tries; index++) {
    try {
      limit(key, 'token', cost);
      count++;
    } catch {}
  }
  return count;
}

test('a full bucket lets a burst through, then as many as flow in', () => {
  let now = 0;
  const limit = createRateLimit(10, () => now);
  const burst = 10 * limits.rateBurstSeconds;
  assert.equal(letThrough(limit, 2 * burst), burst);
  now += 100;
  assert.equal(letThrough(limit, 5), 1);
  now += 2_000;
  assert.equal(letThrough(limit, 50), 20);
  now += 3_600_000;
  assert.equal(letThrough(limit, 2 * burst), burst, 'a long rest fills it, and no more than that');
});

test('what is refused takes nothing: whoever keeps asking is let through as soon as there is room', () => {
  let now = 0;
  const limit = createRateLimit(1, () => now);
  letThrough(limit, 1_000);
  for (; now < 1_000; now += 10) assert.equal(letThrough(limit, 1), 0);
  assert.equal(letThrough(limit, 1), 1);
});

test('each has a bucket of its own, and a batch counts as its calls', () => {
  const limit = createRateLimit(10, () => 0);
  assert.equal(letThrough(limit, 1_000, 'a', 10), limits.rateBurstSeconds);
  assert.equal(letThrough(limit, 1, 'b'), 1);
});

test('0 is no limit', () => {
  assert.equal(letThrough(createRateLimit(0), 100_000), 100_000);
});

test('a million strangers do not push out who is at its limit', () => {
  const limit = createRateLimit(1, () => 0);
  letThrough(limit, 100);
  for (let index = 0; index < 1_000_000; index++) {
    limit(`stranger-${index}`, 'token', 1);
    if (index % 40_000 === 0) assert.equal(letThrough(limit, 1), 0);
  }
});
