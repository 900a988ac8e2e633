import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createApi } from '../../client/api.ts';
import { type FaultProxy, startFaultProxy } from '../fakes/fault-proxy.ts';
import { startKillableServer } from '../fakes/killable-server.ts';
import { freePort } from '../fakes/listen.ts';
import { checkout, contract, materials, put, type Scene, startScene } from './scene.ts';

// Acceptance list of the Action: row 9: the control plane is away, for a while or for good.

const uses = 'chainloop/attest@v1';
let scene: Scene;
/** What the jobs take for the control plane. */
let proxy: FaultProxy;
before(async () => {
  const port = await freePort();
  proxy = await startFaultProxy({ target: `http://127.0.0.1:${port}` });
  scene = await startScene({ options: { listen: `127.0.0.1:${port}`, publicUrl: proxy.origin } });
});
after(async () => {
  await proxy?.[Symbol.asyncDispose]();
  await scene?.[Symbol.asyncDispose]();
});

const attest = (more: Readonly<Record<string, string>> = {}) => ({
  uses,
  with: { ...scene.inputs, 'control-plane': proxy.origin, materials, ...more },
});
/** Nobody listens there. */
const nowhere = { 'control-plane': 'http://127.0.0.1:2', 'retry-timeout': '2s' };

test('a control plane that is not there fails the step, after it was tried for as long as allowed', async () => {
  const { steps, posts, status } = await scene.job([attest(nowhere)]);
  assert.equal(status, 'failure');
  const [step] = steps;
  assert.match(step?.log ?? '', /retrying \(attempt \d+, \d+ s of 2 s\)/);
  assert.match(step?.annotations[0]?.message ?? '', /127\.0\.0\.1:\d+/);
  assert.equal(step?.outputs.status, 'failed');
  assert.notEqual(step?.exitCode, 0);
  assert.ok((step?.durationMs ?? 0) < 20_000, `${step?.durationMs} ms`);
  assert.equal(posts[0]?.outcome, 'success');
});

test('on-outage: defer lets the job go on, with a warning, and says everywhere that nothing is recorded', async () => {
  const { steps, posts, status, log } = await scene.job([attest({ ...nowhere, 'on-outage': 'defer' })]);
  assert.equal(status, 'success', log);
  const [step] = steps;
  assert.equal(step?.outputs.status, 'deferred');
  assert.deepEqual(
    step?.annotations.map(({ level, title }) => `${level} ${title}`),
    ['warning Chainloop: attestation deferred, nothing is recorded'],
  );
  assert.match(step?.summary ?? '', /DEFERRED/);
  assert.match(posts.map(({ log }) => log).join('\n'), /deferred/i, 'the end of the job says it once more');
});

test('a contract that is not satisfied fails whatever on-outage says', async () => {
  const { steps, status } = await scene.job([attest({ materials: 'binary=dist/app', 'on-outage': 'defer' })]);
  assert.equal(status, 'failure');
  assert.equal(steps[0]?.outputs.status, 'violations');
});

test('a short outage is waited out, and said in the log', async () => {
  proxy.inject({ type: 'status', status: 503, times: 3 });
  const { steps, status } = await scene.job([attest()]);
  assert.equal(status, 'success', steps[0]?.log);
  assert.match(steps[0]?.log ?? '', /retrying/);
});

test('an answer to the push that is lost is asked for again: one success, stored once', async () => {
  proxy.inject({ type: 'loseAnswer', path: /attestation\.push/ });
  const { steps, status } = await scene.job([attest()]);
  assert.equal(status, 'success', steps[0]?.log);
  const id = steps[0]?.outputs['attestation-id'];
  assert.equal((await scene.runs()).filter((run) => run.id === id).length, 1);
  assert.equal((await scene.describe(steps[0])).attestation?.digest, steps[0]?.outputs.digest);
});

test('an outage at the push keeps the signed bundle; a second push of the same job sends it', async () => {
  proxy.inject({ type: 'status', status: 503, path: /attestation\.push/, times: 1000 });
  const deferring = { ...attest({ 'on-outage': 'defer', 'retry-timeout': '1s' }), id: 'a' };
  const run = scene.newRun();
  const job = await scene.job(
    [
      deferring,
      { run: `test -s "\${{ steps.a.outputs.bundle-path }}" && echo back` },
      { uses, with: { ...scene.inputs, 'control-plane': proxy.origin, command: 'push' } },
    ],
    { run, onLine: (line) => void (line === 'back' && proxy.clear()) },
  );
  proxy.clear();
  assert.equal(job.steps[0]?.outputs.status, 'deferred', job.steps[0]?.log);
  assert.ok(existsSync(job.steps[0]?.outputs['bundle-path'] ?? ''));
  assert.equal(job.steps[2]?.outputs.status, 'passed', job.steps[2]?.log);
  assert.equal((await scene.describe(job.steps[2])).run.state, 'success');
});

test('an outage while evidence is uploaded is waited out', async () => {
  proxy.inject({ type: 'status', status: 503, path: /^\/v2\/.*\/blobs\/uploads/, times: 2 });
  const { steps, status } = await scene.job([attest()]);
  assert.equal(status, 'success', steps[0]?.log);
});

test('uploads are tried for as long as retry-timeout says, and no longer', async () => {
  // What is stored already is not sent again.
  const built = (app: string) => async (workspace: string) => {
    await checkout(workspace);
    await put(workspace, 'dist/app', app);
  };
  const uploads = /^\/v2\/.*\/blobs\/uploads/;
  // More refusals than a registry is given.
  proxy.inject({ type: 'status', status: 503, path: uploads, times: 6 });
  const long = await scene.job([attest({ 'retry-timeout': '60s' })], { prepare: built('first') });
  assert.equal(long.status, 'success', long.log);
  proxy.inject({ type: 'status', status: 503, path: uploads, times: 1000 });
  const short = await scene.job([attest({ 'retry-timeout': '1s', 'on-outage': 'defer' })], { prepare: built('second') });
  proxy.clear();
  assert.equal(short.status, 'success', short.log);
  assert.equal(short.steps[0]?.outputs.status, 'deferred');
  assert.match(short.steps[0]?.annotations[0]?.message ?? '', new RegExp(`control plane ${new URL(proxy.origin).host}: `));
  assert.ok((short.steps[0]?.durationMs ?? 99_999) < 20_000, `${short.steps[0]?.durationMs} ms`);
});

test('an outage at the end of the job does not fail it: the run expires by itself', async () => {
  const job = await scene.job(
    [{ uses, with: { ...scene.inputs, 'control-plane': proxy.origin, command: 'init' } }, { run: 'echo init is done; exit 1' }],
    {
      onLine: (line) => void (line === 'init is done' && proxy.inject({ type: 'status', status: 503, times: 1000 })),
    },
  );
  proxy.clear();
  const [post] = job.posts;
  assert.equal(post?.outcome, 'success', post?.log);
  assert.ok((post?.durationMs ?? 99_999) < 20_000, `${post?.durationMs} ms`);
  assert.match(post?.log ?? '', /not recorded.*expires/);
});

test('a control plane that is killed while the step is at work, and comes back: one attestation', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-killed-'));
  const dataDir = join(folder.path, 'data');
  await using first = await startKillableServer({ dataDir });
  const owner = (organization?: string) =>
    createApi({ url: first.url, token: first.ownerToken, organization, version: 'test', retryBudgetMs: 2_000 });
  await owner().organization.create.mutate({ name: 'acme' });
  const api = owner('acme');
  await api.contract.create.mutate({ name: 'release', format: 'yaml', body: contract });
  await api.workflow.create.mutate({ name: 'release', project: 'bedrock', contract: 'release' });
  const { token } = await api.serviceAccount.create.mutate({ name: 'ci', workflow: 'release', project: 'bedrock' });
  await using stack = new AsyncDisposableStack();
  let again: Promise<void> | undefined;
  const restart = async (): Promise<void> => {
    await first.stop('SIGKILL');
    stack.use(await startKillableServer({ dataDir, listen: new URL(first.url).host }));
  };
  const job = await scene.job([{ uses, with: { 'control-plane': first.url, materials, token, auth: 'token' } }], {
    onLine(line) {
      if (line.startsWith('##[group]Materials')) again = restart();
    },
  });
  await again;
  assert.equal(job.status, 'success', job.log);
  const { items } = await owner('acme').run.list.query({ workflow: 'release', project: 'bedrock' });
  assert.deepEqual(
    items.map(({ state }) => state),
    ['success'],
  );
});
