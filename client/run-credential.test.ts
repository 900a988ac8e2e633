import assert from 'node:assert/strict';
import { chmod, mkdtempDisposable, readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ciTokenSource } from '../core/adapters/ci-token.ts';
import { startFederatedPlane } from '../test/fakes/federated.ts';
import { keepCredential } from './run-credential.ts';

test('the run credential of a job', async (t) => {
  let minutes = 0;
  const now = () => new Date(Date.now() + minutes * 60_000);
  await using federated = await startFederatedPlane({ now });
  await federated.bind('github');
  await federated.bind('gitlab');
  const { plane } = federated;

  /** A step of a job; steps of the same job have the same environment and the same folder for temporary files. */
  const step = (temporary: string, env: Record<string, string>, choice = {}) => {
    const source = ciTokenSource(env);
    assert.ok(source !== undefined);
    const options = { url: plane.url, version: 'test', retryBudgetMs: 0 };
    return keepCredential({ env: { ...env, RUNNER_TEMP: temporary }, source, options, choice, workspace: temporary, now });
  };
  const temp = () => mkdtempDisposable(join(tmpdir(), 'chainloop-credential-'));
  const gitlabEnv = async () => ({ GITLAB_CI: 'true', CI_JOB_ID: '1', CHAINLOOP_ID_TOKEN: await federated.gitlab.gitlab() });
  const folderOf = async (temporary: string): Promise<string> => {
    const [name] = await readdir(join(temporary, 'chainloop'));
    return join(temporary, 'chainloop', name ?? '');
  };

  await t.test('all steps of a job have one, until a minute before it ends; then a job of GitHub gets another', async () => {
    await using folder = await temp();
    const env = federated.github.jobEnv();
    const first = await step(folder.path, env).current();
    minutes = 13;
    assert.deepEqual(await step(folder.path, env).current(), first);
    minutes = 14.5;
    const held = step(folder.path, env);
    const second = await held.current();
    assert.notEqual(second.token, first.token);
    minutes = 20;
    assert.equal((await held.current()).token, second.token);
    minutes = 29;
    assert.notEqual((await held.current()).token, second.token, 'also in the middle of a command');
    minutes = 0;
  });

  await t.test('a job of GitLab that outlasts it is told so', async () => {
    await using folder = await temp();
    const env = await gitlabEnv();
    await step(folder.path, env).current();
    minutes = 4;
    await step(folder.path, env).current();
    minutes = 14.5;
    await assert.rejects(step(folder.path, env).current(), { code: /TOKEN_EXPIRED|UNAUTHENTICATED/ });
    minutes = 0;
  });

  await t.test('the token of the CI system is not written, and the credential only for its owner', async () => {
    await using folder = await temp();
    const env = await gitlabEnv();
    const { token } = await step(folder.path, env).current();
    const own = await folderOf(folder.path);
    assert.deepEqual(await readdir(own), ['credential.json']);
    assert.equal((await stat(own)).mode & 0o777, 0o700);
    assert.equal((await stat(join(own, 'credential.json'))).mode & 0o777, 0o600);
    const text = await readFile(join(own, 'credential.json'), 'utf8');
    assert.ok(text.includes(token) && !text.includes('eyJ'));
    const kept = step(folder.path, env);
    await kept.forget();
    assert.deepEqual(await readdir(join(folder.path, 'chainloop')), []);
  });

  for (const [what, spoil] of [
    ['that others may read', (path: string) => chmod(path, 0o644)],
    ['that is cut off', async (path: string) => writeFile(path, (await readFile(path, 'utf8')).slice(0, 40))],
    [
      'with something more in it',
      async (path: string) => writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), more: 1 })),
    ],
  ] as const) {
    await t.test(`a file ${what} is not believed, but replaced`, async () => {
      await using folder = await temp();
      const env = federated.github.jobEnv();
      const first = await step(folder.path, env).current();
      const path = join(await folderOf(folder.path), 'credential.json');
      await spoil(path);
      const second = await step(folder.path, env).current();
      assert.notEqual(second.token, first.token);
      assert.equal((await stat(path)).mode & 0o777, 0o600);
      assert.deepEqual(await step(folder.path, env).current(), second);
    });
  }

  await t.test('another job, another workflow, another control plane: never the same credential', async () => {
    await using folder = await temp();
    const [one, other] = [federated.github.jobEnv(), federated.github.jobEnv({ check_run_id: '2' })];
    const first = await step(folder.path, one).current();
    assert.notEqual((await step(folder.path, other).current()).token, first.token);
    await federated.api.workflow.create.mutate({ name: 'audit', project: 'bedrock' });
    const id = await federated.bind('github', { workflow: 'bedrock/audit' });
    const audit = await step(folder.path, one, { workflow: 'audit' }).current();
    assert.equal(audit.workflow, 'audit');
    assert.equal((await step(folder.path, one, { workflow: 'release' }).current()).workflow, 'release');
    await federated.api.binding.remove.mutate({ id });
  });

  await t.test('steps of a GitLab job at once exchange its token once; a token that is no good keeps nobody waiting', async () => {
    await using folder = await temp();
    const env = await gitlabEnv();
    const made = await Promise.all(Array.from({ length: 5 }, () => step(folder.path, env).current()));
    assert.equal(new Set(made.map(({ token }) => token)).size, 1);
    assert.deepEqual(await readdir(await folderOf(folder.path)), ['credential.json']);
    await using another = await temp();
    const startedAt = performance.now();
    const refused = await Promise.allSettled(Array.from({ length: 5 }, () => step(another.path, env).current()));
    assert.ok(refused.every(({ status }) => status === 'rejected'));
    assert.ok(performance.now() - startedAt < 10_000);
  });

  await t.test('calls of one process at once exchange once, and what jobs left behind long ago is swept', async () => {
    await using folder = await temp();
    await step(folder.path, federated.github.jobEnv()).current();
    const old = join(await folderOf(folder.path), 'credential.json');
    const longAgo = new Date(Date.now() - 60 * 60_000);
    await utimes(old, longAgo, longAgo);
    const kept = step(folder.path, await gitlabEnv());
    const made = await Promise.all([kept.current(), kept.current(), kept.current()]);
    assert.equal(new Set(made.map(({ token }) => token)).size, 1);
    assert.equal((await readdir(join(folder.path, 'chainloop'))).length, 1);
  });
});
