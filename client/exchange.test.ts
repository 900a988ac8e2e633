import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { type CiTokenSource, ciTokenSource } from '../core/adapters/ci-token.ts';
import { isChainloopError } from '../core/errors.ts';
import { startFaultProxy } from '../test/fakes/fault-proxy.ts';
import { startFederatedPlane } from '../test/fakes/federated.ts';
import { listen } from '../test/fakes/listen.ts';
import { createApi } from './api.ts';
import { exchange, exchangeFrom } from './exchange.ts';

test('the exchange', async (t) => {
  await using federated = await startFederatedPlane();
  await federated.bind('github');
  await federated.bind('gitlab');
  const { plane, github, gitlab } = federated;
  const options = { url: plane.url, version: 'test', retryBudgetMs: 0 };
  const source = (platform: CiTokenSource['platform'], token: () => Promise<string>): CiTokenSource => ({ platform, token });

  await t.test('a job has what it needs for one run, and whom it is certified as', async () => {
    const fromEnv = ciTokenSource(github.githubEnv);
    assert.ok(fromEnv !== undefined);
    const { token, expiresAt, ...rest } = await exchangeFrom(fromEnv, options);
    assert.match(token, /^chl_r_/);
    assert.ok(new Date(expiresAt).getTime() - Date.now() > 14 * 60_000);
    const san = 'https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main';
    const { issuer } = github;
    assert.deepEqual(
      { ...rest, identity: { ...rest.identity, san: rest.identity.san.replace(/^https?:\/\/[^/]+/, 'https://github.com') } },
      { organization: 'acme', project: 'bedrock', workflow: 'release', identity: { san, issuer } },
    );
    const who = await createApi({ ...options, token }).auth.whoami.query();
    assert.deepEqual([who.kind, who.organization, who.workflow], ['run', 'acme', 'release']);
  });

  await t.test('a job that nobody lets in is told why, claim by claim', async () => {
    const subjectToken = await github.github({ claims: { ref: 'refs/heads/feature', event_name: 'pull_request_target' } });
    await assert.rejects(exchange(options, { subjectToken }), (error) => {
      assert.ok(isChainloopError(error, 'NO_BINDING'));
      assert.deepEqual(
        error.problems.map(({ path }) => path),
        ['ref', 'event_name'],
      );
      assert.ok(!error.message.includes(subjectToken));
      return true;
    });
  });

  await t.test('a job that is let into several workflows chooses', async () => {
    await federated.api.workflow.create.mutate({ name: 'audit', project: 'bedrock' });
    const id = await federated.bind('gitlab', { workflow: 'bedrock/audit' });
    await assert.rejects(exchange(options, { subjectToken: await gitlab.gitlab() }), { code: 'CONFLICT', message: /bedrock\/audit/ });
    const chosen = await exchange(options, { subjectToken: await gitlab.gitlab(), workflow: 'audit' });
    assert.equal(chosen.workflow, 'audit');
    await federated.api.binding.remove.mutate({ id });
  });

  await t.test('a control plane that answers with the credential of somebody else is not believed', async () => {
    const made = await exchange(options, { subjectToken: await github.github() });
    await using liar = await listen(
      createServer(
        (_, response) =>
          void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ result: { data: made } })),
      ),
    );
    const asked = { ...options, url: liar.origin, organization: 'acme' };
    assert.equal((await exchange(asked, { subjectToken: 'x' })).token, made.token);
    const refused = { code: 'FORBIDDEN', message: /is for acme\/bedrock\/release, which has another/ };
    await assert.rejects(exchange({ ...asked, organization: 'other' }, { subjectToken: 'x' }), refused);
    await assert.rejects(exchange(asked, { subjectToken: 'x', workflow: 'audit' }), refused);
  });

  await t.test('an answer that is lost costs a job of GitHub another token, and one of GitLab the exchange', async () => {
    const lose = { path: /auth\.exchange/, type: 'loseAnswer' } as const;
    await using proxy = await startFaultProxy({ target: plane.url, faults: [lose] });
    const through = { ...options, url: proxy.origin, retryBudgetMs: 60_000 };
    assert.match(
      (
        await exchangeFrom(
          source('github', () => github.github()),
          through,
        )
      ).token,
      /^chl_r_/,
    );
    assert.equal(proxy.requests.length, 2);
    proxy.inject(lose);
    await assert.rejects(
      exchangeFrom(
        source('gitlab', () => gitlab.gitlab()),
        through,
      ),
      { code: 'CONTROL_PLANE_UNREACHABLE' },
    );
    assert.equal(proxy.requests.length, 3, 'its token may have been used');
  });
});
