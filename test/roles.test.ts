import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf, hexOf } from '../core/digest.ts';
import { mayAct, roles, type TokenRole, tokenRoles } from '../core/roles.ts';
import { appRouter } from '../server/router.ts';
import { databaseKinds } from './databases.ts';
import { startControlPlane } from './fakes/control-plane.ts';
import { jobContract, jobRunner, startJob, text } from './fakes/job.ts';
import { logIn, loginThrough, startOpenidProvider } from './fakes/openid-provider.ts';
import { needs } from './needs.ts';

/**
 * What each procedure needs: a role in the organization, the owner token of the instance, somebody who is logged in, or only a token, or nothing. Another answer of
 * the router than this fails; so does a procedure that is not here.
 */
const needed: Readonly<Record<string, TokenRole | 'instance' | 'person' | 'token' | 'nothing'>> = {
  'auth.exchange': 'nothing',
  'auth.whoami': 'token',
  'session.begin': 'nothing',
  'session.finish': 'nothing',
  'session.device': 'nothing',
  'session.poll': 'nothing',
  'session.list': 'person',
  'session.end': 'person',
  'member.list': 'viewer',
  'member.setRole': 'owner',
  'member.remove': 'owner',
  'invitation.list': 'viewer',
  'invitation.create': 'owner',
  'invitation.remove': 'owner',
  'audit.list': 'viewer',
  'audit.head': 'viewer',
  'audit.export': 'viewer',
  'instanceAudit.list': 'instance',
  'instanceAudit.head': 'instance',
  'instanceAudit.export': 'instance',
  'organization.create': 'instance',
  'organization.list': 'person',
  'organization.describe': 'viewer',
  'contract.create': 'admin',
  'contract.update': 'admin',
  'contract.list': 'viewer',
  'contract.describe': 'viewer',
  'contract.validate': 'viewer',
  'contract.remove': 'admin',
  'project.list': 'viewer',
  'workflow.create': 'admin',
  'workflow.list': 'viewer',
  'workflow.describe': 'viewer',
  'workflow.update': 'admin',
  'workflow.remove': 'admin',
  'workflow.hold': 'admin',
  'workflow.release': 'admin',
  'run.list': 'viewer',
  'run.describe': 'viewer',
  'verdict.describe': 'viewer',
  'run.hold': 'admin',
  'run.release': 'admin',
  'serviceAccount.create': 'admin',
  'serviceAccount.list': 'viewer',
  'serviceAccount.revoke': 'admin',
  'apiToken.create': 'admin',
  'apiToken.list': 'viewer',
  'apiToken.revoke': 'admin',
  'key.trust': 'admin',
  'key.list': 'viewer',
  'key.remove': 'admin',
  'identity.trust': 'admin',
  'identity.list': 'viewer',
  'identity.remove': 'admin',
  'binding.create': 'admin',
  'binding.list': 'viewer',
  'binding.describe': 'viewer',
  'binding.remove': 'admin',
  'casBackend.add': 'admin',
  'casBackend.list': 'viewer',
  'casBackend.setDefault': 'admin',
  'casBackend.setFallback': 'admin',
  'casBackend.setMirror': 'admin',
  'casBackend.check': 'admin',
  'casBackend.update': 'admin',
  'casBackend.takeOver': 'admin',
  'casBackend.remove': 'admin',
  'attestation.init': 'attest',
  'attestation.contract': 'attest',
  'attestation.begin': 'attest',
  'attestation.current': 'attest',
  'attestation.collect': 'attest',
  'attestation.push': 'attest',
  'attestation.end': 'attest',
  'attestation.find': 'viewer',
  'artifact.describe': 'viewer',
  'discover.find': 'viewer',
  'outbox.list': 'viewer',
  'outbox.retry': 'admin',
  'retention.describe': 'viewer',
  'retention.set': 'admin',
  'retention.collect': 'admin',
  'signing.certificate': 'attest',
  'signing.timestamp': 'attest',
  'trustRoot.get': 'nothing',
  'trustRoot.rotate': 'instance',
};

test('every procedure of the API needs a role that is written down here, and who may only read changes nothing', () => {
  assert.deepEqual(Object.keys(needed).toSorted(), Object.keys(appRouter._def.procedures).toSorted());
  for (const [path, procedure] of Object.entries(appRouter._def.procedures)) {
    const { _def: definition }: { readonly _def?: { readonly type: string } } = Object(procedure);
    assert.ok(needed[path] !== 'viewer' || definition?.type === 'query', `${path} changes something`);
  }
});

for (const kind of databaseKinds) {
  test(`roles (${kind})`, async (t) => {
    if (kind === 'postgresql' && !needs(t, 'postgresql')) return;
    await using provider = await startOpenidProvider();
    await using plane = await startControlPlane({ ...loginThrough(provider), database: kind });
    const acme = await plane.createOrganization('acme');
    const asOwner = plane.api(plane.ownerToken, acme.name);
    const tokens = new Map<TokenRole, { readonly id: string; readonly token: string }>();
    for (const role of tokenRoles) tokens.set(role, await asOwner.apiToken.create.mutate({ name: role, role }));
    const tokenOf = (role: TokenRole): string => tokens.get(role)?.token ?? '';
    await acme.api.contract.create.mutate({ name: 'release', format: 'yaml', body: jobContract });
    const sessions = new Map<TokenRole, string>();
    for (const role of roles) {
      provider.person = { sub: role, email: `${role}@example.com`, email_verified: true };
      await asOwner.invitation.create.mutate({ email: `${role}@example.com`, role });
      sessions.set(role, (await logIn(plane.url)).token);
    }
    const account = await plane.createServiceAccount(acme.api, { workflow: 'release', project: 'app', contract: 'release' });

    /** With an input that no procedure takes, so that what may be called does nothing: who may not is refused before it is read. */
    async function call(path: string, token: string): Promise<string> {
      const response = await fetch(`${plane.url}/trpc/${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: '{"no procedure takes": "this"}',
      });
      return JSON.parse(await response.text()).error?.data.code ?? 'OK';
    }

    const blob = (digest: string, token: string) =>
      fetch(`${plane.url}/v2/acme/blobs/${digest}`, { headers: { authorization: `Bearer ${token}` } });

    await t.test('every procedure × every role: who may not is refused, who may gets as far as the input', async (t) => {
      let [allowed, refused] = [0, 0];
      const rows = [
        ...tokenRoles.map((role) => [role, tokenOf(role), role] as const),
        ['service account', account, 'attest'] as const,
        ...roles.map((role) => [`person, ${role}`, sessions.get(role) ?? '', role] as const),
      ];
      for (const path of Object.keys(appRouter._def.procedures)) {
        const what = needed[path] ?? 'instance';
        for (const [who, token, role] of rows) {
          const code = await call(path, token);
          const ofRole = what !== 'token' && what !== 'nothing' && what !== 'person' && what !== 'instance' && mayAct(role, what);
          const may = what === 'token' || what === 'nothing' || (what === 'person' && who.startsWith('person')) || ofRole;
          if (may) assert.ok(['OK', 'USAGE'].includes(code) || path === 'signing.certificate', `${path} as ${who}: ${code}`);
          else assert.equal(code, 'FORBIDDEN', `${path} as ${who}`);
          if (may) allowed++;
          else refused++;
        }
      }
      t.diagnostic(`S4: ${allowed} cells allowed, ${refused} refused, of ${Object.keys(needed).length} procedures × ${rows.length}`);
    });

    await t.test('an attest-only token attests any workflow of its organization, and reads nothing', async () => {
      const job = await startJob({ url: plane.url, organization: acme.name, token: tokenOf('attest'), trustedBy: acme.api });
      const idempotencyKey = 'the run of an attest-only token';
      const run = await plane.api(tokenOf('attest')).attestation.init.mutate({
        workflow: 'release',
        project: 'app',
        runner: { ...jobRunner, authenticated: false },
        idempotencyKey,
      });
      const evidence = await job.upload('binary', 'bytes');
      assert.equal((await job.push(run, await job.bundle(run, [text('commit', 'x'), evidence]))).state, 'success');
      assert.equal((await blob(evidence.digest ?? '', tokenOf('attest'))).status, 403);
      assert.equal((await blob(evidence.digest ?? '', tokenOf('viewer'))).status, 200);
    });

    await t.test('a viewer reads evidence through the gateway, and writes none', async () => {
      const digest = digestOf('nobody has this');
      const rows = [
        ['GET', '/v2/', 200],
        ['GET', `/v2/acme/blobs/${digest}`, 404],
        ['HEAD', `/v2/acme/blobs/${digest}`, 404],
        ['GET', `/v2/acme/manifests/material-${hexOf(digest)}`, 404],
        ['GET', '/v2/acme/tags/list', 200],
        ['GET', `/v2/acme/referrers/${digest}`, 200],
        ['POST', '/v2/acme/blobs/uploads/', 403],
        ['PUT', `/v2/acme/manifests/material-${hexOf(digest)}`, 403],
      ] as const;
      for (const [method, path, status] of rows) {
        const headers = { authorization: `Bearer ${tokenOf('viewer')}` };
        assert.equal((await fetch(plane.url + path, { method, headers })).status, status, `${method} ${path}`);
      }
    });

    await t.test('escalation: nobody makes a token that may do more than he may', async () => {
      const made = async (own: TokenRole, role: TokenRole): Promise<string> => {
        const name = `${own}-makes-${role}`;
        return plane
          .api(tokenOf(own))
          .apiToken.create.mutate({ name, role })
          .then(
            (created) => created.role ?? '',
            (error) => error.code,
          );
      };
      assert.deepEqual(await Promise.all(tokenRoles.map((role) => made('admin', role))), ['FORBIDDEN', 'admin', 'viewer', 'attest']);
      assert.deepEqual(await Promise.all(tokenRoles.map((role) => made('owner', role))), ['owner', 'admin', 'viewer', 'attest']);
    });

    await t.test('a token without a role is an admin, as it was before there were roles; lists show role and last use', async () => {
      const { role, token } = await acme.api.apiToken.create.mutate({ name: 'plain' });
      assert.equal(role, 'admin');
      await plane.api(token).contract.list.query({});
      const { items } = await acme.api.apiToken.list.query({ limit: 100 });
      assert.deepEqual(
        ['viewer', 'attest', 'test'].map((name) => items.find((item) => item.name === name)?.role),
        ['viewer', 'attest', 'owner'],
      );
      assert.ok(items.find(({ name }) => name === 'viewer')?.lastUsedAt);
    });
  });
}
