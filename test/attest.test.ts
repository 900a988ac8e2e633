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
