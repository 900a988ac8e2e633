import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateKeyPair } from '../../core/adapters/keys.ts';
import type { JobResult } from '../fakes/actions-runner/job.ts';
import { type Canaries, createCanaries } from '../fakes/canaries.ts';
import { startFaultProxy } from '../fakes/fault-proxy.ts';
import { leftBy, materials, startScene } from './scene.ts';

// Acceptance list of the Action: row 17: no token and no key in any captured output, state, summary, or file of workspace and temporary folder.

const uses = 'chainloop/attest@v1';

/** Finds nothing in what the job left and showed; in what it wrote itself, only masks name a secret. */
async function clean(job: JobResult, canaries: Canaries): Promise<void> {
  for (const [index, secret] of job.secrets.entries()) canaries.watch(`token ${index} of the job`, secret);
  for (const [place, content] of Object.entries(await leftBy(job))) assert.deepEqual(canaries.findIn(content), [], place);
  const said = job.raw.split('\n').filter((line) => !line.startsWith('::add-mask::'));
  assert.deepEqual(canaries.findIn(said.join('\n')), []);
}

/** The run credentials that were masked: `chl_r_…`. */
function credentials(job: JobResult): readonly string[] {
  return [...new Set(job.raw.match(/(?<=^::add-mask::)chl_[\w-]+$/gm) ?? [])];
}

test('keyless: no OIDC token, request token or run credential is seen or left, with debug logging too', async () => {
  await using scene = await startScene();
  for (const debug of [false, true]) {
    const canaries = createCanaries();
    const run = scene.newRun({ debug });
    const job = await scene.job(
      [
        { uses, with: { ...scene.inputs, command: 'init' } },
        { uses, with: { ...scene.inputs, command: 'add', materials } },
        { run: 'find "$GITHUB_WORKSPACE" -type f; find "$RUNNER_TEMP" -name "*credential*" -type f -printf "%m %f\\n"' },
        { uses, with: { ...scene.inputs, command: 'push' } },
      ],
      { run },
    );
    assert.equal(job.status, 'success', job.log);
    const kept = credentials(job);
    assert.equal(kept.length, 1, 'all steps share one credential');
    for (const credential of kept) canaries.watch('run credential', credential);
    assert.match(job.steps[2]?.raw ?? '', /^600 /m, 'between steps it is for its owner alone');
    assert.equal(job.steps[2]?.raw.match(/dist\//g)?.length, 3, 'and not in the workspace');
    assert.equal(job.secrets.length, 3, 'one token was asked for');
    await clean(job, canaries);
    assert.ok(canaries.scannedBytes > 10_000);
  }
});

test('a key and its password, an API token, a registry password: never seen, whether the step succeeds or fails', async () => {
  await using scene = await startScene();
  const canaries = createCanaries();
  const password = canaries.plant('password of the key');
  const { privateKeyPem, publicKeyPem } = await generateKeyPair({ password });
  await scene.api.key.trust.mutate({ name: 'release', pem: publicKeyPem });
  const token = await scene.plane.createServiceAccount(scene.api, { workflow: 'release', project: 'bedrock' });
  canaries.watch('service account', token);
  for (const [index, line] of privateKeyPem.split('\n').entries())
    if (!line.includes('-----') && line.length > 20) canaries.watch(`line ${index} of the key`, line);
  const secrets = { KEY: privateKeyPem, PASSWORD: password, TOKEN: token, REGISTRY: canaries.plant('registry password') };
  const env = {
    SIGNING_KEY: '${{ secrets.KEY }}',
    CHAINLOOP_SIGNING_PASSWORD: '${{ secrets.PASSWORD }}',
    CHAINLOOP_REGISTRY_PASSWORD: '${{ secrets.REGISTRY }}',
  };
  const given = { ...scene.inputs, materials, 'signing-key': 'env://SIGNING_KEY', token: '${{ secrets.TOKEN }}', auth: 'token' };
  const job = await scene.job([{ uses, env, with: given }], { run: scene.newRun({ secrets }) });
  assert.equal(job.status, 'success', job.log);
  assert.match(job.log, /signed by key/);
  await clean(job, canaries);

  const failures = [
    { env: { ...env, CHAINLOOP_SIGNING_PASSWORD: 'wrong' } },
    { with: { ...given, token: `\${{ secrets.TOKEN }}x` } },
    { with: { ...given, 'control-plane': 'http://127.0.0.1:2', 'retry-timeout': '1s' } },
    { with: { ...given, materials: 'binary=dist/nothing' } },
    { with: { ...given, 'signing-key': '${{ secrets.KEY }}' } },
  ];
  for (const change of failures) {
    const failed = await scene.job([{ uses, env, with: given, ...change }], { run: scene.newRun({ secrets, debug: true }) });
    assert.equal(failed.status, 'failure', failed.log);
    await clean(failed, canaries);
  }
});

test('a control plane that repeats what it was sent shows nothing', async () => {
  await using scene = await startScene();
  await using proxy = await startFaultProxy({ target: scene.plane.url });
  const canaries = createCanaries();
  const token = await scene.plane.createServiceAccount(scene.api, { workflow: 'release', project: 'bedrock' });
  canaries.watch('service account', token);
  const body = JSON.stringify({
    error: { message: `Bearer ${token} is not known`, code: -32_603, data: { code: 'UNAUTHENTICATED', httpStatus: 401 } },
  });
  proxy.inject({ type: 'status', status: 401, headers: { 'content-type': 'application/json' }, body, times: 100 });
  const run = scene.newRun({ secrets: { TOKEN: token } });
  const job = await scene.job(
    [{ uses, with: { ...scene.inputs, 'control-plane': proxy.origin, materials, token: '${{ secrets.TOKEN }}', auth: 'token' } }],
    { run },
  );
  assert.equal(job.status, 'failure');
  for (const [place, content] of Object.entries(await leftBy(job))) assert.deepEqual(canaries.findIn(content), [], place);
});

test('after a cancellation no credential is left', async () => {
  await using scene = await startScene();
  const cancel = new AbortController();
  const job = await scene.job([{ uses, with: { ...scene.inputs, materials } }], {
    cancel: cancel.signal,
    onLine: (line) => void (line.startsWith('##[group]Materials') && cancel.abort()),
  });
  assert.equal(job.status, 'cancelled');
  const canaries = createCanaries();
  for (const credential of credentials(job)) canaries.watch('run credential', credential);
  await clean(job, canaries);
});
