import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { JobResult, Run } from '../fakes/actions-runner/job.ts';
import { cancellation } from '../fakes/actions-runner/process.ts';
import { materials, put, type Scene, startScene } from './scene.ts';

// Acceptance list of the Action: rows 5 to 8 and 10: several jobs, several attempts, and jobs that end early.

const uses = 'chainloop/attest@v1';
const binaries = Array.from({ length: 20 }, (_, index) => `binary-${index}`);
const many = `schemaVersion: v1\nmaterials:\n${binaries.map((name) => `  - { type: ARTIFACT, name: ${name}, output: true }\n`).join('')}`;

let scene: Scene;
before(async () => {
  scene = await startScene();
});
after(async () => {
  await scene?.[Symbol.asyncDispose]();
});

const step = (command: string, more: Readonly<Record<string, string>> = {}) => ({ uses, with: { ...scene.inputs, command, ...more } });
const attempt = (run: Run, number: number): Run => ({ ...run, github: { ...run.github, run_attempt: String(number) } });
const text = (job: JobResult): string =>
  job.steps.flatMap(({ annotations }) => annotations.map(({ title, message }) => `${title}: ${message}`)).join('\n');

/** A job that adds one file with this content. */
const adding = (run: Run, name: string, content: string, id = 'build', matrix?: string): Promise<JobResult> =>
  scene.job([step('add', { materials: `${name}=dist/file` })], {
    run,
    id,
    ...(matrix !== undefined && { contexts: { matrix: { arch: matrix } } }),
    prepare: (workspace) => put(workspace, 'dist/file', content),
  });

test('20 jobs of a matrix add at once: no row is lost, and nothing is passed between them', async () => {
  await using own = await startScene({ contract: many });
  const run = own.newRun();
  const added = await Promise.all(
    binaries.map((name) =>
      own.job([{ uses, with: { ...own.inputs, command: 'add', materials: `${name}=dist/file` } }], {
        run,
        id: 'build',
        contexts: { matrix: { name } },
        prepare: (workspace) => put(workspace, 'dist/file', name),
      }),
    ),
  );
  assert.deepEqual(
    added.filter(({ status }) => status !== 'success').map(({ log }) => log),
    [],
  );
  assert.equal(new Set(added.map(({ steps }) => steps[0]?.outputs['attestation-id'])).size, 1);
  const pushed = await own.job([{ uses, with: { ...own.inputs, command: 'push' } }], { run, id: 'finish' });
  assert.equal(pushed.status, 'success', pushed.log);
  const { attestation } = await own.describe(pushed.steps[0]);
  assert.deepEqual(attestation?.materials.map(({ name }) => name).toSorted(), binaries.toSorted());
  const rows: { readonly name: string; readonly job: string }[] = JSON.parse(pushed.steps[0]?.outputs.materials ?? '');
  assert.match(rows.find(({ name }) => name === 'binary-7')?.job ?? '', /build \(binary-7\)/);
});

test('init, add, push in jobs of their own', async () => {
  const run = scene.newRun();
  const opened = await scene.job([step('init')], { run, id: 'start' });
  assert.equal(opened.steps[0]?.outputs.status, 'open', opened.log);
  assert.match(opened.log, /Contract release@2[\s\S]*binary \(ARTIFACT\)/);
  const added = await scene.job([step('add', { materials })], { run, id: 'build' });
  assert.equal(added.steps[0]?.outputs.status, 'open', added.log);
  const pushed = await scene.job([step('push')], { run, id: 'finish' });
  assert.equal(pushed.steps[0]?.outputs.status, 'passed', pushed.log);
  assert.equal(new Set([opened, added, pushed].map(({ steps }) => steps[0]?.outputs['attestation-id'])).size, 1);
  assert.equal((await scene.describe(pushed.steps[0])).run.state, 'success');
});

test('the same file twice is said to be there already, by which job, and is no error', async () => {
  const run = scene.newRun();
  await adding(run, 'binary', 'same', 'build', 'arm64');
  const again = await adding(run, 'binary', 'same', 'other');
  assert.equal(again.status, 'success', again.log);
  assert.match(again.log, /binary: .*already recorded by job build \(arm64\), attempt 1/);
});

test('another file under the same name is a conflict that names both jobs and digests; the first is kept', async () => {
  const run = scene.newRun();
  const first = await adding(run, 'binary', 'first', 'build', 'amd64');
  const second = await adding(run, 'binary', 'second', 'build', 'arm64');
  assert.equal(second.status, 'failure');
  assert.match(text(second), /build \(amd64\)/);
  assert.match(text(second), /build \(arm64\)/);
  assert.equal(new Set(text(second).match(/sha256:[0-9a-f]{8,}/g)).size, 2, text(second));
  const digest = /sha256:[0-9a-f]{64}/.exec(first.steps[0]?.outputs.materials ?? '')?.[0] ?? 'none';
  const shown = await scene.job([step('status')], { run });
  assert.ok(shown.steps[0]?.outputs.materials?.includes(digest), shown.log);
});

test('an add after the push says that it was pushed, and where', async () => {
  const run = scene.newRun();
  const pushed = await scene.job([step('attest', { materials })], { run });
  assert.equal(pushed.status, 'success', pushed.log);
  const late = await adding(run, 'binary', 'late', 'late');
  assert.equal(late.status, 'failure', late.log);
  assert.match(text(late), new RegExp(pushed.steps[0]?.outputs['attestation-id'] ?? 'none'));
  assert.match(late.log, new RegExp(pushed.steps[0]?.outputs.url ?? 'none'));
});

test('a re-run of failed jobs goes on with the same open run', async () => {
  const run = scene.newRun();
  const opened = await scene.job([step('init')], { run });
  await scene.job([step('add', { materials: 'binary=dist/app\ncommit=x' })], { run });
  const failed = await scene.job([step('push')], { run });
  assert.equal(failed.steps[0]?.outputs.status, 'violations', failed.log);
  const second = attempt(run, 2);
  const added = await scene.job([step('add', { materials: 'sbom=dist/app.cdx.json' })], { run: second });
  const pushed = await scene.job([step('push')], { run: second });
  assert.equal(pushed.steps[0]?.outputs.status, 'passed', `${added.log}\n${pushed.log}`);
  assert.equal(pushed.steps[0]?.outputs['attestation-id'], opened.steps[0]?.outputs['attestation-id']);
});

test('a re-run after a failure is judged anew, and the failed run is kept', async () => {
  const run = scene.newRun();
  const failed = await scene.job([step('attest', { materials: 'binary=dist/app' })], { run });
  assert.equal((await scene.describe(failed.steps[0])).run.state, 'failed');
  const second = await scene.job([step('attest', { materials })], { run: attempt(run, 2) });
  assert.equal(second.steps[0]?.outputs.status, 'passed', second.log);
  assert.equal((await scene.describe(failed.steps[0])).run.state, 'failed');
  assert.match(second.steps[0]?.outputs.materials ?? '', /"attempt":2/);
});

test('a re-run after success is an attestation of its own, and both are kept', async () => {
  const run = scene.newRun();
  const first = await scene.job([step('attest', { materials })], { run });
  const second = await scene.job([step('attest', { materials })], { run: attempt(run, 2) });
  assert.equal(second.steps[0]?.outputs.status, 'passed', second.log);
  assert.notEqual(second.steps[0]?.outputs['attestation-id'], first.steps[0]?.outputs['attestation-id']);
  assert.equal((await scene.describe(first.steps[0])).run.state, 'success');
});

test('a job that fails after init ends the run as failed, unless another job goes on with it', async () => {
  const run = scene.newRun();
  const job = await scene.job([step('init'), { run: 'exit 1' }], { run });
  assert.equal(job.status, 'failure');
  assert.equal((await scene.describe(job.steps[0])).run.state, 'failed', job.posts[0]?.log);
});

test('a cancelled job is reported as cancelled at once', async (t) => {
  const cancel = new AbortController();
  const job = await scene.job([step('init'), { run: 'echo waiting; trap exit INT; while :; do sleep 0.05; done' }], {
    cancel: cancel.signal,
    onLine: (line) => void (line === 'waiting' && cancel.abort()),
  });
  assert.equal(job.status, 'cancelled');
  const [post] = job.posts;
  assert.equal(post?.outcome, 'success', post?.log);
  t.diagnostic(`after ${post?.durationMs.toFixed(0)} ms`);
  assert.ok((post?.durationMs ?? 99_999) < cancellation.termAfterMs, 'less than a runner gives, on a busy machine too');
  assert.equal((await scene.describe(job.steps[0])).run.state, 'cancelled', post?.log);
});

test('a cancellation while the step itself is at work ends it at once, and the run is cancelled', async () => {
  const cancel = new AbortController();
  const job = await scene.job([step('attest', { materials })], {
    cancel: cancel.signal,
    onLine: (line) => void (line.startsWith('##[group]Materials') && cancel.abort()),
  });
  assert.equal(job.status, 'cancelled');
  assert.ok((job.steps[0]?.durationMs ?? 99_999) < 7_000, `${job.steps[0]?.durationMs} ms`);
  const [newest] = await scene.runs();
  assert.equal(newest?.state, 'cancelled', job.log);
});

test('two steps of one job that add at the same time both count', async () => {
  const run = scene.newRun();
  const job = await scene.job(
    [
      step('init'),
      {
        parallel: [
          { id: 'a', ...step('add', { materials: 'binary=dist/app' }) },
          { id: 'b', ...step('add', { materials: 'sbom=dist/app.cdx.json\ncommit=x' }) },
        ],
      },
      step('push'),
    ],
    { run },
  );
  assert.equal(job.status, 'success', job.log);
  assert.equal(job.steps.at(-1)?.outputs.status, 'passed');
});

test('a run that is over says so to a push; a push that was done before is a success', async () => {
  const run = scene.newRun();
  await scene.job([step('attest', { materials })], { run });
  const again = await scene.job([step('push')], { run });
  assert.match(again.log, /RUN_ALREADY_FINISHED|has ended|already|passed/i);
});
