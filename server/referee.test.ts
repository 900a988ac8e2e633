import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { CraftedMaterial } from '../core/crafting.ts';
import { digestOf, hexOf } from '../core/digest.ts';
import type { InitAnswer } from '../core/ports.ts';
import { type ControlPlane, startControlPlane } from '../test/fakes/control-plane.ts';
import { type Job, jobContract, jobRunner, newSigner, signBundle, startJob, text } from '../test/fakes/job.ts';
import { refusedPush, storedBlobs } from '../test/fakes/refused-push.ts';

/** Each test breaks one check alone, signs the lie for real, and sees the code of that check; the run is still open afterwards. */
describe('the referee', () => {
  let plane: ControlPlane;
  let acme: Awaited<ReturnType<ControlPlane['createOrganization']>>;
  let job: Job;
  let binary: CraftedMaterial;
  let materials: readonly CraftedMaterial[];

  before(async () => {
    plane = await startControlPlane();
    acme = await plane.createOrganization('acme');
    await acme.api.contract.create.mutate({ name: 'release', format: 'yaml', body: jobContract });
    const token = await plane.createServiceAccount(acme.api, { workflow: 'release', project: 'bedrock', contract: 'release' });
    job = await startJob({ url: plane.url, organization: 'acme', token, trustedBy: acme.api });
    binary = await job.upload('binary', 'the binary');
    materials = [text('commit', '9a96775d'), binary];
  });
  after(() => plane[Symbol.asyncDispose]());

  const refused = (run: InitAnswer, bundle: string, code: string, words: RegExp): Promise<void> =>
    refusedPush({ api: acme.api, dataDir: plane.dataDir, job }, run, bundle, code, words);

  test('an honest push is accepted, stored, and verifies', async () => {
    const run = await job.init();
    const bundle = await job.bundle(run, materials);
    assert.deepEqual(await job.push(run, bundle), { runId: run.runId, digest: digestOf(bundle), state: 'success' });
    const { run: described, attestation } = await acme.api.run.describe.query({ id: run.runId });
    assert.equal(described.state, 'success');
    assert.equal(attestation?.verified, true);
    assert.equal(attestation?.verificationError, null);
    assert.deepEqual(attestation?.bundle, JSON.parse(bundle));
    assert.deepEqual(
      attestation?.materials.map(({ name, value }) => [name, value]),
      [
        ['binary', `binary.txt@${binary.digest}`],
        ['commit', '9a96775d'],
      ],
    );
    assert.ok((await storedBlobs(plane.dataDir)).includes(hexOf(digestOf(bundle))));
  });

  test('check 1: a bundle that is not canonical is refused', async () => {
    const run = await job.init();
    const bundle = await job.bundle(run, materials);
    await refused(run, ` ${bundle}`, 'BUNDLE_INVALID', /canonical/);
    await refused(run, bundle.replace('"mediaType"', '"mediatype"'), 'BUNDLE_INVALID', /mediatype/);
    await refused(run, '{', 'BUNDLE_INVALID', /bundle/);
  });

  test('check 2: a signature by a key that the organization does not trust is refused', async () => {
    const run = await job.init();
    const { signer } = await newSigner();
    await refused(run, await job.bundle(run, materials, { signer }), 'SIGNER_UNTRUSTED', /chainloop key trust|trusted:/);
  });

  test('check 2: a key that only another organization trusts is refused', async () => {
    const other = await plane.createOrganization('others-key');
    const { signer, publicKeyPem } = await newSigner();
    await other.api.key.trust.mutate({ name: 'theirs', pem: publicKeyPem });
    const run = await job.init();
    await refused(run, await job.bundle(run, materials, { signer }), 'SIGNER_UNTRUSTED', /not trusted here/);
  });

  test('check 2: a signature over other bytes is refused', async () => {
    const [run, another] = [await job.init(), await job.init()];
    const payload = (bundle: string): string => JSON.parse(bundle).dsseEnvelope.payload;
    const mine = await job.bundle(run, materials);
    const forged = mine.replace(payload(mine), payload(await job.bundle(another, materials)));
    await refused(run, forged, 'SIGNATURE_INVALID', /signature/);
  });

  test('check 4: a signed payload that is no statement of ours is refused', async () => {
    const run = await job.init();
    await refused(run, await signBundle(Buffer.from('hello'), 'text/plain', job.signer), 'STATEMENT_INVALID', /in-toto/);
    const older = await job.bundle(run, materials, {
      text: (it) => it.replace('chainloop.dev/attestation/v0.2', 'chainloop.dev/attestation/v0.1'),
    });
    await refused(run, older, 'STATEMENT_INVALID', /predicateType/);
    const spaced = await job.bundle(run, materials, { text: (it) => `${it} ` });
    await refused(run, spaced, 'STATEMENT_INVALID', /white space/);
  });

  test('check 5: a statement about another organization, project, workflow, run or contract is refused, with every difference', async () => {
    const run = await job.init();
    const identity = { ...run, team: '' };
    const lies = [
      { ...identity, organization: 'evil' },
      { ...identity, project: 'evil' },
      { ...identity, workflowName: 'evil' },
      { ...identity, workflowId: run.runId },
      { ...identity, runId: (await job.init()).runId },
      { ...identity, contractName: 'evil' },
      { ...identity, contractRevision: 2 },
    ];
    for (const lie of lies)
      await refused(run, await job.bundle(run, materials, { start: { identity: lie } }), 'STATEMENT_MISMATCH', /this run has/);
    const all = await job.bundle(run, materials, { start: { identity: { ...identity, organization: 'evil', contractRevision: 2 } } });
    await refused(run, all, 'STATEMENT_MISMATCH', /organization is 'evil'.*contractVersion is '2'/s);
  });

  test('check 6: what the pinned revision requires must be there, and nothing else', async () => {
    const run = await job.init();
    const commit = text('commit', '9a96775d');
    const bundle = (brought: readonly CraftedMaterial[], start = {}) => job.bundle(run, brought, { start });
    await refused(run, await bundle([binary]), 'CONTRACT_NOT_SATISFIED', /material 'commit' is required/);
    await refused(run, await bundle([commit, { ...binary, type: 'EVIDENCE' }]), 'CONTRACT_NOT_SATISFIED', /binary' is of kind EVIDENCE/);
    await refused(run, await bundle([...materials, text('extra', 'x')]), 'CONTRACT_NOT_SATISFIED', /no material 'extra'/);
    await refused(run, await bundle([commit, { ...binary, uploaded: false }]), 'CONTRACT_NOT_SATISFIED', /was not uploaded/);
    await refused(run, await bundle(materials, { annotations: {} }), 'CONTRACT_NOT_SATISFIED', /severity/);
    await refused(run, await bundle(materials, { env: {} }), 'CONTRACT_NOT_SATISFIED', /CUSTOM_VAR/);
    const leaked = { env: { CUSTOM_VAR: 'v', AWS_SECRET_ACCESS_KEY: 'x' } };
    await refused(run, await bundle(materials, leaked), 'CONTRACT_NOT_SATISFIED', /AWS_SECRET_ACCESS_KEY/);
  });

  test('check 6: a contract that was relaxed after init does not help', async () => {
    const run = await job.init();
    const relaxed = jobContract.replace('{ type: STRING, name: commit }', '{ type: STRING, name: commit, optional: true }');
    await acme.api.contract.update.mutate({ name: 'release', format: 'yaml', body: relaxed });
    await refused(run, await job.bundle(run, [binary]), 'CONTRACT_NOT_SATISFIED', /commit/);
    await acme.api.contract.update.mutate({ name: 'release', format: 'yaml', body: jobContract });
  });

  test('check 6: the subjects are exactly the output materials', async () => {
    const run = await job.init();
    const another = digestOf('another');
    const lies: ((statement: string) => string)[] = [
      (it) => it.replace(`"sha256":"${hexOf(binary.digest ?? another)}"`, `"sha256":"${hexOf(another)}"`),
      (it) => it.replace('"name":"binary.txt"', '"name":"other.txt"'),
      (it) => it.replace(/"subject":\[(.*?)\],"predicate"/, '"subject":[$1,$1],"predicate"'),
    ];
    for (const lie of lies) await refused(run, await job.bundle(run, materials, { text: lie }), 'SUBJECT_MISMATCH', /binary\.txt/);
  });

  test('check 6: what is called an SBOM must be one, whatever the job says', async () => {
    const body = 'schemaVersion: v1\nmaterials:\n  - { type: SBOM_CYCLONEDX_JSON, name: sbom, output: true }\n';
    await acme.api.contract.create.mutate({ name: 'sboms', format: 'yaml', body });
    const token = await plane.createServiceAccount(acme.api, { workflow: 'sboms', project: 'bedrock', contract: 'sboms' });
    const { init, upload, push } = await startJob({ url: plane.url, organization: 'acme', token });
    const run = await init({ runner: { authenticated: false } });
    const start = { runner: { authenticated: false }, env: {}, annotations: {} };
    const bundle = async (content: string): Promise<string> =>
      job.bundle(run, [await upload('sbom', content, 'SBOM_CYCLONEDX_JSON')], { start });
    await assert.rejects(push(run, await bundle('trust me')), { code: 'MATERIAL_KIND_MISMATCH', message: /material 'sbom'/ });
    const sbom = { bomFormat: 'CycloneDX', specVersion: '1.6', version: 1 };
    await assert.rejects(push(run, await bundle(JSON.stringify({ ...sbom, version: 'one' }))), { code: 'MATERIAL_INVALID' });
    assert.equal((await push(run, await bundle(JSON.stringify(sbom)))).state, 'success');
  });

  test('check 7: evidence that never arrived, or with another size, or only in another organization, is missed', async () => {
    const run = await job.init();
    const commit = text('commit', '9a96775d');
    const never = { ...binary, digest: digestOf('never uploaded'), sizeBytes: 14 };
    await refused(run, await job.bundle(run, [commit, never]), 'EVIDENCE_MISSING', /material 'binary'/);
    await refused(run, await job.bundle(run, [commit, { ...binary, sizeBytes: 11 }]), 'EVIDENCE_MISSING', /11 bytes/);

    const other = await plane.createOrganization('elsewhere');
    const token = await plane.createServiceAccount(other.api, { workflow: 'release', project: 'bedrock' });
    const theirs = await (await startJob({ url: plane.url, organization: 'elsewhere', token })).upload('binary', 'only theirs');
    await refused(run, await job.bundle(run, [commit, theirs]), 'EVIDENCE_MISSING', /material 'binary'/);
  });

  test('check 7: evidence that has vanished from storage is missed, although it is recorded', async () => {
    const run = await job.init();
    const vanished = await job.upload('binary', 'soon gone');
    await rm(join(plane.dataDir, 'storage', 'acme', 'blobs', 'sha256', hexOf(vanished.digest ?? digestOf(''))));
    await refused(run, await job.bundle(run, [text('commit', 'x'), vanished]), 'EVIDENCE_MISSING', /material 'binary'/);
  });

  test('check 8: a runner that the contract does not ask for is refused before a run is opened', async () => {
    const before = (await acme.api.run.list.query({})).items.length;
    await assert.rejects(job.init({ runner: { type: 'JENKINS_JOB', authenticated: false } }), { code: 'RUNNER_MISMATCH' });
    await assert.rejects(job.init({ runner: { authenticated: false } }), { code: 'RUNNER_MISMATCH' });
    assert.equal((await acme.api.run.list.query({})).items.length, before);
  });

  test('check 8: a statement from another runner than the run, or that calls itself authenticated, is refused', async () => {
    const run = await job.init();
    const bundle = (runner: object) => job.bundle(run, materials, { start: { runner: { ...jobRunner, ...runner } } });
    await refused(run, await bundle({ type: 'JENKINS_JOB' }), 'RUNNER_MISMATCH', /asks for GITHUB_ACTION/);
    await refused(run, await bundle({ url: 'https://github.com/acme/app/actions/runs/2/attempts/1' }), 'RUNNER_MISMATCH', /runnerURL/);
    await refused(run, await bundle({ authenticated: true }), 'RUNNER_MISMATCH', /runnerAuthenticated/);
    await refused(run, await bundle({ environment: 'github-hosted' }), 'RUNNER_MISMATCH', /runnerEnvironment/);
  });

  test('check 10: a run that was cancelled, or has another attestation, takes none; the same one again gets the same answer', async () => {
    const cancelled = await job.init();
    const ofCancelled = await job.bundle(cancelled, materials);
    await acme.api.attestation.end.mutate({ runId: cancelled.runId, state: 'cancelled', reason: 'test' });
    await assert.rejects(job.push(cancelled, ofCancelled), { code: 'RUN_ALREADY_FINISHED' });

    const run = await job.init();
    const bundle = await job.bundle(run, materials);
    const answer = await job.push(run, bundle);
    assert.deepEqual(await job.push(run, bundle), answer);
    const another = await job.bundle(run, materials, { start: { annotations: { severity: 'high' } } });
    await assert.rejects(job.push(run, another), { code: 'RUN_ALREADY_FINISHED' });
    await assert.rejects(acme.api.attestation.end.mutate({ runId: run.runId, state: 'failed', reason: '' }), {
      code: 'RUN_ALREADY_FINISHED',
    });
  });

  test('the same bundle gets the same answer also after its key is no longer trusted', async () => {
    const run = await job.init();
    const { signer, publicKeyPem } = await newSigner();
    await acme.api.key.trust.mutate({ name: 'short-lived', pem: publicKeyPem });
    const bundle = await job.bundle(run, materials, { signer });
    const answer = await job.push(run, bundle);
    await acme.api.key.remove.mutate({ name: 'short-lived' });
    assert.deepEqual(await job.push(run, bundle), answer);
    const { attestation } = await acme.api.run.describe.query({ id: run.runId });
    assert.equal(attestation?.verified, false);
    assert.match(attestation?.verificationError ?? '', /not trusted/);
  });

  test('init with the same key opens one run, and a service account can open runs of its own workflow only', async () => {
    const idempotencyKey = 'the-same-key-of-one-job';
    const [first, second] = await Promise.all([job.init({ idempotencyKey }), job.init({ idempotencyKey })]);
    assert.deepEqual(first, second);
    const token = await plane.createServiceAccount(acme.api, { workflow: 'nightly', project: 'bedrock' });
    const nightly = plane.api(token).attestation;
    const runner = { authenticated: false } as const;
    const asked = { workflow: 'release', project: 'bedrock', runner, idempotencyKey: 'x'.repeat(16) };
    await assert.rejects(nightly.init.mutate(asked), { code: 'NOT_FOUND' });
    await assert.rejects(nightly.end.mutate({ runId: first.runId, state: 'failed' }), { code: 'NOT_FOUND' });
    await assert.rejects(nightly.push.mutate({ runId: first.runId, bundle: '{}' }), { code: 'NOT_FOUND' });
    await assert.rejects(nightly.init.mutate({ runner, contractRevision: 7, idempotencyKey: 'x'.repeat(16) }), { code: 'NOT_FOUND' });
  });
});

test('check 10: a run that was open for too long has expired, also when no sweep has come by', async () => {
  let hours = 0;
  await using plane = await startControlPlane({ now: () => new Date(Date.now() + hours * 60 * 60 * 1000) });
  const acme = await plane.createOrganization('acme');
  await acme.api.contract.create.mutate({ name: 'release', format: 'yaml', body: jobContract });
  const token = await plane.createServiceAccount(acme.api, { workflow: 'release', project: 'bedrock', contract: 'release' });
  const job = await startJob({ url: plane.url, organization: 'acme', token, trustedBy: acme.api });
  const run = await job.init();
  const bundle = await job.bundle(run, [text('commit', 'x'), await job.upload('binary', 'the binary')]);
  hours = 25;
  await assert.rejects(job.push(run, bundle), { code: 'RUN_EXPIRED' });
});
