import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { createControlPlane } from '../../client/control-plane.ts';
import type { RunnerContext } from '../../core/crafting.ts';
import { isChainloopError } from '../../core/errors.ts';
import { startFederatedPlane } from '../../test/fakes/federated.ts';
import { githubJob } from '../../test/fakes/issuer.ts';

/** What a job that lies says of itself. */
const lies: RunnerContext = {
  type: 'JENKINS_JOB',
  url: 'https://evil.example.com/run',
  environment: 'self-hosted',
  workflowFilePath: 'evil.yml',
  authenticated: false,
};

const code = (expected: string) => (error: unknown) => isChainloopError(error) && error.code === expected;

test('a run of federated jobs', async (t) => {
  let minutes = 0;
  await using federated = await startFederatedPlane({ now: () => new Date(Date.now() + minutes * 60_000) });
  const { plane, github, gitlab, api, exchange } = federated;
  await federated.bind('github');
  await federated.bind('gitlab');
  const github1 = async (claims: Record<string, unknown> = {}) =>
    (await exchange(await github.github({ claims }), { organization: 'acme' })).token;
  const jobOf = (token: string) => createControlPlane({ url: plane.url, token, retryBudgetMs: 2_000 });
  const init = (token: string) => jobOf(token).init({ runner: lies, idempotencyKey: randomUUID() });
  const end = (token: string, runId: string) => jobOf(token).end({ runId, state: 'failed', reason: 'sabotage' });

  await t.test('20 jobs of one CI run that begin at once share one run', async () => {
    const tokens = await Promise.all(Array.from({ length: 20 }, (_, index) => github1({ check_run_id: String(index + 1), run_id: '7' })));
    const runs = await Promise.all(tokens.map(init));
    assert.equal(new Set(runs.map(({ runId }) => runId)).size, 1);
    assert.ok(runs.every(({ collected }) => collected));
    const others = await Promise.all([
      init(await github1({ run_id: '8' })),
      init((await exchange(await gitlab.gitlab(), { organization: 'acme' })).token),
    ]);
    assert.equal(new Set([...others, ...runs].map(({ runId }) => runId)).size, 3);
  });

  await t.test('runner, commit and identity are what the CI system proved, whatever the job says', async () => {
    const run = await init(await github1({ run_id: '9', run_attempt: '2' }));
    assert.deepEqual(run.runner, {
      type: 'GITHUB_ACTION',
      url: 'https://github.com/acme/app/actions/runs/9/attempts/2',
      environment: 'github-hosted',
      workflowFilePath: '.github/workflows/release.yml',
      authenticated: true,
    });
    const shown = (await api.run.describe.query({ id: run.runId })).run;
    assert.equal(shown.runnerAuthenticated, true);
    assert.deepEqual(
      [shown.claims?.repository, shown.claims?.commit, shown.claims?.ref, shown.claims?.actor, shown.claims?.event],
      ['acme/app', githubJob.sha, 'refs/heads/main', 'alice', 'push'],
    );
    assert.deepEqual(shown.identity, {
      san: 'https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main',
      issuer: github.issuer,
    });
    const gitlabRun = await init((await exchange(await gitlab.gitlab({ claims: { pipeline_id: '9' } }), { organization: 'acme' })).token);
    assert.deepEqual(gitlabRun.runner, {
      type: 'GITLAB_PIPELINE',
      url: 'https://gitlab.com/acme/app/-/pipelines/9',
      environment: 'gitlab-hosted',
      workflowFilePath: '.gitlab-ci.yml',
      authenticated: true,
    });
  });

  await t.test('what a service account opens is self-reported, and bears its name', async () => {
    const token = await plane.createServiceAccount(api, { workflow: 'release', project: 'bedrock' });
    const run = await init(token);
    assert.deepEqual([run.runner.authenticated, run.collected], [false, false]);
    const { identity, claims } = (await api.run.describe.query({ id: run.runId })).run;
    assert.equal(claims, null);
    assert.equal(identity?.issuer, plane.url);
    assert.match(
      identity?.san ?? '',
      new RegExp(`^${plane.url}/organizations/acme/projects/bedrock/workflows/release/service-accounts/job-`),
    );
  });

  await t.test('a stolen credential touches no other run: not of another CI run, nor of a service account, nor the other way', async () => {
    const thief = await github1({ run_id: '100' });
    const account = await plane.createServiceAccount(api, { workflow: 'release', project: 'bedrock' });
    const victims = [await init(await github1({ run_id: '101' })), await init(account)];
    for (const { runId } of victims) await assert.rejects(end(thief, runId), code('NOT_FOUND'));
    const own = await init(thief);
    await assert.rejects(end(account, own.runId), code('NOT_FOUND'));
    await assert.rejects(plane.api(thief).run.describe.query({ id: own.runId }), code('FORBIDDEN'));
    await assert.rejects(
      plane.api(thief, 'evil').attestation.end.mutate({ runId: own.runId, state: 'failed', reason: '' }),
      code('NOT_FOUND'),
    );
    await end(thief, own.runId);
  });

  await t.test('a stolen credential uploads to its organization, and reads and enters nothing', async () => {
    await plane.createOrganization('evil');
    const headers = { authorization: `Bearer ${await github1()}` };
    const statusOf = async (path: string, method = 'GET') => (await fetch(plane.url + path, { method, headers })).status;
    assert.equal(await statusOf('/v2/acme/blobs/uploads/', 'POST'), 202);
    assert.equal(await statusOf('/v2/evil/blobs/uploads/', 'POST'), 404);
    assert.equal(await statusOf('/v2/acme/tags/list'), 403);
    assert.equal(await statusOf(`/v2/acme/blobs/sha256:${'0'.repeat(64)}`), 403);
    assert.equal(await statusOf('/metrics'), 200);
  });

  await t.test('a credential ends after 15 minutes, and with its binding at once', async () => {
    const id = await federated.bind('github', { repositoryId: '5', refs: ['refs/heads/main'] });
    const token = await github1({ repository_id: '5' });
    await init(token);
    minutes = 14;
    await init(token);
    minutes = 16;
    await assert.rejects(init(token), code('TOKEN_EXPIRED'));
    const fresh = await github1({ repository_id: '5' });
    await init(fresh);
    await api.binding.remove.mutate({ id });
    await assert.rejects(init(fresh), code('TOKEN_REVOKED'));
    minutes = 0;
  });

  await t.test('a re-run goes on with what is open, and begins anew after what has ended', async () => {
    const attempt = (number: number) => github1({ run_id: '55', run_attempt: String(number) });
    const first = await init(await attempt(1));
    assert.equal((await init(await attempt(2))).runId, first.runId);
    await end(await attempt(2), first.runId);
    for (const number of [1, 2]) await assert.rejects(init(await attempt(number)), code('RUN_ALREADY_FINISHED'));
    const third = await Promise.all([init(await attempt(3)), init(await attempt(3)), init(await attempt(4))]);
    assert.equal(new Set(third.map(({ runId }) => runId)).size, 1);
    assert.notEqual(third[0].runId, first.runId);
  });

  await t.test('a job cannot make the control plane keep variables and annotations that no contract asks for, nor megabytes', async () => {
    const names = Array.from({ length: 100 }, (_, index) => `VAR_${index}`);
    const body = JSON.stringify({ schemaVersion: 'v1', envAllowList: names, annotations: [{ name: 'severity' }] });
    await api.contract.create.mutate({ name: 'variables', format: 'json', body });
    await api.workflow.create.mutate({ name: 'variables', project: 'bedrock', contract: 'variables' });
    await federated.bind('github', { workflow: 'bedrock/variables', repositoryId: '6' });
    const job = plane.api(await github1({ repository_id: '6' }));
    const run = await createControlPlane({ url: plane.url, token: await github1({ repository_id: '6' }) }).init({
      runner: lies,
      idempotencyKey: randomUUID(),
    });
    const begin = (env: Record<string, string>, annotations: Record<string, string> = {}) =>
      job.attestation.begin.mutate({ runId: run.runId, start: { env, annotations } });
    const filled = (value: string) => Object.fromEntries(names.map((name) => [name, value]));
    await assert.rejects(begin({ ...filled('x'), NPM_TOKEN: 'CANARY' }), {
      code: 'CONTRACT_NOT_SATISFIED',
      message: /'NPM_TOKEN' is neither/,
    });
    await assert.rejects(begin({}), code('CONTRACT_NOT_SATISFIED'));
    await assert.rejects(begin(filled('x'), { other: 'x' }), { code: 'CONTRACT_NOT_SATISFIED', message: /no annotation 'other'/ });
    await assert.rejects(begin(filled('\u0001'.repeat(16 * 1024))), code('LIMIT_EXCEEDED'));
    assert.deepEqual(await begin({ ...filled('x'), GITHUB_REF: 'refs/heads/main' }, { severity: 'high' }), { kept: true });
  });

  await t.test('a contract that asks for another CI system is not satisfied by saying so', async () => {
    await api.contract.update.mutate({ name: 'release', format: 'yaml', body: 'schemaVersion: v1\nrunner: { type: JENKINS_JOB }\n' });
    await assert.rejects(init(await github1({ run_id: '60' })), code('RUNNER_MISMATCH'));
  });
});
