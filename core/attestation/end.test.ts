import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fails, ready } from '../../test/fakes/crafting-job.ts';
import { reset } from '../attestation.ts';

test('reset ends the run with its reason, and forgets the attestation here', async () => {
  const job = await ready();
  const answer = await job.reset();
  assert.equal(answer.ended, true);
  assert.deepEqual([job.plane.states(), job.plane.reasons()], [['cancelled'], ['test']]);
  assert.deepEqual(job.plane.brought(), ['binary', 'image'], 'what the run made leads to it; a text is no artifact');
  await fails(job.reset(), 'NO_CRAFTING');
});

test('a failed attestation keeps why it ended (lessons.md, 23)', async () => {
  const job = await ready();
  await reset(job.ports, { state: 'failed', reason: 'tests are red' });
  assert.deepEqual([job.plane.states(), job.plane.reasons()], [['failed'], ['tests are red']]);
});

test('reset forgets the attestation also when the control plane has ended it', async () => {
  const job = await ready();
  job.plane.expire();
  assert.equal((await job.reset()).ended, false);
  await fails(job.status(), 'NO_CRAFTING');
});

test('reset without a control plane changes nothing, and can be repeated', async () => {
  const job = await ready();
  job.plane.breakNext('end', 'before');
  await fails(job.reset(), 'CONTROL_PLANE_UNREACHABLE');
  assert.equal((await job.status()).materials.length, 3);
  await job.reset();
});

test('a control plane that takes nothing more is no reason not to end the run; one that does not answer is', async () => {
  const job = await ready();
  job.plane.breakNext('bring', 'before');
  await fails(job.reset(), 'CONTROL_PLANE_UNREACHABLE');
  assert.deepEqual(job.plane.states(), ['initialized']);
  job.plane.breakNext('bring', 'before', 'MATERIAL_UNKNOWN');
  assert.equal((await job.reset()).ended, true);
});

test('reset forgets a state that cannot be read', async () => {
  const job = await ready();
  writeFileSync(join(job.directory, 'start.json'), '{');
  await fails(job.push(), 'STATE_CORRUPT', /attestation reset/);
  assert.deepEqual(await job.reset(), { ended: false, unreadable: true });
  assert.deepEqual(job.plane.states(), ['initialized'], 'nobody knows which run it was');
  await fails(job.status(), 'NO_CRAFTING');
});
