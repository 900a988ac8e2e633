import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { digestOf, hexOf } from '../core/digest.ts';
import type { Route } from '../server/gateway/route.ts';
import { appRouter } from '../server/router.ts';
import { makeToken } from '../server/tokens.ts';
import { databaseKinds } from './databases.ts';
import { startControlPlane } from './fakes/control-plane.ts';
import { type Job, jobContract, startJob, text } from './fakes/job.ts';
import { logIn, loginThrough, startOpenidProvider } from './fakes/openid-provider.ts';
import { startTinyRegistry } from './fakes/tiny-registry.ts';
import { needs } from './needs.ts';

/** What an intruder may know of an organization: every name and id that it has. `digest` is of evidence, `runId` of a success. */
type Known = {
  readonly organization: string;
  readonly contract: string;
  readonly workflow: string;
  readonly workflowId: string;
  readonly project: string;
  readonly runId: string;
  readonly serviceAccountId: string;
  readonly apiTokenId: string;
  readonly bindingId: string;
  readonly identity: string;
  readonly key: string;
  readonly casBackend: string;
  readonly digest: string;
  readonly effectId: string;
  readonly memberId: string;
  readonly invitationId: string;
};

const page = () => ({});
const pem = '-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n';

/** A binding of the workflow to jobs of acme/app. */
const bindingOf = (workflow: string): string =>
  JSON.stringify({
    workflow,
    issuer: 'https://gitlab.com',
    repository: 'acme/app',
    repositoryId: '456789',
    ownerId: '123456',
    refs: ['refs/heads/main'],
  });

/**
 * One row for each procedure: how to ask for somebody else's things. `foreign` must be answered as if they did not exist; `own` has
 * nothing to ask for, and must answer with nothing of theirs; `instance` is for the owner of the instance alone; `public` is for
 * everybody, whatever token they have, and must answer with nothing of anybody's.
 */
const procedures: Readonly<Record<string, readonly ['foreign' | 'own' | 'instance' | 'public', (known: Known) => unknown]>> = {
  'auth.exchange': ['public', ({ workflow, project }) => ({ subjectToken: 'e30.e30.e30', workflow, project })],
  'auth.whoami': ['own', page],
  'session.begin': ['public', () => ({ port: 1, state: 'x' })],
  'session.finish': ['public', () => ({ handle: 'x', code: 'x' })],
  'session.device': ['public', () => ({ nobody: 'takes this' })],
  'session.poll': ['public', () => ({ handle: 'x' })],
  'session.list': ['instance', page],
  'session.end': ['instance', page],
  'member.list': ['own', page],
  'member.setRole': ['foreign', ({ memberId }) => ({ id: memberId, role: 'viewer' })],
  'member.remove': ['foreign', ({ memberId }) => ({ id: memberId })],
  'invitation.list': ['own', page],
  'invitation.create': ['own', () => ({ email: 'mine@example.com', role: 'viewer' })],
  'invitation.remove': ['foreign', ({ invitationId }) => ({ id: invitationId })],
  'organization.create': ['instance', () => ({ name: `made-${randomUUID().slice(0, 8)}` })],
  'organization.list': ['instance', page],
  'organization.describe': ['own', page],
  'contract.create': ['own', () => ({ name: `mine-${randomUUID().slice(0, 8)}`, format: 'yaml', body: 'schemaVersion: v1\n' })],
  'contract.update': ['foreign', ({ contract }) => ({ name: contract, format: 'yaml', body: 'schemaVersion: v1\nmaterials: []\n' })],
  'contract.list': ['own', page],
  'contract.describe': ['foreign', ({ contract }) => ({ name: contract })],
  'contract.validate': ['own', () => ({ format: 'yaml', body: 'schemaVersion: v1\n' })],
  'contract.remove': ['foreign', ({ contract }) => ({ name: contract })],
  'project.list': ['own', page],
  'workflow.create': ['foreign', ({ contract }) => ({ name: 'mine', project: 'mine', contract })],
  'workflow.list': ['own', ({ project }) => ({ project })],
  'workflow.describe': ['foreign', ({ workflow, project }) => ({ name: workflow, project })],
  'workflow.update': ['foreign', ({ workflow, project }) => ({ name: workflow, project, team: 'intruders' })],
  'workflow.remove': ['foreign', ({ workflow, project }) => ({ name: workflow, project })],
  'run.list': ['foreign', ({ workflowId }) => ({ workflow: workflowId })],
  'run.describe': ['foreign', ({ runId }) => ({ id: runId })],
  'serviceAccount.create': ['foreign', ({ workflow, project }) => ({ name: 'mine', workflow, project })],
  'serviceAccount.list': ['own', page],
  'serviceAccount.revoke': ['foreign', ({ serviceAccountId }) => ({ id: serviceAccountId })],
  'apiToken.create': ['own', () => ({ name: `mine-${randomUUID().slice(0, 8)}` })],
  'apiToken.list': ['own', page],
  'apiToken.revoke': ['foreign', ({ apiTokenId }) => ({ id: apiTokenId })],
  'key.trust': ['own', ({ key }) => ({ name: key, pem })],
  'key.list': ['own', page],
  'key.remove': ['foreign', ({ key }) => ({ name: key })],
  'identity.trust': [
    'own',
    () => ({ name: `mine-${randomUUID().slice(0, 8)}`, issuer: 'https://ci.example.com', identity: { exact: 'https://x' } }),
  ],
  'identity.list': ['own', page],
  'identity.remove': ['foreign', ({ identity }) => ({ name: identity })],
  'binding.create': ['foreign', ({ workflow, project }) => ({ format: 'json', body: bindingOf(`${project}/${workflow}`) })],
  'binding.list': ['own', page],
  'binding.describe': ['foreign', ({ bindingId }) => ({ id: bindingId })],
  'binding.remove': ['foreign', ({ bindingId }) => ({ id: bindingId })],
  'casBackend.add': ['own', () => ({ name: 'mine', repo: 'no repository' })],
  'casBackend.list': ['own', page],
  'casBackend.setDefault': ['foreign', ({ casBackend }) => ({ name: casBackend })],
  'casBackend.setFallback': ['foreign', ({ casBackend }) => ({ name: casBackend })],
  'casBackend.setMirror': ['foreign', ({ casBackend }) => ({ name: casBackend, mirror: true })],
  'casBackend.check': ['foreign', ({ casBackend }) => ({ name: casBackend })],
  'casBackend.update': ['foreign', ({ casBackend }) => ({ name: casBackend, username: 'u', password: 'p' })],
  'casBackend.takeOver': ['foreign', ({ casBackend }) => ({ name: casBackend })],
  'casBackend.remove': ['foreign', ({ casBackend }) => ({ name: casBackend })],
  'attestation.init': [
    'foreign',
    ({ workflow, project }) => ({ workflow, project, runner: { authenticated: false }, idempotencyKey: randomUUID() }),
  ],
  'attestation.contract': ['foreign', ({ workflow, project }) => ({ workflow, project })],
  'attestation.begin': ['foreign', ({ runId }) => ({ runId, start: { env: {}, annotations: {} } })],
  'attestation.current': ['foreign', ({ runId }) => ({ runId })],
  'attestation.collect': [
    'foreign',
    ({ runId }) => ({ runId, material: { name: 'commit', type: 'STRING', value: 'x', uploaded: false, annotations: {} } }),
  ],
  'attestation.push': ['foreign', ({ runId }) => ({ runId, bundle: '{}' })],
  'attestation.find': ['own', ({ digest }) => ({ digest })],
  'attestation.end': ['foreign', ({ runId }) => ({ runId, state: 'failed', reason: 'sabotage' })],
  'discover.find': ['foreign', ({ runId }) => ({ runId })],
  'artifact.describe': ['foreign', ({ digest }) => ({ digest })],
  'retention.describe': ['own', page],
  'retention.set': ['own', () => ({ unpushedDays: 7 })],
  'retention.collect': ['own', () => ({ dryRun: true })],
  'run.hold': ['foreign', ({ runId }) => ({ id: runId, reason: 'sabotage' })],
  'run.release': ['foreign', ({ runId }) => ({ id: runId })],
  'workflow.hold': ['foreign', ({ workflow, project }) => ({ name: workflow, project, reason: 'sabotage' })],
  'workflow.release': ['foreign', ({ workflow, project }) => ({ name: workflow, project })],
  'audit.list': ['own', page],
  'audit.head': ['own', page],
  'audit.export': ['own', () => ({ after: 0 })],
  'instanceAudit.list': ['instance', page],
  'instanceAudit.head': ['instance', page],
  'instanceAudit.export': ['instance', () => ({ after: 0 })],
  'outbox.list': ['own', page],
  'outbox.retry': ['foreign', ({ effectId }) => ({ id: effectId })],
  'signing.certificate': ['own', () => ({ publicKey: 'AAAA', proof: 'AAAA' })],
  'signing.timestamp': ['own', () => ({ request: 'AAAA' })],
  'verdict.describe': ['foreign', ({ runId }) => ({ runId })],
  'trustRoot.get': ['public', page],
  'trustRoot.rotate': ['instance', page],
};

/** One row for each route of the gateway: the compiler wants them all. */
const routes: Readonly<Record<Route['type'], readonly (readonly [string, (known: Known) => string])[]>> = {
  ping: [['GET', () => '/v2/']],
  token: ['GET', 'POST'].map((method) => [method, ({ organization }) => `/v2/token?scope=repository:${organization}:*`]),
  blob: [
    ['HEAD', ({ organization, digest }) => `/v2/${organization}/blobs/${digest}`],
    ['GET', ({ organization, digest }) => `/v2/${organization}/blobs/${digest}`],
    ['DELETE', ({ organization, digest }) => `/v2/${organization}/blobs/${digest}`],
  ],
  uploads: [['POST', ({ organization }) => `/v2/${organization}/blobs/uploads/`]],
  upload: ['GET', 'PATCH', 'PUT', 'DELETE'].map((method) => [
    method,
    ({ organization }) => `/v2/${organization}/blobs/uploads/${randomUUID()}`,
  ]),
  manifest: ['HEAD', 'GET', 'PUT', 'DELETE'].map((method) => [
    method,
    ({ organization, digest }) => `/v2/${organization}/manifests/material-${digest.slice('sha256:'.length)}`,
  ]),
  tags: [['GET', ({ organization }) => `/v2/${organization}/tags/list`]],
  referrers: [['GET', ({ organization, digest }) => `/v2/${organization}/referrers/${digest}`]],
};

/** What a service account may ask of the gateway, in its own organization. */
const jobMay: ReadonlySet<string> = new Set([
  'ping GET',
  'token GET',
  'token POST',
  'blob HEAD',
  'uploads POST',
  'upload GET',
  'upload PATCH',
  'upload PUT',
  'upload DELETE',
  'manifest HEAD',
  'manifest PUT',
]);

test('every procedure of the API has a row here', () => {
  assert.deepEqual(Object.keys(procedures).toSorted(), Object.keys(appRouter._def.procedures).toSorted());
});

for (const kind of databaseKinds) {
  test(`tenants (${kind})`, async (t) => {
    if (kind === 'postgresql' && !needs(t, 'postgresql')) return;
    let days = 0;
    await using provider = await startOpenidProvider();
    await using plane = await startControlPlane({
      ...loginThrough(provider),
      database: kind,
      now: () => new Date(Date.now() + days * 24 * 60 * 60 * 1000),
    });
    await using registry = await startTinyRegistry();
    const [acme, evil] = [await plane.createOrganization('acme-secret'), await plane.createOrganization('evil')];
    await acme.api.contract.create.mutate({ name: 'secret-contract', format: 'yaml', body: jobContract });
    await acme.api.casBackend.add.mutate({ name: 'secret-backend', repo: `${registry.host}/secret`, insecure: true, default: false });
    // It takes no copies, so that there is an effect for as long as the test lasts.
    await acme.api.casBackend.setMirror.mutate({ name: 'secret-backend', mirror: true });
    await registry[Symbol.asyncDispose]();
    const workflow = { workflow: 'secret-workflow', project: 'secret-project', contract: 'secret-contract' };
    const acmeJob = await plane.createServiceAccount(acme.api, workflow);
    const job = await startJob({ url: plane.url, organization: acme.name, token: acmeJob, trustedBy: acme.api });
    const known = await knownOf(job);
    const revoked = await evil.api.apiToken.create.mutate({ name: 'revoked' });
    await evil.api.apiToken.revoke.mutate({ id: revoked.id });
    days = -2;
    const expired = await evil.api.apiToken.create.mutate({ name: 'expired', expiresInDays: 1 });
    days = 0;
    const evilJob = await plane.createServiceAccount(evil.api, { workflow: 'own', project: 'own' });
    const tokens = { acmeJob, evilJob, revoked: revoked.token, expired: expired.token, unknown: makeToken('api').token };

    async function knownOf(job: Job): Promise<Known> {
      const run = await job.init();
      const evidence = await job.upload('binary', 'secret bytes');
      await job.push(run, await job.bundle(run, [text('commit', 'x'), evidence]));
      const [serviceAccount] = (await acme.api.serviceAccount.list.query({})).items;
      const [apiToken] = (await acme.api.apiToken.list.query({})).items;
      const [key] = (await acme.api.key.list.query({})).items;
      const effect = (await acme.api.outbox.list.query({})).items.find(({ kind }) => kind === 'copy');
      const binding = await acme.api.binding.create.mutate({ format: 'json', body: bindingOf('secret-project/secret-workflow') });
      const identity = 'secret-identity';
      await acme.api.identity.trust.mutate({ name: identity, issuer: 'https://ci.example.com', identity: { exact: 'https://x' } });
      await acme.api.invitation.create.mutate({ email: 'alice@example.com', role: 'owner' });
      await logIn(plane.url);
      const [member] = (await acme.api.member.list.query({})).items;
      const invitation = await acme.api.invitation.create.mutate({ email: 'secret-guest@example.com', role: 'viewer' });
      return {
        organization: acme.name,
        contract: 'secret-contract',
        workflow: 'secret-workflow',
        workflowId: run.workflowId,
        project: 'secret-project',
        runId: run.runId,
        serviceAccountId: serviceAccount?.id ?? '',
        apiTokenId: apiToken?.id ?? '',
        bindingId: binding.id,
        identity,
        key: key?.name ?? '',
        casBackend: 'secret-backend',
        digest: evidence.digest ?? '',
        effectId: effect?.id ?? '',
        memberId: member?.id ?? '',
        invitationId: invitation.id,
      };
    }

    /** Names and ids of nobody. */
    const nobody = (): Known => {
      const name = `nobody-${randomUUID().slice(0, 8)}`;
      const id = randomUUID();
      const same = { contract: name, workflow: name, project: name, key: name, identity: name, casBackend: name, organization: name };
      return {
        ...same,
        workflowId: id,
        runId: id,
        serviceAccountId: id,
        apiTokenId: id,
        bindingId: id,
        effectId: id,
        memberId: id,
        invitationId: id,
        digest: digestOf(id),
      };
    };

    type Answer = { readonly status: number; readonly code: string; readonly body: string };

    async function call(path: string, input: unknown, token?: string, organization?: string): Promise<Answer> {
      const response = await fetch(`${plane.url}/trpc/${path}`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
          ...(organization !== undefined && { 'x-chainloop-organization': organization }),
        },
        body: JSON.stringify(input),
      });
      const body = await response.text();
      return { status: response.status, code: JSON.parse(body).error?.data.code ?? 'OK', body };
    }

    async function ask(method: string, path: string, token?: string): Promise<Answer> {
      // The token endpoint takes a form; the others bytes.
      const form = new URLSearchParams({ grant_type: 'password', password: token ?? '', scope: path.split('scope=')[1] ?? '' });
      const body = method === 'POST' && path.startsWith('/v2/token') ? { body: form } : /^P(UT|ATCH)$/.test(method) ? { body: 'x' } : {};
      const response = await fetch(plane.url + path, {
        method,
        ...body,
        headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      });
      const answer = await response.text();
      return { status: response.status, code: answer === '' ? '' : (JSON.parse(answer).errors?.[0]?.code ?? 'OK'), body: answer };
    }

    /** An answer without what is in the question, and without the request id: two refusals must then be equal. */
    function shape({ status, body }: Answer, asked: Known): string {
      const parsed: { error?: { data?: { requestId?: string } } } = JSON.parse(body);
      delete parsed.error?.data?.requestId;
      return Object.values(asked).reduce((rest, name) => rest.replaceAll(name, '…'), `${status} ${JSON.stringify(parsed)}`);
    }

    /** Everything that acme sees of itself. */
    async function everything(): Promise<string> {
      const { api } = acme;
      return JSON.stringify([
        await api.contract.list.query({}),
        await api.workflow.list.query({}),
        { ...(await api.run.describe.query({ id: known.runId })), effects: [] },
        (await api.serviceAccount.list.query({})).items.map(({ lastUsedAt: _, ...token }) => token),
        (await api.apiToken.list.query({})).items.map(({ lastUsedAt: _, ...token }) => token),
        await api.key.list.query({}),
        await api.binding.list.query({}),
        await api.identity.list.query({}),
        await api.member.list.query({}),
        await api.invitation.list.query({}),
        await api.casBackend.list.query(),
        await api.artifact.describe.query({ digest: known.digest }),
      ]);
    }

    await t.test('without a token, or with one that is unknown, revoked or expired, every procedure refuses', async () => {
      for (const [path, [type, input]] of Object.entries(procedures)) {
        if (type === 'public') {
          const anonymous = shape(await call(path, input(known)), known);
          for (const token of [tokens.unknown, tokens.revoked, tokens.expired, tokens.evilJob, evil.token])
            assert.equal(shape(await call(path, input(known), token), known), anonymous, path);
          for (const secret of Object.values(known)) assert.ok(!anonymous.includes(secret), `${path} says ${secret}`);
          continue;
        }
        assert.equal((await call(path, input(known))).code, 'UNAUTHENTICATED', path);
        assert.equal((await call(path, input(known), tokens.unknown)).code, 'UNAUTHENTICATED', path);
        assert.equal((await call(path, input(known), tokens.revoked)).code, 'TOKEN_REVOKED', path);
        assert.equal((await call(path, input(known), tokens.expired)).code, 'TOKEN_EXPIRED', path);
      }
    });

    await t.test('asking as a member of another organization is answered as for one that does not exist', async () => {
      for (const [path, [type, input]] of Object.entries(procedures)) {
        if (path === 'auth.whoami' || type === 'public') continue;
        const theirs = await call(path, input(known), evil.token, known.organization);
        const none = nobody();
        const nobodys = await call(path, input(none), evil.token, none.organization);
        assert.equal(theirs.code, type === 'instance' ? 'FORBIDDEN' : 'NOT_FOUND', path);
        assert.equal(shape(theirs, known), shape(nobodys, none), path);
      }
    });

    await t.test("every procedure answers for another organization's ids as for ids of nobody, and changes nothing", async () => {
      const unchanged = await everything();
      for (const [path, [type, input]] of Object.entries(procedures)) {
        if (type === 'public') continue;
        const theirs = await call(path, input(known), evil.token);
        if (type === 'own') {
          const reflected = JSON.stringify(input(known));
          for (const secret of Object.values(known))
            assert.ok(!theirs.body.includes(secret) || reflected.includes(secret), `${path} says ${secret}`);
          continue;
        }
        assert.equal(theirs.code, type === 'instance' ? 'FORBIDDEN' : 'NOT_FOUND', path);
        const none = nobody();
        assert.equal(shape(theirs, known), shape(await call(path, input(none), evil.token), none), path);
      }
      assert.equal(await everything(), unchanged);
    });

    await t.test('a service account may attest its workflow, and nothing else; runs of others do not exist for it', async () => {
      for (const [path, [type, input]] of Object.entries(procedures)) {
        if (type === 'public') continue;
        const own = (await call(path, input(known), tokens.acmeJob)).code;
        const foreign = (await call(path, input(known), tokens.evilJob)).code;
        if (path === 'auth.whoami') assert.equal(own, 'OK');
        else if (path === 'signing.certificate') assert.deepEqual([own, foreign], ['KEY_INVALID', 'KEY_INVALID'], path);
        else if (path === 'signing.timestamp') assert.deepEqual([own, foreign], ['OK', 'OK'], path);
        else if (path.startsWith('attestation.') && path !== 'attestation.find') assert.equal(foreign, 'NOT_FOUND', path);
        else assert.deepEqual([own, foreign], ['FORBIDDEN', 'FORBIDDEN'], path);
      }
    });

    await t.test('every route of the gateway: 401 without a valid token, NAME_UNKNOWN for another organization', async () => {
      for (const [type, rows] of Object.entries(routes)) {
        for (const [method, path] of rows) {
          const what = `${method} ${path(known)}`;
          for (const token of [undefined, tokens.unknown, tokens.revoked, tokens.expired])
            assert.equal((await ask(method, path(known), token)).status, 401, what);
          if (type === 'ping') continue;
          if (type === 'token') {
            for (const token of [evil.token, tokens.evilJob]) {
              const { status, body } = await ask(method, path(known), token);
              assert.deepEqual([status, JSON.parse(body).scope], [200, ''], what);
            }
            continue;
          }
          const none = nobody();
          for (const token of [evil.token, tokens.evilJob]) {
            const theirs = await ask(method, path(known), token);
            const nobodys = await ask(method, path(none), token);
            assert.equal(theirs.status, 404, what);
            if (method !== 'HEAD') assert.equal(theirs.code, 'NAME_UNKNOWN', what);
            assert.deepEqual(theirs, nobodys, what);
          }
        }
      }
    });

    await t.test('a registry token for one organization is good for nothing in another, and ends with the token behind it', async () => {
      const sell = async (token: string, organization: string): Promise<string> => {
        const { body } = await ask('GET', `/v2/token?scope=repository:${organization}:pull,push`, token);
        return JSON.parse(body).token;
      };
      const theirs = await sell(acme.token, acme.name);
      const path = ({ organization, digest }: Known): string => `/v2/${organization}/blobs/${digest}`;
      assert.equal((await ask('HEAD', path(known), theirs)).status, 200);
      for (const organization of [known.organization, evil.name]) {
        const mine = await sell(evil.token, organization);
        assert.deepEqual(await ask('GET', path(known), mine), await ask('GET', path(nobody()), mine));
      }
      assert.equal((await call('auth.whoami', {}, theirs)).code, 'UNAUTHENTICATED');
      const short = await acme.api.apiToken.create.mutate({ name: 'short' });
      const bought = await sell(short.token, acme.name);
      assert.equal((await ask('HEAD', path(known), bought)).status, 200);
      await acme.api.apiToken.revoke.mutate({ id: short.id });
      assert.equal((await ask('HEAD', path(known), bought)).status, 401);
      assert.ok(!plane.log.join('').includes('chl_g_'));
    });

    await t.test('a service account may upload to the gateway, and read nothing', async () => {
      for (const [type, rows] of Object.entries(routes)) {
        for (const [method, path] of rows) {
          const { status } = await ask(method, path(known), tokens.acmeJob);
          if (jobMay.has(`${type} ${method}`)) assert.ok(status !== 401 && status !== 403, `${method} ${path(known)}: ${status}`);
          else assert.ok(status === 403 || status === 405, `${method} ${path(known)}: ${status}`);
        }
      }
    });

    await t.test('a token is refused from the moment that it is revoked', async () => {
      const { id, token } = await evil.api.apiToken.create.mutate({ name: 'short' });
      assert.equal((await call('auth.whoami', {}, token)).code, 'OK');
      await evil.api.apiToken.revoke.mutate({ id });
      assert.equal((await call('auth.whoami', {}, token)).code, 'TOKEN_REVOKED');
      assert.equal((await ask('GET', '/v2/', token)).status, 401);
      const workflow = { name: 'removed', project: 'own' };
      const job = await plane.createServiceAccount(evil.api, { workflow: workflow.name, project: workflow.project });
      await evil.api.workflow.remove.mutate(workflow);
      assert.equal((await call('auth.whoami', {}, job)).code, 'TOKEN_REVOKED');
    });

    await t.test('a token is kept as a hash only', async () => {
      assert.ok(!plane.log.join('').includes(evil.token));
      assert.ok(!(await everything()).includes(hexOf(digestOf(acme.token))));
    });
  });
}
