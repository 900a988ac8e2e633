import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { aJob, ci, fails, ready } from '../../test/fakes/crafting-job.ts';
import { Contract } from '../contract/schema.ts';
import { ChainloopError } from '../errors.ts';

test('an init that fails after opening a run cancels it at once (lessons.md, 19)', async () => {
  const job = aJob();
  await fails(job.init({ env: { ...ci, CUSTOM_VAR: undefined } }), 'CONTRACT_NOT_SATISFIED', /'CUSTOM_VAR'/);
  assert.deepEqual(job.plane.states(), ['cancelled']);
  assert.match(job.plane.reasons()[0] ?? '', /CUSTOM_VAR/);
  await job.init();
  assert.deepEqual(job.plane.states(), ['cancelled', 'initialized']);
});

test('a contract that asks for a credential does not get it, whoever let that contract through', async () => {
  const job = aJob({ contract: Contract.parse({ envAllowList: ['CHAINLOOP_TOKEN'] }) });
  await fails(job.init(), 'CONTRACT_NOT_SATISFIED', /CHAINLOOP_TOKEN/);
});

test('an init on another runner than the contract asks for is refused, with everything else that is wrong (lessons.md, 17)', async () => {
  const job = aJob();
  await assert.rejects(job.init({ env: {}, annotations: { extra: '1' } }), (error) => {
    assert.ok(error instanceof ChainloopError);
    assert.equal(error.code, 'RUNNER_MISMATCH');
    assert.equal(error.problems.length, 3);
    // The run says why, too, as far as a reason goes, not only how many.
    assert.match(job.plane.reasons()[0] ?? '', /3 problems: runner: .*; variable 'CUSTOM_VAR' is required/);
    return true;
  });
});

test('while an attestation is open here, another one is refused, unless it is to replace it', async () => {
  const job = aJob();
  await job.init();
  await fails(job.init(), 'CRAFTING_OPEN', /attestation reset/);
  assert.deepEqual(job.plane.states(), ['initialized']);
  await job.init({ replace: true });
  assert.deepEqual(job.plane.states(), ['cancelled', 'initialized']);
});

test('an init whose answer was lost goes on with the run that it opened', async () => {
  const job = aJob();
  job.plane.breakNext('init', 'after');
  await fails(job.init(), 'CONTROL_PLANE_UNREACHABLE');
  await job.init({ replace: true });
  assert.deepEqual(job.plane.states(), ['initialized']);
});

test('a state that cannot be read can be replaced', async () => {
  const job = await ready();
  writeFileSync(join(job.directory, 'start.json'), '{');
  await fails(job.init(), 'STATE_CORRUPT');
  await job.init({ replace: true });
  assert.deepEqual((await job.status()).materials, []);
});

test('an init that crashed long ago does not get its old run', async () => {
  const job = aJob();
  job.plane.breakNext('init', 'after');
  await fails(job.init(), 'CONTROL_PLANE_UNREACHABLE');
  job.plane.expire();
  await job.init();
  assert.deepEqual(job.plane.states(), ['expired', 'initialized']);
});

test('two attestations of one job, one after the other, are two runs', async () => {
  const job = await ready();
  await job.push();
  await job.init();
  assert.deepEqual(job.plane.states(), ['success', 'initialized']);
});
