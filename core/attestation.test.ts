import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  addAll,
  aJob,
  binary,
  builderId,
  fails,
  head,
  imageDigest,
  jobContract,
  ready,
  root,
  statementIn,
  trusted,
} from '../test/fakes/crafting-job.ts';
import { add, init, push } from './attestation.ts';
import { digestOf, parseDigest } from './digest.ts';
import { parseStatement } from './statement.ts';
import { verifyBundle } from './verify.ts';

test('init, add and push end in one successful run, whose bundle anybody with the key can verify', async () => {
  const job = await ready();
  const pushed = await job.push();
  assert.ok(pushed.type === 'pushed');
  assert.deepEqual(job.plane.states(), ['success']);
  const statement = statementIn(pushed.bundle);
  assert.equal(statement.predicate.metadata.workflowRunID, pushed.runId);
  assert.deepEqual(
    statement.subject.map((subject) => subject.name),
    ['git.head', 'server.tar', 'ghcr.io/acme/app'],
  );
  assert.deepEqual([...job.plane.evidence.keys()], [digestOf('the binary')]);
  await fails(job.status(), 'NO_CRAFTING');
});

test('init records the variables that the contract allows and those of the runner, and nothing else', async () => {
  const { start } = await aJob().init();
  assert.deepEqual(start.env, { CUSTOM_VAR: 'value', GITHUB_RUN_ID: '1', GITHUB_SHA: 'abc' });
  assert.deepEqual(start.head, head);
});

test('status says what is there, what is required, and everything that is missing', async () => {
  const job = aJob();
  await job.init();
  await job.add('binary', binary);
  const { checklist, problems, sealed } = await job.status();
  assert.deepEqual(checklist, [
    { name: 'commit', type: 'STRING', set: false, required: true, output: false },
    { name: 'binary', type: 'ARTIFACT', set: true, required: true, output: true, value: `server.tar@${digestOf('the binary')}` },
    { name: 'image', type: 'CONTAINER_IMAGE', set: false, required: true, output: true },
    { name: 'notes', type: 'EVIDENCE', set: false, required: false, output: false },
  ]);
  assert.deepEqual(
    problems.map((problem) => problem.message),
    [
      "material 'commit' is required; add it with: chainloop attestation add --name commit --value <text>",
      "material 'image' is required; add it with: chainloop attestation add --name image --value <image>",
    ],
  );
  assert.equal(sealed, false);
});

test('two jobs on one machine attest side by side (lessons.md, 9)', async () => {
  const jobs = [await ready(), await ready()];
  const pushed = await Promise.all(jobs.map((job) => job.push()));
  assert.equal(new Set(pushed.map((result) => result.type === 'pushed' && result.runId)).size, 2);
});

test('what is resolved is the digest, never the tag alone', async () => {
  const job = await ready();
  const image = (await job.status()).materials.find((material) => material.name === 'image');
  assert.equal(image?.digest, parseDigest(imageDigest));
  assert.equal(image?.tag, 'v1');
});
const dryRun = { type: 'dryRun', contract: { ...jobContract, runner: undefined }, workflow: 'release' } as const;
test('a dry run needs no control plane, and records nothing anywhere (lessons.md, 24)', async () => {
  const job = aJob();
  const offline = async (): Promise<never> => {
    throw new Error('a dry run must not ask the control plane');
  };
  const ports = {
    ...job.ports,
    controlPlane: { init: offline, push: offline, bring: offline, end: offline },
    evidence: { upload: offline },
  };
  await init(ports, { from: dryRun, env: { CUSTOM_VAR: 'x' }, directory: root });
  await add(ports, { name: 'commit', value: 'deadbeef' });
  await add(ports, { name: 'binary', value: binary });
  await add(ports, { name: 'image', value: 'ghcr.io/acme/app:v1' });
  const result = await push({ ...ports, signer: undefined }, { builderId });
  assert.ok(result.type === 'dryRun');
  assert.equal(result.bundle, undefined);
  const { metadata } = parseStatement(result.statement).predicate;
  assert.equal(metadata.workflowRunID, undefined);
  assert.equal(metadata.workflowName, 'release');
  await fails(job.status(), 'NO_CRAFTING');
});

test('a dry run that is given a key is signed', async () => {
  const job = aJob();
  await job.init({ from: dryRun });
  await addAll(job);
  const result = await job.push();
  assert.ok(result.type === 'dryRun' && result.bundle !== undefined);
  assert.deepEqual(verifyBundle(result.bundle, { type: 'keys', keys: [trusted] }).payload, result.statement);
});

test('a dry run is refused for what a run would be refused for', async () => {
  const job = aJob();
  await fails(job.init({ from: { ...dryRun, contract: jobContract }, env: { CUSTOM_VAR: 'x' } }), 'RUNNER_MISMATCH');
  await job.init({ from: dryRun });
  await fails(job.push(), 'CONTRACT_NOT_SATISFIED');
});

test('a name that no statement can carry is refused with its place, not with a crash', async () => {
  const job = aJob();
  await job.init({ from: { ...dryRun, workflow: 'w'.repeat(300) } });
  await addAll(job);
  await fails(job.push(), 'STATEMENT_INVALID');
});
