import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type CiJob, startGitlabJob } from './fakes/ci-job.ts';
import { startFederatedPlane } from './fakes/federated.ts';
import { gitlabJob } from './fakes/issuer.ts';
import { succeeded } from './fakes/workplace.ts';

/** `chainloop attest` as jobs of GitLab call it: the real command line, as processes, with the variables that a component sets. */

const contract = `schemaVersion: v1
materials:
  - { type: STRING, name: commit }
  - { type: ARTIFACT, name: binary, output: true }
  - { type: STRING, name: note, optional: true }
`;
const federated = await startFederatedPlane();
await federated.api.contract.update.mutate({ name: 'release', format: 'yaml', body: contract });
await federated.bind('gitlab');
after(() => federated[Symbol.asyncDispose]());

let pipelines = 1000;
/** A job of a pipeline of its own, unless `claims` says which. */
function gitlab(env: Readonly<Record<string, string>>, claims: Readonly<Record<string, string>> = {}): Promise<CiJob> {
  const ids = { pipeline_id: String(++pipelines), job_id: String(pipelines + 50_000) };
  return startGitlabJob({ url: federated.plane.url, issuer: federated.gitlab, claims: { ...ids, ...claims }, env });
}

test('one step attests, keyless, with nothing but variables', async () => {
  await using job = await gitlab({ CHAINLOOP_MATERIALS: `commit=${gitlabJob.sha}\nbinary=*.bin` });
  await writeFile(join(job.checkout, 'app.bin'), 'built');
  const ended = await job.run('attest', '--output', 'json');
  const { status, runId, digest } = JSON.parse(succeeded(ended));
  assert.equal(status, 'passed');
  assert.match(digest, /^sha256:/);
  assert.equal((await federated.api.run.describe.query({ id: runId })).run.state, 'success');
  assert.match(await readFile(join(job.checkout, 'chainloop-bundle.json'), 'utf8'), /"mediaType"/);
});

const stateOf = async (runId: string) => {
  const { run } = await federated.api.run.describe.query({ id: runId });
  return `${run.state}${run.reason ? `: ${run.reason}` : ''}`;
};
const lastRun = async () => (await federated.api.run.list.query({ project: 'bedrock', workflow: 'release' })).items[0];
const report = (job: CiJob, name: string) => readFile(join(job.checkout, name), 'utf8');

test('the files of a job tell it to GitLab: summary, test report, variables, bundle', async () => {
  await using job = await gitlab({ CHAINLOOP_MATERIALS: 'commit=abc\nbinary=app' });
  await writeFile(join(job.checkout, 'app'), 'built');
  succeeded(await job.run('attest'));
  const run = await lastRun();
  assert.match(await report(job, 'chainloop-summary.md'), /✅ Chainloop attestation: release/);
  assert.match(await report(job, 'chainloop.env'), new RegExp(`^CHAINLOOP_STATUS=passed\nCHAINLOOP_RUN_ID=${run?.id}\n`));
  const junit = await report(job, 'chainloop-junit.xml');
  assert.match(junit, /tests="4" failures="0" errors="0" skipped="1"/);
  assert.match(junit, /name="binary"><system-out>app@sha256:/);
});

test('a required material that is missing is exit 3 and a red test; the end of the job records the run as failed', async () => {
  await using job = await gitlab({ CHAINLOOP_MATERIALS: 'commit=abc' });
  const ended = await job.run('attest');
  assert.equal(ended.code, 3);
  assert.match(ended.stderr, /missing: binary \(ARTIFACT\)/);
  assert.match(await report(job, 'chainloop-junit.xml'), /name="binary"><failure message="missing: binary \(ARTIFACT\)"/);
  assert.match(await report(job, 'chainloop-summary.md'), /^binary=<path>$/m);
  const run = await lastRun();
  assert.equal(await stateOf(run?.id ?? ''), 'initialized');
  succeeded(await job.run('ci-finish', '--status', 'failed'));
  assert.equal(await stateOf(run?.id ?? ''), 'failed: missing binary');
});

test('a job that fails before it attests is recorded as failed, one that is cancelled as cancelled', async () => {
  for (const [status, expected] of [
    ['failed', /^failed: job release failed$/],
    ['canceled', /^cancelled: job release was cancelled$/],
    ['timedout', /^failed: job release took too long$/],
  ] as const) {
    await using job = await gitlab({ CI_JOB_STATUS: status });
    succeeded(await job.run('ci-finish'));
    assert.match(await stateOf((await lastRun())?.id ?? ''), expected);
  }
});
