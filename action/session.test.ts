import assert from 'node:assert/strict';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isChainloopError } from '../core/errors.ts';
import { openSession, type SessionPlan } from '../plugin/session.ts';
import { type FederatedPlane, startFederatedPlane } from '../test/fakes/federated.ts';
import { githubJob } from '../test/fakes/issuer.ts';
import { repositoryName, workflowFileName } from './names.ts';
import { github } from './platform.ts';

let plane: FederatedPlane;
before(async () => {
  plane = await startFederatedPlane();
  await plane.bind('github');
  await plane.api.workflow.create.mutate({ name: 'nightly', project: 'bedrock', contract: 'release' });
  await plane.bind('github', { workflow: 'bedrock/nightly' });
});
after(() => plane?.[Symbol.asyncDispose]());

/** Opens a session as a job of GitHub would; what was masked, and the last choice that was saved. */
async function open(
  choice: SessionPlan['choice'],
  change: Partial<SessionPlan> & { readonly token?: string; readonly oidc?: boolean } = {},
) {
  await using temp = await mkdtempDisposable(join(tmpdir(), 'chainloop-session-'));
  const { token, oidc = true, ...more } = change;
  const masked: string[] = [];
  const env = {
    ...{ GITHUB_ACTIONS: 'true', GITHUB_RUN_ID: '1', GITHUB_REPOSITORY: 'acme/bedrock', RUNNER_TEMP: temp.path },
    GITHUB_WORKFLOW_REF: 'acme/bedrock/.github/workflows/Nightly.yaml@refs/heads/main',
    ...(oidc ? plane.github.githubEnv : {}),
  };
  const plan: SessionPlan = {
    ...{ url: plane.plane.url, organization: undefined, auth: 'auto', audience: undefined, retryBudgetMs: 0 },
    choice,
    ...more,
  };
  const platform = { ...github(env), directory: temp.path, mask: (secret: string) => void masked.push(secret) };
  const session = await openSession(plan, { platform, token });
  return { session, masked, options: await session.options() };
}

test('where several workflows would have the job, it means the one that its file and repository are called after', async () => {
  const { session } = await open({ project: undefined, workflow: undefined });
  assert.deepEqual(session.plan.choice, { project: 'bedrock', workflow: 'nightly' });
});

test('what the step says counts before what the file is called', async () => {
  const { session } = await open({ project: undefined, workflow: 'release' });
  assert.equal(session.plan.choice.workflow, 'release');
});

test('a choice that fits none is told of all that there are', async () => {
  await assert.rejects(open({ project: 'other', workflow: undefined }), (error) => {
    assert.ok(isChainloopError(error));
    assert.ok(error.code === 'NO_BINDING' || error.code === 'CONFLICT', error.code);
    return true;
  });
});

test('every token is masked before it is used, and none is in what is saved', async () => {
  const { session, masked, options } = await open({ project: undefined, workflow: 'release' });
  assert.match(masked[0] ?? '', /^eyJ/, 'the token of GitHub first');
  assert.ok(masked.includes(options.token));
  for (const secret of masked) assert.ok(!JSON.stringify(session.plan).includes(secret));
});

test('without OIDC the token that was given is taken; without either the reader is told what to paste', async () => {
  const { session, masked } = await open({}, { oidc: false, token: 'chl_a_x' });
  assert.equal(session.type, 'token');
  assert.deepEqual(masked, ['chl_a_x']);
  await assert.rejects(open({}, { oidc: false }), {
    code: 'UNAUTHENTICATED',
    message: /permissions:\n {2}contents: read\n {2}id-token: write/,
  });
  await assert.rejects(open({}, { oidc: false, token: 'chl_a_x', auth: 'oidc' }), { code: 'UNAUTHENTICATED' });
});

test('auth: token leaves OIDC alone', async () => {
  const { session } = await open({}, { token: 'chl_a_x', auth: 'token' });
  assert.equal(session.type, 'token');
});

test('names are those of the repository and of the workflow file', () => {
  assert.equal(repositoryName({ GITHUB_REPOSITORY: 'acme/My.App_2' }), 'my-app-2');
  assert.equal(workflowFileName({ GITHUB_WORKFLOW_REF: githubJob.workflow_ref }), 'release');
  assert.equal(workflowFileName({ GITHUB_WORKFLOW_REF: 'a/b/.github/workflows/x@y.yml@refs/tags/v1' }), 'x-y');
  assert.equal(workflowFileName({}), undefined);
});
