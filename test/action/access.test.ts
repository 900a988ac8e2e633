import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { pullRequestEvent, tagEvent } from '../fakes/actions-runner/event.ts';
import type { StepResult } from '../fakes/actions-runner/job.ts';
import { materials, type Scene, startScene } from './scene.ts';

// Acceptance list of the Action: rows 2, 3, 11, 12 and 13, and what a developer sees who is not let in.

let scene: Scene;
before(async () => {
  scene = await startScene();
});
after(async () => {
  await scene?.[Symbol.asyncDispose]();
});

const uses = 'chainloop/attest@v1';
const attest = (more: Readonly<Record<string, string>> = {}) => [{ uses, with: { ...scene.inputs, materials, ...more } }];
const errors = (step: StepResult | undefined): string =>
  step?.annotations.map(({ level, title, message }) => `${level} ${title}: ${message}`).join('\n') ?? '';

test('a job without id-token: write is told what to paste, and nothing is sent', async () => {
  const before = (await scene.runs()).length;
  const { steps, posts, status } = await scene.job(attest(), { job: { permissions: { contents: 'read' } } });
  assert.equal(status, 'failure');
  assert.match(errors(steps[0]), /^error .*: [\s\S]*permissions:\n {2}contents: read\n {2}id-token: write/);
  assert.equal(steps[0]?.annotations.length, 1);
  assert.equal(steps[0]?.outputs.status, 'failed');
  assert.equal(posts[0]?.outcome, 'success');
  assert.equal((await scene.runs()).length, before);
});

test('a pull request from a fork is skipped: green, a notice, status=skipped', async () => {
  const run = scene.newRun({ event: pullRequestEvent({ fork: true }) });
  const { steps, status } = await scene.job(attest(), { run, job: { permissions: { contents: 'read' } } });
  assert.equal(status, 'success');
  assert.equal(steps[0]?.outputs.status, 'skipped');
  assert.match(errors(steps[0]), /^notice Chainloop: skipped: This is a pull request from a fork/);
  assert.match(steps[0]?.summary ?? '', /skipped/);
});

test('fork-pr: dry-run checks the evidence without a token, fork-pr: fail fails', async () => {
  const job = { permissions: { contents: 'read' } } as const;
  const run = () => scene.newRun({ event: pullRequestEvent({ fork: true }) });
  const dry = await scene.job(attest({ 'fork-pr': 'dry-run' }), { run: run(), job });
  assert.equal(dry.status, 'success', dry.log);
  assert.equal(dry.steps[0]?.outputs.status, 'dry-run');
  const typo = await scene.job(attest({ 'fork-pr': 'dry-run', materials: 'binary=dist/ap' }), { run: run(), job });
  assert.match(errors(typo.steps[0]), /no such file/);
  const fail = await scene.job(attest({ 'fork-pr': 'fail' }), { run: run(), job });
  assert.equal(fail.status, 'failure');
  assert.match(errors(fail.steps[0]), /fork/);
});

test('a pull request of a branch is no fork: without the permission it is told so', async () => {
  const run = scene.newRun({ event: pullRequestEvent({ fork: false }) });
  const { steps, status } = await scene.job(attest(), { run, job: { permissions: { contents: 'read' } } });
  assert.equal(status, 'failure');
  assert.match(errors(steps[0]), /id-token: write/);
});

test('no binding: expected and found, claim by claim, and how to make one', async () => {
  const run = scene.newRun({
    event: { ref: 'refs/heads/topic', ref_name: 'topic', workflow_ref: 'acme/app/.github/workflows/release.yml@refs/heads/topic' },
  });
  const { steps } = await scene.job(attest(), { run });
  const said = errors(steps[0]);
  assert.match(said, /ref: is 'refs\/heads\/topic'; binding .* expects refs\/heads\/main/);
  assert.match(said, /chainloop binding create/);
  assert.equal(steps[0]?.outputs['attestation-id'], '');
});

test('an event that the binding does not name is refused', async () => {
  const run = scene.newRun({ event: { event_name: 'pull_request_target' } });
  const { steps } = await scene.job(attest(), { run });
  assert.match(errors(steps[0]), /event_name[\s\S]*pull_request_target/);
});

test('the immutable and the older form of sub are both let in, with the same ids', async () => {
  for (const sub of ['repo:acme@123456/app@456789:ref:refs/heads/main', 'repo:acme/app:ref:refs/heads/main', 'something:of:the:owner']) {
    const { steps, status } = await scene.job(attest(), { run: scene.newRun({ claims: { sub } }) });
    assert.equal(status, 'success', `${sub}\n${steps[0]?.log}`);
  }
});

test('a repository that took the old name is refused; one that was renamed is let in', async () => {
  const taken = await scene.job(attest(), { run: scene.newRun({ claims: { repository_id: '999' } }) });
  assert.match(errors(taken.steps[0]), /repository_id: is '999'; binding .* expects 456789/);
  const renamed = {
    repository: 'acme/new',
    workflow_ref: 'acme/new/.github/workflows/release.yml@refs/heads/main',
    repository_owner: 'acme',
  };
  const { status, steps } = await scene.job(attest(), { run: scene.newRun({ event: renamed }) });
  assert.equal(status, 'success', steps[0]?.log);
});

test('a stranger learns nothing of the bindings of others', async () => {
  const { steps } = await scene.job(attest(), {
    run: scene.newRun({ claims: { repository_owner_id: '666', repository_id: '667', repository_owner: 'mallory' } }),
  });
  assert.doesNotMatch(errors(steps[0]), /456789|123456|bedrock/);
  assert.match(errors(steps[0]), /binding/);
});

test('a token that was used is refused a second time', async () => {
  const token = await scene.github.github({ audience: scene.plane.url });
  await scene.exchange(token);
  await assert.rejects(scene.exchange(token), { code: 'UNAUTHENTICATED' });
});

test('a tag is let in, and the attestation says which', async () => {
  const run = scene.newRun({ event: tagEvent('v1.4.0', { run_id: '91001' }) });
  const { steps, status } = await scene.job(attest(), { run });
  assert.equal(status, 'success', steps[0]?.log);
  const described = await scene.describe(steps[0]);
  assert.equal(described.run.claims?.ref, 'refs/tags/v1.4.0');
  assert.equal(described.run.identity?.san, 'https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1.4.0');
});

test('without OIDC a token does it, and is masked', async () => {
  const token = await scene.plane.createServiceAccount(scene.api, { workflow: 'release', project: 'bedrock' });
  const run = scene.newRun({ secrets: { CHAINLOOP_TOKEN: token } });
  const steps = [{ uses, with: { ...scene.inputs, materials, token: '${{ secrets.CHAINLOOP_TOKEN }}' } }];
  const job = await scene.job(steps, { run, job: { permissions: { contents: 'read' } } });
  assert.equal(job.status, 'success', job.log);
  assert.ok(!job.log.includes(token));
  const wrong = await scene.job([{ uses, with: { ...scene.inputs, materials, token: `${token.slice(0, -8)}AAAAAAAA` } }], {
    job: { permissions: { contents: 'read' } },
  });
  assert.equal(wrong.status, 'failure');
  const unset = await scene.job([{ uses, with: { ...scene.inputs, materials, auth: 'token', token: '${{ secrets.NONE }}' } }]);
  assert.match(errors(unset.steps[0]), /token[\s\S]*is the secret set/);
});

test('GitHub’s endpoint for tokens may fail twice', async () => {
  const { status, steps } = await scene.job(attest(), { run: scene.newRun({ idTokenFailures: 2 }) });
  assert.equal(status, 'success', steps[0]?.log);
});

test('a token for another audience, and one that has expired, are refused with the reason', async () => {
  const audience = await scene.job(attest({ audience: 'https://elsewhere.example.com' }));
  assert.match(errors(audience.steps[0]), /audience/);
  const expired = await scene.job(attest(), {
    run: scene.newRun({ claims: { iat: 1_700_000_000, nbf: 1_700_000_000, exp: 1_700_000_300 } }),
  });
  assert.match(errors(expired.steps[0]), /expired/);
});
