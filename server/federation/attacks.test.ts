import assert from 'node:assert/strict';
import { createHmac, createPublicKey, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { type TestContext, test } from 'node:test';
import { UnsecuredJWT } from 'jose';
import { createHttp } from '../../core/adapters/http.ts';
import { ChainloopError, type ErrorCode } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { type FederatedPlane, startFederatedPlane } from '../../test/fakes/federated.ts';
import { githubJob, startIssuer } from '../../test/fakes/issuer.ts';
import { listen } from '../../test/fakes/listen.ts';
import { startTrap } from '../../test/fakes/trap.ts';
import { createKeySource } from './keys.ts';
import { findKey, verifySubject } from './verify.ts';

/** The federation rules of docs/federation.md: one test for each attack, in the order of the rules. Each flips exactly one thing. */

async function refused(exchange: Promise<unknown>, code: ErrorCode, words: RegExp): Promise<ChainloopError> {
  const error = await exchange.then(
    () => assert.fail('it was let in'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof ChainloopError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match([error.message, ...error.problems.map(({ path, message }) => `${path}: ${message}`)].join('\n'), words);
  return error;
}

/** A plane of this test, with both bindings. */
async function bound(): Promise<FederatedPlane> {
  const federated = await startFederatedPlane();
  await federated.bind('github');
  await federated.bind('gitlab');
  return federated;
}

const second = (claims: Record<string, unknown>) => ({ claims });

test('federation', async (t) => {
  await using federated = await bound();
  const { exchange, github, gitlab, plane } = federated;
  const attack = (name: string, fn: (t: TestContext) => Promise<void>) => t.test(name, fn);

  await attack('tokens as GitHub and GitLab make them are let in', async () => {
    const a = await exchange(await github.github());
    assert.deepEqual(
      { ...a, token: a.token.slice(0, 6), expiresAt: '' },
      {
        token: 'chl_r_',
        expiresAt: '',
        organization: 'acme',
        project: 'bedrock',
        workflow: 'release',
        identity: { san: 'https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main', issuer: github.issuer },
      },
    );
    const b = await exchange(await gitlab.gitlab());
    assert.deepEqual(b.identity, { san: 'https://gitlab.com/acme/app//.gitlab-ci.yml@refs/heads/main', issuer: gitlab.issuer });
    const who = await plane.api(a.token).auth.whoami.query();
    assert.deepEqual(
      [who.kind, who.organization, who.project, who.workflow, who.identity],
      ['run', 'acme', 'bedrock', 'release', a.identity],
    );
  });

  // 1.
  await attack('server-side request forgery by iss: an issuer that is not configured is never asked for anything', async () => {
    await using stranger = await startIssuer({ audience: plane.url });
    await refused(exchange(await stranger.github()), 'UNAUTHENTICATED', /issuer .* is not one that this control plane trusts/);
    await refused(exchange(await github.github({ claims: { iss: `${github.issuer}/` } })), 'UNAUTHENTICATED', /issuer/);
    assert.deepEqual(stranger.requests, []);
  });

  await attack('server-side request forgery by jku, x5u and kid: no address in a header is fetched', async () => {
    await using trap = await startTrap();
    for (const header of [{ jku: trap.origin }, { x5u: trap.origin }, { kid: `${trap.origin}/key` }, { kid: '../../../../etc/passwd' }]) {
      const forged = await github.github({ header: { kid: randomUUID(), ...header } });
      await refused(exchange(forged), 'UNAUTHENTICATED', /its key is not one of its issuer/);
    }
    assert.equal(trap.seen.length, 0);
  });

  await attack('a key in the header: jwk is not looked at', async () => {
    await using thief = await startIssuer({ audience: plane.url });
    const header = { kid: github.publicJwk().kid ?? '', jwk: thief.publicJwk() };
    await refused(exchange(await thief.github({ claims: { iss: github.issuer }, header })), 'UNAUTHENTICATED', /signature does not verify/);
  });

  await attack("one issuer's key under another issuer's name", async () => {
    await refused(exchange(await gitlab.gitlab({ claims: { iss: github.issuer } })), 'UNAUTHENTICATED', /its key is not one of its issuer/);
  });

  // 2.
  await attack('a token for somebody else: another audience', async () => {
    for (const audience of ['https://pypi.org', `${plane.url}/`, plane.url.toUpperCase(), '']) {
      await refused(exchange(await github.github({ audience })), 'UNAUTHENTICATED', /its audience is '.*'; it must be http/);
    }
    await refused(exchange(await github.github({ claims: { aud: undefined } })), 'UNAUTHENTICATED', /'aud'/);
  });

  await attack('a token for us and for others: several audiences', async () => {
    await refused(exchange(await github.github({ audience: [plane.url, 'https://pypi.org'] })), 'UNAUTHENTICATED', /2 audiences/);
    await exchange(await github.github({ audience: [plane.url] }));
  });

  // 3.
  await attack('a resurrected repository: the old name with another id', async () => {
    await refused(exchange(await github.github(second({ repository_id: '999' }))), 'NO_BINDING', /repository_id: is '999'.*expects 456789/);
    await refused(
      exchange(await gitlab.gitlab(second({ project_id: '999', job_project_id: '999' }))),
      'NO_BINDING',
      /project_id: is '999'/,
    );
  });

  await attack('a resurrected owner: the old name with another owner id, and no word about bindings of others', async () => {
    const error = await refused(exchange(await github.github(second({ repository_owner_id: '999' }))), 'NO_BINDING', /none of that owner/);
    assert.deepEqual(error.problems, []);
    assert.doesNotMatch(error.message, /bedrock|123456/);
  });

  await attack('a renamed repository keeps working, whatever sub says', async () => {
    const renamed = {
      repository: 'acme/renamed',
      sub: 'repo:acme/app:environment:prod',
      workflow_ref: 'acme/renamed/.github/workflows/release.yml@refs/heads/main',
    };
    await exchange(await github.github(second(renamed)));
    await exchange(await github.github(second({ sub: 'repo:acme/app:ref:refs/heads/main' })));
  });

  // 4.
  await attack('the pipeline of a fork: project_id is the fork, the job runs in the project', async () => {
    await refused(
      exchange(await gitlab.gitlab(second({ project_id: '777', project_path: 'mallory/app' }))),
      'NO_BINDING',
      /pipeline of a fork may not attest/,
    );
    await refused(exchange(await gitlab.gitlab(second({ job_project_id: '777' }))), 'NO_BINDING', /pipeline of a fork/);
    await refused(exchange(await gitlab.gitlab(second({ job_project_id: undefined }))), 'UNAUTHENTICATED', /job_project_id/);
  });

  await attack('a configuration of another host or project may not name the certificate', async () => {
    for (const ci_config_ref_uri of [
      'github.com/acme/app//.gitlab-ci.yml@refs/heads/main',
      'gitlab.com/mallory/templates//.gitlab-ci.yml@refs/heads/main',
      'gitlab.com/acme/app-evil//.gitlab-ci.yml@refs/heads/main',
      'gitlab.com/acme/app//.gitlab-ci.yml',
    ]) {
      await refused(
        exchange(await gitlab.gitlab(second({ ci_config_ref_uri }))),
        'NO_BINDING',
        /must be gitlab\.com\/acme\/app\/\/ with a file/,
      );
    }
    await refused(exchange(await gitlab.gitlab(second({ ci_config_ref_uri: null }))), 'UNAUTHENTICATED', /ci_config_ref_uri/);
  });

  // 5.
  await attack('pull_request_target, workflow_run and merge requests are refused unless the binding names them', async () => {
    for (const event of ['pull_request_target', 'workflow_run', 'pull_request', 'issue_comment']) {
      await refused(exchange(await github.github(second({ event_name: event }))), 'NO_BINDING', new RegExp(`event_name: is '${event}'`));
    }
    await refused(exchange(await gitlab.gitlab(second({ pipeline_source: 'merge_request_event' }))), 'NO_BINDING', /pipeline_source/);
  });

  await attack('a branch of the attacker: refs are compared in full, and only a star at the end means anything', async () => {
    for (const ref of [
      'refs/heads/main2',
      'refs/heads/evil/refs/heads/main',
      'refs/pull/1/merge',
      'refs/heads/v1',
      'refs/tags/w1',
      'main',
    ]) {
      const code = ref === 'main' ? 'UNAUTHENTICATED' : 'NO_BINDING';
      await refused(exchange(await github.github(second({ ref }))), code, /ref/);
    }
    await exchange(await github.github(second({ ref: 'refs/tags/v1.4.0' })));
  });

  // 7.
  await attack('replay: a token is exchanged once, also when two try at the same moment', async () => {
    const token = await github.github();
    const both = await Promise.allSettled([exchange(token), exchange(token), exchange(token)]);
    assert.equal(both.filter(({ status }) => status === 'fulfilled').length, 1);
    await refused(exchange(token), 'UNAUTHENTICATED', /exchanged before/);
    await refused(exchange(await github.github({ claims: { jti: undefined } })), 'UNAUTHENTICATED', /'jti'/);
  });

  await attack('a token that was refused for lack of a binding is not used up', async () => {
    const token = await github.github(second({ repository_id: '31337' }));
    await refused(exchange(token), 'NO_BINDING', /31337/);
    await federated.bind('github', { repositoryId: '31337' });
    await exchange(token);
  });

  await attack('alg none', async () => {
    const now = Math.floor(Date.now() / 1000);
    const unsigned = new UnsecuredJWT({ ...githubJob, iss: github.issuer, aud: plane.url, iat: now, exp: now + 300, jti: randomUUID() });
    await refused(exchange(unsigned.encode()), 'UNAUTHENTICATED', /must be signed with RS256, not 'none'/);
  });

  await attack('HS/RS confusion: the public key as an HMAC secret', async () => {
    const pem = createPublicKey({ key: JSON.parse(JSON.stringify(github.publicJwk())), format: 'jwk' }).export({
      type: 'spki',
      format: 'pem',
    });
    const [, payload] = (await github.github()).split('.');
    const header = Buffer.from(JSON.stringify({ alg: 'HS256', kid: github.publicJwk().kid })).toString('base64url');
    const mac = createHmac('sha256', pem).update(`${header}.${payload}`).digest('base64url');
    await refused(exchange(`${header}.${payload}.${mac}`), 'UNAUTHENTICATED', /must be signed with RS256, not 'HS256'/);
  });

  await attack('a changed claim, a changed signature, a signature of another token', async () => {
    const [one, two] = [(await github.github()).split('.'), (await github.github()).split('.')];
    const evil = Buffer.from(
      JSON.stringify({ ...JSON.parse(Buffer.from(one[1] ?? '', 'base64url').toString()), ref: 'refs/tags/v9' }),
    ).toString('base64url');
    for (const parts of [
      [one[0], evil, one[2]],
      [one[0], one[1], two[2]],
      [one[0], one[1], ''],
    ]) {
      await refused(exchange(parts.join('.')), 'UNAUTHENTICATED', /token: /);
    }
  });

  await attack('what is no token at all', async () => {
    for (const text of ['', '.', '..', 'a.b.c', '{}', 'eyJhbGciOiJSUzI1NiJ9', `${'e30.'.repeat(3)}`, '\u0000.\u0000.\u0000']) {
      await refused(exchange(text), 'UNAUTHENTICATED', /token: /);
    }
  });

  await attack('a token of 1 MB, and one that is a little too long, are refused unread', async () => {
    await refused(exchange('a'.repeat(1024 * 1024)), 'LIMIT_EXCEEDED', /./);
    await refused(exchange('a'.repeat(17 * 1024)), 'USAGE', /subjectToken/);
  });

  await attack('an expired token, one of the future, and one of clocks 25 s apart', async () => {
    await refused(exchange(await github.github({ issuedInS: -400 })), 'TOKEN_EXPIRED', /expired/);
    await refused(exchange(await github.github({ issuedInS: 60 })), 'UNAUTHENTICATED', /(?:60|5\d) s ahead/);
    await refused(exchange(await github.github({ issuedInS: 60, claims: { nbf: undefined } })), 'UNAUTHENTICATED', /future/);
    await refused(exchange(await github.github({ claims: { exp: undefined } })), 'UNAUTHENTICATED', /'exp'/);
    await refused(exchange(await github.github({ claims: { exp: 1e300 } })), 'UNAUTHENTICATED', /exp/);
    await exchange(await github.github({ issuedInS: 25 }));
    await exchange(await github.github({ issuedInS: -325 }));
  });

  await attack('hostile claims: control characters, wrong types, enormous values', async () => {
    for (const claims of [
      { actor: 'a\nb' },
      { repository_id: '1 OR 1=1' },
      { repository_id: null },
      { ref: 'x'.repeat(5000) },
      { sha: 'HEAD' },
      { repository: 'acme/app/../evil' },
    ]) {
      await refused(exchange(await github.github({ claims })), 'UNAUTHENTICATED', /missing or malformed/);
    }
  });

  await attack('no token, nor any part of one, is in an answer or in the log', async () => {
    const token = await github.github();
    const { token: credential } = await exchange(token);
    await refused(exchange(token), 'UNAUTHENTICATED', /./);
    const log = plane.log.join('\n');
    for (const secret of [...token.split('.').slice(1), credential]) assert.ok(!log.includes(secret));
  });
});

// 6. and the other conditions
test('each condition of a binding is asked by itself', async (t) => {
  const rows: readonly (readonly [
    string,
    'github' | 'gitlab',
    Record<string, unknown>,
    Record<string, unknown>,
    Record<string, unknown>,
    RegExp,
  ])[] = [
    [
      'the caller: another workflow of the same repository',
      'github',
      { workflowRef: '.github/workflows/release.yml' },
      {},
      { workflow_ref: 'acme/app/.github/workflows/evil.yml@refs/heads/main' },
      /workflow_ref: is '\.github\/workflows\/evil\.yml'.*expects \.github\/workflows\/release\.yml/,
    ],
    [
      'the caller: the same path in another repository',
      'github',
      { workflowRef: '.github/workflows/release.yml' },
      {},
      { workflow_ref: 'mallory/app/.github/workflows/release.yml@refs/heads/main' },
      /workflow_ref: is 'mallory\/app/,
    ],
    [
      'the caller: a branch that looks like a workflow',
      'github',
      { workflowRef: '.github/workflows/release.yml' },
      {},
      { workflow_ref: 'acme/app/.github/workflows/evil.yml@refs/heads/.github/workflows/release.yml@refs/heads/main' },
      /workflow_ref: is '\.github\/workflows\/evil\.yml@refs\/heads\/\.github\/workflows\/release\.yml'/,
    ],
    [
      'the caller: a file whose name goes on behind an @',
      'github',
      { workflowRef: '.github/workflows/release.yml' },
      {},
      { workflow_ref: 'acme/app/.github/workflows/release.yml@x.yml@refs/heads/main' },
      /workflow_ref: is '\.github\/workflows\/release\.yml@x\.yml'/,
    ],
    [
      'the called workflow: a job of the caller itself',
      'github',
      { jobWorkflowRef: 'chainloop/attest/.github/workflows/attest.yml@refs/tags/v1*' },
      { job_workflow_ref: 'chainloop/attest/.github/workflows/attest.yml@refs/tags/v1.2' },
      {},
      /job_workflow_ref: is 'acme\/app\/.github\/workflows\/release.yml@refs\/heads\/main'/,
    ],
    [
      'the called workflow: of a repository that begins the same',
      'github',
      { jobWorkflowRef: 'chainloop/attest/.github/workflows/attest.yml@refs/tags/v1*' },
      { job_workflow_ref: 'chainloop/attest/.github/workflows/attest.yml@refs/tags/v1' },
      { job_workflow_ref: 'chainloop/attest-evil/.github/workflows/attest.yml@refs/tags/v1' },
      /attest-evil/,
    ],
    ['the environment: none', 'github', { environment: 'release' }, { environment: 'release' }, {}, /environment: is 'absent'/],
    [
      'the environment: another',
      'gitlab',
      { environment: 'release' },
      { environment: 'release' },
      { environment: 'release2' },
      /'release2'/,
    ],
    [
      'the runner: self-hosted',
      'github',
      { runnerEnvironment: 'github-hosted' },
      {},
      { runner_environment: 'self-hosted' },
      /runner_environment: is 'self-hosted'/,
    ],
    [
      'the configuration: a file whose name goes on behind an @',
      'gitlab',
      { workflowRef: '.gitlab-ci.yml' },
      {},
      { ci_config_ref_uri: 'gitlab.com/acme/app//.gitlab-ci.yml@x.yml@refs/heads/main' },
      /ci_config_ref_uri: is '\.gitlab-ci\.yml@x\.yml'/,
    ],
    [
      'the event: one that was named lets in',
      'github',
      { events: ['workflow_run'] },
      { event_name: 'workflow_run' },
      {},
      /event_name: is 'push'/,
    ],
  ];
  await using federated = await startFederatedPlane();
  for (const [name, kind, binding, good, bad, words] of rows) {
    await t.test(name, async () => {
      const id = await federated.bind(kind, binding);
      const mint = (claims: Record<string, unknown>) =>
        kind === 'github' ? federated.github.github({ claims }) : federated.gitlab.gitlab({ claims });
      await federated.exchange(await mint(good));
      const error = await refused(federated.exchange(await mint(bad)), 'NO_BINDING', words);
      assert.equal(error.problems.length, 1);
      assert.match(error.problems[0]?.message ?? '', new RegExp(`binding ${id} \\(bedrock/release\\)`));
      await federated.api.binding.remove.mutate({ id });
    });
  }
});

// 7.
test('rotation: a new key works at once, a withdrawn one ends, and made-up key ids cost few requests', async () => {
  let minutes = 0;
  const now = () => new Date(Date.now() + minutes * 60_000);
  await using federated = await startFederatedPlane({ now });
  const { github, exchange } = federated;
  await federated.bind('github');
  await exchange(await github.github());
  const old = await github.github({ lifetimeS: 36_000 });
  minutes += 1;
  await github.rotate({ withdraw: true });
  await exchange(await github.github());
  await refused(exchange(old), 'UNAUTHENTICATED', /its key is not one of its issuer/);

  // Also a key that is new a moment after the issuer was asked.
  await github.rotate({ withdraw: true });
  await exchange(await github.github());

  minutes += 1;
  const before = github.requests.length;
  const madeUp = await Promise.all(Array.from({ length: 20 }, () => github.github({ header: { kid: randomUUID() } })));
  const codes = await Promise.all(madeUp.map((token) => exchange(token).catch((error) => error.code)));
  assert.deepEqual([...new Set(codes)].sort(), ['RATE_LIMITED', 'UNAUTHENTICATED']);
  // A first request for those who came in time, a second one a second later for those who did not.
  assert.ok(github.requests.length <= before + 4, `${github.requests.length - before} requests`);

  // An issuer that is away stops no job whose key is known; one that is not known gets 503, and may try again.
  minutes += 20;
  github.failNext(1);
  await exchange(await github.github());
  minutes += 90;
  github.failNext(1);
  await refused(exchange(await github.github()), 'CONTROL_PLANE_UNREACHABLE', /status 503/);
  minutes += 1;
  await exchange(await github.github());

  // It stumbles just when it rotates: nobody knows whether it has the key, so the job may try again until it is asked again.
  minutes += 1;
  await github.rotate({ withdraw: true });
  github.failNext(1);
  const early = await github.github();
  await refused(exchange(early), 'CONTROL_PLANE_UNREACHABLE', /status 503/);
  await exchange(early);
});

test('the discovery document of another issuer, and keys at another origin, are refused', async () => {
  await using federated = await startFederatedPlane();
  await using trap = await startTrap();
  const { github, gitlab, exchange } = federated;
  github.setDiscovery({ issuer: 'https://token.actions.githubusercontent.com', jwks_uri: `${github.issuer}/jwks` });
  await refused(exchange(await github.github()), 'CONTROL_PLANE_UNREACHABLE', /of another issuer/);
  gitlab.setDiscovery({ issuer: gitlab.issuer, jwks_uri: `${trap.origin}/jwks` });
  await refused(exchange(await gitlab.gitlab()), 'CONTROL_PLANE_UNREACHABLE', /another origin/);
  assert.equal(trap.seen.length, 0);
});

// 8.
test('a pending binding takes the ids of the first match, once, and within 72 hours', async () => {
  let hours = 0;
  await using federated = await startFederatedPlane({ now: () => new Date(Date.now() + hours * 3_600_000) });
  const { github, exchange, api, bind } = federated;
  const byName = { repositoryId: undefined, ownerId: undefined, repository: 'Acme/App' };
  const id = await bind('github', byName);
  assert.equal((await api.binding.describe.query({ id })).state, 'pending');
  // All else has to hold; and nobody is told of a binding whose owner nobody knows yet.
  const error = await refused(exchange(await github.github(second({ ref: 'refs/heads/evil' }))), 'NO_BINDING', /none of that owner/);
  assert.deepEqual(error.problems, []);

  const rivals = await Promise.allSettled([
    exchange(await github.github(second({ repository_id: '1', repository_owner_id: '10' }))),
    exchange(await github.github(second({ repository_id: '2', repository_owner_id: '20' }))),
  ]);
  assert.equal(rivals.filter(({ status }) => status === 'fulfilled').length, 1);
  const fixed = await api.binding.describe.query({ id });
  assert.equal(fixed.state, 'active');
  const loser =
    fixed.repositoryId === '1' ? { repository_id: '2', repository_owner_id: '20' } : { repository_id: '1', repository_owner_id: '10' };
  await refused(exchange(await github.github(second(loser))), 'NO_BINDING', /none of that owner/);
  await api.binding.remove.mutate({ id });

  const late = await bind('github', byName);
  hours = 72.1;
  await refused(exchange(await github.github()), 'NO_BINDING', /none of that owner/);
  assert.equal((await api.binding.describe.query({ id: late })).state, 'expired');
});

// 9.
test('several bindings: the job chooses, or is told which there are', async () => {
  await using federated = await startFederatedPlane();
  const { github, exchange, api, bind } = federated;
  await api.workflow.create.mutate({ name: 'nightly', project: 'bedrock', contract: 'release' });
  await bind('github');
  await bind('github', { refs: ['refs/heads/*'] });
  assert.equal((await exchange(await github.github())).workflow, 'release');
  await bind('github', { workflow: 'acme/bedrock/nightly' });
  await refused(exchange(await github.github()), 'CONFLICT', /\(bedrock\/release, bedrock\/nightly\)/);
  assert.equal((await exchange(await github.github(), { workflow: 'nightly' })).workflow, 'nightly');
  const mistyped = { workflow: 'othr' };
  await refused(
    exchange(await github.github(), mistyped),
    'NO_BINDING',
    /for workflow 'othr'; .* into: bedrock\/release, bedrock\/nightly$/,
  );
  await refused(exchange(await github.github(), { project: 'x', workflow: 'y' }), 'NO_BINDING', /workflow 'y' of project 'x'; /);
  // A job that none lets in learns why.
  const evil = await github.github(second({ ref: 'refs/tags/evil' }));
  await refused(exchange(evil, mistyped), 'NO_BINDING', /of that owner would have to say otherwise/);
});

/** Another tenant, that has bound the repository of acme to a workflow of its own. */
async function stranger({ plane, bind }: FederatedPlane, change: Readonly<Record<string, unknown>> = {}) {
  const { api } = await plane.createOrganization('mallory');
  await api.workflow.create.mutate({ name: 'release', project: 'bedrock' });
  await bind('github', change, api);
  return api;
}

test('hijack: a stranger who binds the repository gets no job that does not name the stranger', async () => {
  await using federated = await startFederatedPlane();
  const { github, exchange, bind } = federated;
  await bind('github');
  // Alone in its instance, an organization need not be named.
  assert.equal((await exchange(await github.github())).organization, 'acme');
  await stranger(federated, { refs: ['refs/heads/*'] });
  const dev = { ref: 'refs/heads/dev', workflow_ref: 'acme/app/.github/workflows/release.yml@refs/heads/dev' };
  for (const claims of [{}, dev]) {
    const error = await refused(exchange(await github.github({ claims })), 'USAGE', /set CHAINLOOP_ORGANIZATION/);
    assert.doesNotMatch(JSON.stringify([error.message, error.problems]), /acme|mallory/);
  }
  assert.equal((await exchange(await github.github(), { organization: 'acme' })).organization, 'acme');
  await refused(
    exchange(await github.github({ claims: dev }), { organization: 'acme' }),
    'NO_BINDING',
    /organization 'acme'.*\n.*refs\/heads\/dev/,
  );
  await refused(exchange(await github.github(), { organization: 'nobody' }), 'NO_BINDING', /none of that owner is known/);
});

test('starvation: the bindings of a stranger are limited, and hide none of another organization', async () => {
  await using federated = await startFederatedPlane();
  const { github, exchange, bind } = federated;
  const mallory = await stranger(federated);
  for (let made = 1; made < limits.bindings; made++) await bind('github', { refs: [`refs/heads/${made}`] }, mallory);
  await refused(bind('github', { refs: ['refs/heads/more'] }, mallory), 'LIMIT_EXCEEDED', /has 200 already; remove one/);
  await bind('github', { repositoryId: undefined, ownerId: undefined });
  assert.equal((await exchange(await github.github(), { organization: 'acme' })).organization, 'acme');
  const [first] = (await mallory.binding.list.query({})).items;
  await mallory.binding.remove.mutate({ id: first?.id ?? '' });
  await refused(bind('github', {}, mallory), 'ALREADY_EXISTS', /lets in the same jobs already/);
  await bind('github', { refs: ['refs/heads/more'] }, mallory);
});

test('guessing is slowed down: refusals of one address are counted, jobs are not', async () => {
  let seconds = 0;
  await using federated = await startFederatedPlane({ now: () => new Date(Date.now() + seconds * 1000) });
  await federated.bind('github');
  const guesses = await Promise.allSettled(Array.from({ length: 60 }, () => federated.exchange('a.b.c')));
  const more = await Promise.allSettled(Array.from({ length: 60 }, () => federated.exchange('a.b.c')));
  assert.equal([...guesses, ...more].filter(({ status }) => status === 'fulfilled').length, 0);
  await refused(federated.exchange(await federated.github.github()), 'RATE_LIMITED', /try again in a minute/);
  seconds = 61;
  await federated.exchange(await federated.github.github());
});

test('one issuer that hangs takes no place from the jobs of another, and whoever keeps asking for it is slowed down', async () => {
  await using hanging = await listen(createServer(() => undefined));
  let seconds = 0;
  await using federated = await startFederatedPlane({ now: () => new Date(Date.now() + seconds * 1000) }, [
    { issuer: hanging.origin, kind: 'gitlab', serverUrl: 'https://gitlab.example.com', allowInsecure: true },
  ]);
  const { github, bind, exchange } = federated;
  await bind('github');
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const junk = `${part({ alg: 'RS256', kid: 'k' })}.${part({ iss: hanging.origin })}.AAAA`;
  const { promise: allButEight, resolve } = Promise.withResolvers<void>();
  let turnedAway = 0;
  const outcomes = Array.from({ length: 100 }, () =>
    exchange(junk).then(
      () => assert.fail('it was let in'),
      (error: unknown) => {
        assert.ok(error instanceof ChainloopError);
        if (error.code === 'RATE_LIMITED' && ++turnedAway === 92) resolve();
        return error.code;
      },
    ),
  );
  await allButEight;
  assert.equal((await exchange(await github.github())).organization, 'acme');
  await hanging[Symbol.asyncDispose]();
  assert.equal((await Promise.all(outcomes)).filter((code) => code === 'CONTROL_PLANE_UNREACHABLE').length, 8);
  for (let round = 1; round <= 14; round++) {
    seconds += 1;
    const more = await Promise.all(Array.from({ length: 8 }, () => exchange(junk).catch((error) => error.code)));
    assert.deepEqual(more, Array(8).fill('CONTROL_PLANE_UNREACHABLE'), `round ${round}`);
  }
  await refused(exchange(junk), 'RATE_LIMITED', /try again in a minute/);
});

test('a token that is good for years would have to be remembered for years', async () => {
  await using federated = await bound();
  const { github, exchange } = federated;
  await exchange(await github.github({ lifetimeS: 24 * 3600 }));
  await refused(exchange(await github.github({ lifetimeS: 24 * 3600 + 1 })), 'UNAUTHENTICATED', /more than 24 hours/);
  await refused(exchange(await github.github({ claims: { iat: 'now' } })), 'UNAUTHENTICATED', /iat/);
});

test('replay at a server whose clock is behind: a used token is remembered for twice the tolerance', async () => {
  const http = createHttp();
  await using issuer = await startIssuer({ audience: 'https://chainloop.test' });
  const entry = { issuer: issuer.issuer, kind: 'github', serverUrl: 'https://github.com', allowInsecure: true } as const;
  const deps = { issuers: new Map([[issuer.issuer, entry]]), keys: createKeySource({ http, now: () => new Date() }) };
  const token = await issuer.github();
  const { exp } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
  const subject = await verifySubject(await findKey(deps, token), { now: new Date(), audience: 'https://chainloop.test' });
  assert.equal(subject.expiresAt.getTime(), exp * 1000 + 2 * limits.clockToleranceMs);
  http.close();
});

test('a fork in GitLab with ids as numbers is the same fork', async () => {
  await using federated = await bound();
  const numbers = { project_id: 456789, job_project_id: 456789, namespace_id: 123456, pipeline_id: 991 };
  await federated.exchange(await federated.gitlab.gitlab(second(numbers)));
  await refused(federated.exchange(await federated.gitlab.gitlab(second({ ...numbers, job_project_id: 1 }))), 'NO_BINDING', /fork/);
});
