import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needs } from '../needs.ts';
import { type Round, race } from './attach-race.ts';

test('50 attaches at once to one image, from two processes, lose none in a registry that keeps nobody apart', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  const rounds: Round[] = [];
  await race({ rounds: 1, processes: 2, writers: 25 }, (round) => rounds.push(round));
  assert.deepEqual(
    rounds.map(({ attached, lost, failed }) => ({ attached, lost, failed })),
    [{ attached: 50, lost: 0, failed: [] }],
  );
});
