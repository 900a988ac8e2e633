import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type CiJob, startGitlabJob } from './fakes/ci-job.ts';
import { commandLine } from './fakes/command-line.ts';
import { startFederatedPlane } from './fakes/federated.ts';
import { gitlabJob } from './fakes/issuer.ts';
import { listen } from './fakes/listen.ts';
import { run } from './fakes/process.ts';
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

const program = join(import.meta.dirname, '..', 'bin', 'chainloop.js');
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

test('the end of a job that passed, or only added, ends nothing; it never fails the job, and leaves no credential', async () => {
  await using job = await gitlab({ CHAINLOOP_MATERIALS: 'commit=abc\nbinary=app' });
  await writeFile(join(job.checkout, 'app'), 'built');
  const { runId } = JSON.parse(succeeded(await job.run('attest', '--output', 'json')));
  assert.notDeepEqual(await readdir(job.state), []);
  succeeded(await job.run('ci-finish', '--status', 'failed'));
  assert.equal(await stateOf(runId), 'success');
  assert.deepEqual(await readdir(job.state), []);

  await using adding = await gitlab({ CHAINLOOP_MATERIALS: 'commit=abc', CHAINLOOP_COMMAND: 'add', CI_JOB_STATUS: 'failed' });
  const { runId: open } = JSON.parse(succeeded(await adding.run('attest', '--output', 'json')));
  succeeded(await adding.run('ci-finish'));
  assert.equal(await stateOf(open), 'initialized');

  await using lost = await gitlab({ CHAINLOOP_URL: 'http://127.0.0.1:9', CI_JOB_STATUS: 'failed', CHAINLOOP_RETRY_SECONDS: '0' });
  assert.match((await lost.run('ci-finish')).stderr, /127\.0\.0\.1:9/);
  succeeded(await lost.run('ci-finish'));
  succeeded(await lost.run('ci-finish', '--status', 'unheard-of'));
});

test('every problem of inputs and evidence is said at once, by its name, before anything is sent', async () => {
  await using job = await gitlab({ CHAINLOOP_MATERIALS: 'binary', CHAINLOOP_ON_OUTAGE: 'ignore', CHAINLOOP_INPUT_WORKFLOW: 'No Name' });
  const bad = await job.run('attest');
  assert.equal(bad.code, 2);
  for (const says of [
    /materials line 1: 'binary' is not NAME=VALUE/,
    /on-outage: 'ignore' is not one of fail, defer/,
    /workflow: 'No Name'/,
  ])
    assert.match(bad.stderr, says);
  assert.match(await report(job, 'chainloop-junit.xml'), /name="attestation"><error message="Chainloop: inputs are not right"/);
  assert.match(await report(job, 'chainloop.env'), /^CHAINLOOP_STATUS=failed$/m);

  const before = (await lastRun())?.id;
  const wrong = await job.run(
    'attest',
    '--materials',
    'binary=dist/none\ncommit=x\nsbom=x',
    '--workflow',
    'release',
    '--on-outage',
    'fail',
  );
  assert.equal(wrong.code, 3, wrong.stderr);
  assert.match(wrong.stderr, /material "binary": .*dist\/none/);
  assert.match(wrong.stderr, /material "sbom": the contract has no such material/);
  assert.equal((await lastRun())?.id, before);
});

test('a control plane that is away is exit 75, or deferred and exit 0', async () => {
  // Nobody listens any more where somebody did.
  const listening = await listen(createServer());
  await listening[Symbol.asyncDispose]();
  const away = { CHAINLOOP_URL: listening.origin, CHAINLOOP_RETRY_TIMEOUT: '1s', CHAINLOOP_MATERIALS: 'commit=abc' };
  await using job = await gitlab(away);
  const failed = await job.run('attest');
  assert.equal(failed.code, 75);
  assert.match(failed.stderr, /retrying \(attempt 2/);
  const deferred = await job.run('attest', '--on-outage', 'defer', '--output', 'json');
  assert.equal(JSON.parse(succeeded(deferred)).status, 'deferred');
  assert.match(deferred.stderr, /WRN deferred, nothing is recorded/);
  assert.match(await report(job, 'chainloop-summary.md'), /DEFERRED/);
});

test('a job that nobody bound is exit 5, one without a token is told what to write', async () => {
  await using stranger = await gitlab({ CHAINLOOP_MATERIALS: 'commit=abc' }, { project_id: '1', job_project_id: '1' });
  const refused = await stranger.run('attest');
  assert.equal(refused.code, 5);
  assert.match(refused.stderr, /project_id.*456789/s);
  await using plain = await gitlab({ CHAINLOOP_MATERIALS: 'commit=abc', CHAINLOOP_ID_TOKEN: '' });
  const told = await plain.run('attest');
  assert.equal(told.code, 5);
  assert.match(told.stderr, /id_tokens:.*CHAINLOOP_ID_TOKEN:.*aud: http/s);
});

test('other content under the same name is exit 6, and names the job that was first', async () => {
  const claims = { pipeline_id: '77001' };
  await using first = await gitlab({ CHAINLOOP_COMMAND: 'add', CHAINLOOP_MATERIALS: 'commit=one' }, { ...claims, job_id: '77002' });
  await using second = await gitlab({ CHAINLOOP_COMMAND: 'add', CHAINLOOP_MATERIALS: 'commit=two' }, { ...claims, job_id: '77003' });
  succeeded(await first.run('attest'));
  const ended = await second.run('attest');
  assert.equal(ended.code, 6);
  assert.match(ended.stderr, /release/);
});

test('a merge request from a fork is skipped, tried or refused, as it is asked for', async () => {
  const fork = { CI_MERGE_REQUEST_PROJECT_ID: '456789', CI_MERGE_REQUEST_SOURCE_PROJECT_ID: '7', CHAINLOOP_MATERIALS: 'commit=abc' };
  const before = (await lastRun())?.id;
  await using job = await gitlab(fork);
  assert.equal(JSON.parse(succeeded(await job.run('attest', '--output', 'json'))).status, 'skipped');
  assert.equal(JSON.parse(succeeded(await job.run('attest', '--output', 'json', '--fork-pr', 'dry-run'))).status, 'dry-run');
  assert.equal((await job.run('attest', '--fork-pr', 'fail')).code, 5);
  assert.equal((await lastRun())?.id, before);
});

test('without GitLab: a service account, and report files where they are asked for', async () => {
  const { token } = await federated.api.serviceAccount.create.mutate({ workflow: 'release', project: 'bedrock', name: 'jenkins' });
  await using line = await commandLine({ CHAINLOOP_URL: federated.plane.url, CHAINLOOP_TOKEN: token });
  await mkdir(join(line.folder, 'work'));
  const cwd = join(line.folder, 'work');
  await writeFile(join(cwd, 'app'), 'built');
  const env = { JENKINS_URL: 'https://ci.example.com', BUILD_URL: 'https://ci.example.com/job/1', JOB_NAME: 'app', BUILD_NUMBER: '1' };
  const args = ['attest', '--materials', 'commit=abc', '--materials', 'binary=app', '--reports', 'out', '--output', 'json'];
  const { status, bundle } = JSON.parse(succeeded(await line.run(args, { cwd, env })));
  assert.equal(status, 'passed');
  assert.equal(bundle, join(cwd, 'out', 'chainloop-bundle.json'));
  assert.deepEqual((await readdir(join(cwd, 'out'))).sort(), [
    'chainloop-bundle.json',
    'chainloop-junit.xml',
    'chainloop-summary.md',
    'chainloop.env',
  ]);
});

/** Every file below a folder, with its text. */
async function textsOf(folder: string): Promise<readonly (readonly [string, string])[]> {
  const entries = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  return Promise.all(entries.map(async ({ parentPath, name }) => [name, await readFile(join(parentPath, name), 'utf8')] as const));
}

test('what the job is given is in no output and no file of its checkout, and after its end in no file at all', async () => {
  await using job = await gitlab({ CHAINLOOP_MATERIALS: 'commit=abc\nbinary=app\nsecret=x', CI_JOB_STATUS: 'success' });
  await writeFile(join(job.checkout, 'app'), 'built');
  const secrets = [job.env.CHAINLOOP_ID_TOKEN ?? '', 'chl_'];
  const [unknown, passed] = [await job.run('attest'), await job.run('attest', '--materials', 'commit=abc\nbinary=app', '--output', 'json')];
  assert.equal(unknown.code, 3);
  succeeded(passed);
  const said = [unknown, passed].flatMap(({ stdout, stderr }) => [stdout, stderr]);
  const credentials = (await textsOf(job.state)).filter(([, text]) => text.includes('chl_'));
  assert.deepEqual(
    credentials.map(([name]) => name),
    ['credential.json'],
  );
  for (const secret of secrets) {
    for (const text of said) assert.ok(!text.includes(secret));
    for (const [name, text] of await textsOf(job.checkout)) assert.ok(!text.includes(secret), name);
  }
  succeeded(await job.run('ci-finish'));
  for (const [name, text] of await textsOf(job.folder)) for (const secret of secrets) assert.ok(!text.includes(secret), name);
});

test('the commands of the summary verify what was attested', async () => {
  await using job = await gitlab({ CHAINLOOP_MATERIALS: 'commit=abc\nbinary=app' });
  await writeFile(join(job.checkout, 'app'), 'built');
  succeeded(await job.run('attest'));
  const [, script = ''] = /```bash\n([\s\S]*?)```/.exec(await report(job, 'chainloop-summary.md')) ?? [];
  assert.match(script, /--source-repository 'https:\/\/gitlab.com\/acme\/app'/);
  const { token } = await federated.api.apiToken.create.mutate({ name: 'reader' });
  const lines = script.replaceAll('\\\n', ' ').replaceAll(/^chainloop /gm, `'${process.execPath}' '${program}' `);
  await using line = await commandLine({ CHAINLOOP_URL: federated.plane.url, CHAINLOOP_TOKEN: token });
  const verified = await run({ program: 'sh', args: ['-ec', lines], cwd: job.checkout, env: line.env });
  assert.match(verified.stdout, /gitlab\.com\/acme\/app/);
});
