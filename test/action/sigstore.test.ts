import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startFaultProxy } from '../fakes/fault-proxy.ts';
import { githubJob } from '../fakes/issuer.ts';
import { type Fault, type Sigstore, startSigstore } from '../fakes/sigstore/server.ts';
import { checkout, materials, put, type Scene, startScene } from './scene.ts';

// `signing: sigstore` in a job of GitHub, whose token says who it is to the control plane and to Fulcio; and F14: Sigstore is away.

const uses = 'chainloop/attest@v1';
const release = `https://github.com/${githubJob.job_workflow_ref}`;
let scene: Scene;
let sigstore: Sigstore;
before(async () => {
  sigstore = await startSigstore();
  scene = await startScene();
  const identity = { name: 'sigstore', issuer: scene.github.issuer, identity: { exact: release }, trustRoot: sigstore.trustRoot() };
  await scene.api.identity.trust.mutate(identity);
});
after(async () => {
  await scene?.[Symbol.asyncDispose]();
  await sigstore?.[Symbol.asyncDispose]();
});

const prepare = async (workspace: string): Promise<void> => {
  await checkout(workspace);
  await put(workspace, 'sigstore/root.json', sigstore.trustRoot());
  await put(workspace, 'sigstore/services.json', sigstore.signingConfig());
};
const signing = {
  signing: 'sigstore',
  'sigstore-trusted-root': 'sigstore/root.json',
  'sigstore-signing-config': 'sigstore/services.json',
  'retry-timeout': '0s',
};
const attest = (more: Readonly<Record<string, string>> = {}) => ({ uses, with: { ...scene.inputs, ...signing, materials, ...more } });

test('a job signs with Sigstore by its own token, and the run stays verified', async () => {
  const { steps, status } = await scene.job([attest()], { prepare });
  const [step] = steps;
  assert.equal(status, 'success', step?.log);
  assert.match(step?.log ?? '', /signed by https:\/\/github\.com\/acme\/app\//);
  assert.match(step?.log ?? '', /go into the transparency log of 127\.0\.0\.1:\d+, for good/);
  const { attestation } = await scene.describe(step);
  assert.deepEqual([attestation?.verified, attestation?.signer], [true, release]);
  assert.ok(!(step?.log ?? '').includes('eyJ'), 'no token is in the log');
});

test('a job that does not say sigstore never asks it', async () => {
  const asked = sigstore.requests.length;
  const { status } = await scene.job([{ uses, with: { ...scene.inputs, materials } }], { prepare });
  assert.equal(status, 'success');
  assert.equal(sigstore.requests.length, asked);
});

test('inputs that contradict each other are all said at once', async () => {
  const { steps } = await scene.job([attest({ 'signing-key': 'k', 'sigstore-signing-config': '' })], { prepare });
  const said = steps[0]?.annotations.map(({ message }) => message).join('\n') ?? '';
  assert.match(said, /signing-key: is given, and signing is 'sigstore'/);
  assert.match(said, /sigstore-signing-config: is missing beside sigstore-trusted-root/);
});

test('F14: whatever of Sigstore is away, nothing unsigned is a success, and an outage that was foreseen lets the job go on', async (t) => {
  const busy: Fault = async () => ({ status: 503, body: { message: 'maintenance' } });
  const cut: Fault = async () => 'reset';
  const rows = (['fulcio', 'rekor2', 'tsa'] as const).flatMap((service) => [
    { service, fault: cut, onOutage: 'fail', expected: ['failed', 'failure', 'failed'] },
    { service, fault: busy, onOutage: 'defer', expected: ['deferred', 'success', 'initialized'] },
  ]);
  let unsignedButSuccess = 0;
  for (const { service, fault, onOutage, expected } of rows) {
    sigstore.fail(service, fault);
    const { steps, status } = await scene.job([attest({ 'on-outage': onOutage })], { prepare });
    sigstore.fail(service, []);
    const [step] = steps;
    const { run, attestation } = await scene.describe(step);
    assert.deepEqual([step?.outputs.status, status, run.state], expected, `${service}\n${step?.log}`);
    // Nowhere is it called signed: not in the outputs, not in the log.
    assert.deepEqual([step?.outputs.digest, step?.outputs['bundle-path']], ['', ''], service);
    assert.doesNotMatch(step?.log ?? '', /signed by/, service);
    if (attestation !== null || run.state === 'success') unsignedButSuccess++;
  }
  t.diagnostic(`F14: unsigned-but-success: ${unsignedButSuccess} of ${rows.length}`);
  assert.equal(unsignedButSuccess, 0);
});

test('what a step could not sign, a later one of the job signs and sends, as it was sealed', async () => {
  sigstore.fail('fulcio', async () => 'reset');
  const { steps, status } = await scene.job(
    [attest({ 'on-outage': 'defer' }), { run: 'echo back' }, { uses, with: { ...scene.inputs, ...signing, command: 'push' } }],
    { prepare, onLine: (line) => void (line === 'back' && sigstore.fail('fulcio', [])) },
  );
  assert.equal(status, 'success', steps.at(-1)?.log);
  assert.deepEqual([steps[0]?.outputs.status, steps[2]?.outputs.status], ['deferred', 'passed']);
  assert.equal((await scene.describe(steps[2])).run.state, 'success');
});

test('the control plane is away, and Sigstore is not: what was signed is sent once it is back, without another signature', async () => {
  await using proxy = await startFaultProxy({ target: scene.plane.url });
  proxy.inject({ type: 'status', status: 503, path: /attestation\.push/, times: 1000 });
  const asked = sigstore.logs.rekor2.prove(0).size;
  const at = { 'control-plane': proxy.origin, audience: scene.plane.url };
  const { steps, status } = await scene.job(
    [attest({ ...at, 'on-outage': 'defer' }), { run: 'echo back' }, { uses, with: { ...scene.inputs, ...at, command: 'push' } }],
    { prepare, onLine: (line) => void (line === 'back' && proxy.clear()) },
  );
  assert.equal(status, 'success', steps.map(({ log }) => log).join('\n'));
  assert.deepEqual([steps[0]?.outputs.status, steps[2]?.outputs.status], ['deferred', 'passed']);
  assert.equal(sigstore.logs.rekor2.prove(0).size, asked + 1);
});
