import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Api } from '../client/api.ts';
import { createKeylessPorts } from '../client/signing.ts';
import { createKeylessSigner } from '../core/adapters/keyless.ts';
import { AuditEntry } from '../core/audit.ts';
import { appRouter } from '../server/router.ts';
import { emptyDescriptor } from '../server/storage/manifest.ts';
import { databaseKinds, type Kind } from './databases.ts';
import { type FederatedPlane, startFederatedPlane } from './fakes/federated.ts';
import { type Job, startJob, text } from './fakes/job.ts';
import { logIn, loginThrough, type OpenidProvider, startOpenidProvider } from './fakes/openid-provider.ts';
import { startTinyRegistry, type TinyRegistry } from './fakes/tiny-registry.ts';
import { needs } from './needs.ts';
import { until } from './until.ts';

/** Where the story takes place. `operator`: an API token of acme with the role owner; `owner`: the owner token of the instance. */
type Scene = FederatedPlane & {
  readonly owner: Api;
  readonly operator: Api;
  readonly job: Job;
  readonly jobToken: string;
  readonly provider: OpenidProvider;
  readonly registry: TinyRegistry;
  /** Chains that are looked at: the instance, and organizations by name. */
  readonly chains: string[];
  /** What one act leaves for the next. */
  readonly ids: Map<string, string>;
  days: number;
};

/** Does it, and says what stands in the audit log then: `<chain>: <kind of actor> <its name> <action> <what it was done to>`. */
type Act = (scene: Scene) => Promise<readonly string[]>;

const [mine, cli, theJob] = ['acme: api-token test', 'instance: person Alice', 'acme: service-account ci'];
const ref = { name: 'extra', project: 'other' };
const inNoCi = { authenticated: false } as const;
const contract = 'schemaVersion: v1\nmaterials:\n  - { type: STRING, name: commit }\n  - { type: ARTIFACT, name: binary, output: true }\n';

const brought = (digest: string | undefined) => ['upload', 'describe'].map((action) => `${theJob} evidence.${action} ${digest}`);

async function pushed({ job }: Scene): Promise<{ readonly runId: string; readonly rows: readonly string[] }> {
  const run = await job.init({ runner: inNoCi });
  const binary = await job.upload('binary', `of run ${run.runId}`);
  await job.push(run, await job.bundle(run, [text('commit', 'x'), binary], { start: { runner: inNoCi, env: {}, annotations: {} } }));
  return { runId: run.runId, rows: [`${theJob} run.init ${run.runId}`, ...brought(binary.digest), `${theJob} run.push ${run.runId}`] };
}

const idOf = ({ ids }: Scene, name: string): string => ids.get(name) ?? assert.fail(`nothing is called ${name}`);

/** What each mutation of the API writes when it is done, in the order of a story: a later one may use what an earlier one made. */
const acts: Readonly<Record<string, Act>> = {
  'organization.create': async ({ owner, chains }) => {
    await owner.organization.create.mutate({ name: 'widgets' });
    chains.push('widgets');
    return [
      ...['instance', 'widgets'].map((chain) => `${chain}: owner owner organization.create widgets`),
      'widgets: owner owner cas-backend.add default',
    ];
  },
  'invitation.create': async ({ operator, ids }) => {
    await operator.invitation.create.mutate({ email: 'alice@example.com', role: 'admin' });
    const { id } = await operator.invitation.create.mutate({ email: 'bob@example.com', role: 'viewer' });
    ids.set('bob', id);
    return [`${mine} invitation.create alice@example.com`, `${mine} invitation.create bob@example.com`];
  },
  'invitation.remove': async (scene) => {
    await scene.operator.invitation.remove.mutate({ id: idOf(scene, 'bob') });
    return [`${mine} invitation.end bob@example.com`];
  },
  'session.begin': async ({ plane }) => {
    await plane.api('none').session.begin.mutate({ port: 40_000, state: 'the-state-of-the-command-line' });
    return [];
  },
  'session.finish': async (scene) => {
    scene.ids.set('session', (await logIn(scene.plane.url)).token);
    return [
      'instance: system server person.admit Alice',
      'acme: person Alice member.join Alice',
      'acme: person Alice invitation.end alice@example.com',
      `${cli} session.begin Alice`,
    ];
  },
  'session.device': async ({ plane, ids }) => {
    ids.set('device', (await plane.api('none').session.device.mutate({})).handle);
    return [];
  },
  'session.poll': async (scene) => {
    scene.provider.approveDevices();
    const answer = await scene.plane.api('none').session.poll.mutate({ handle: idOf(scene, 'device') });
    assert.equal(answer.state, 'done');
    return [`${cli} session.begin Alice`];
  },
  'session.end': async (scene) => {
    await scene.plane.api(idOf(scene, 'session')).session.end.mutate({});
    return [`${cli} session.end Alice`];
  },
  'member.setRole': async ({ operator, ids }) => {
    const [alice] = (await operator.member.list.query({})).items;
    ids.set('alice', alice?.id ?? '');
    await operator.member.setRole.mutate({ id: alice?.id ?? '', role: 'viewer' });
    return [`${mine} member.set-role Alice`];
  },
  'member.remove': async (scene) => {
    await scene.operator.member.remove.mutate({ id: idOf(scene, 'alice') });
    // Also who is gone is found by the id that lists of members showed.
    const { items } = await scene.operator.audit.list.query({ resource: idOf(scene, 'alice') });
    assert.deepEqual(
      items.map(({ entry }) => entry.action),
      ['member.remove', 'member.set-role', 'member.join'],
    );
    return [`${mine} member.remove Alice`];
  },
  'contract.create': async ({ operator }) => {
    await operator.contract.create.mutate({ name: 'extra', format: 'yaml', body: 'schemaVersion: v1\n' });
    return [`${mine} contract.create extra`];
  },
  'contract.update': async ({ operator }) => {
    const body = 'schemaVersion: v1\nmaterials:\n  - { type: STRING, name: note }\n';
    for (const _ of ['a revision', 'the same again']) await operator.contract.update.mutate({ name: 'extra', format: 'yaml', body });
    return [`${mine} contract.update extra`];
  },
  'workflow.create': async ({ operator }) => {
    await operator.workflow.create.mutate({ ...ref, contract: 'extra' });
    return [`${mine} project.create other`, `${mine} workflow.create other/extra`];
  },
  'workflow.update': async ({ operator }) => {
    await operator.workflow.update.mutate({ ...ref, team: 'core' });
    return [`${mine} workflow.update other/extra`];
  },
  'workflow.hold': async ({ operator }) => {
    await operator.workflow.hold.mutate({ ...ref, reason: 'a lawsuit' });
    return [`${mine} workflow.hold other/extra`];
  },
  'workflow.release': async ({ operator }) => {
    await operator.workflow.release.mutate(ref);
    return [`${mine} workflow.release other/extra`];
  },
  'serviceAccount.create': async ({ operator, ids }) => {
    for (const name of ['revoked', 'left']) {
      const { id } = await operator.serviceAccount.create.mutate({ name, workflow: ref.name, project: ref.project });
      ids.set(name, id);
    }
    return [`${mine} service-account.create revoked`, `${mine} service-account.create left`];
  },
  'serviceAccount.revoke': async (scene) => {
    await scene.operator.serviceAccount.revoke.mutate({ id: idOf(scene, 'revoked') });
    return [`${mine} service-account.revoke revoked`];
  },
  'workflow.remove': async ({ operator }) => {
    await operator.workflow.remove.mutate(ref);
    return [`${mine} workflow.remove other/extra`, `${mine} service-account.revoke left`];
  },
  'contract.remove': async ({ operator }) => {
    await operator.contract.remove.mutate({ name: 'extra' });
    return [`${mine} contract.remove extra`];
  },
  'apiToken.create': async ({ operator, ids }) => {
    ids.set('token', (await operator.apiToken.create.mutate({ name: 'dashboards', role: 'viewer' })).id);
    return [`${mine} api-token.create dashboards`];
  },
  'apiToken.revoke': async (scene) => {
    await scene.operator.apiToken.revoke.mutate({ id: idOf(scene, 'token') });
    return [`${mine} api-token.revoke dashboards`];
  },
  'key.trust': async ({ operator, job }) => {
    await operator.key.trust.mutate({ name: 'release', pem: job.publicKeyPem });
    return [`${mine} key.trust release`];
  },
  'identity.trust': async ({ operator }) => {
    await operator.identity.trust.mutate({ name: 'ci', issuer: 'https://ci.example.com', identity: { exact: 'https://x' } });
    return [`${mine} identity.trust ci`];
  },
  'identity.remove': async ({ operator }) => {
    await operator.identity.remove.mutate({ name: 'ci' });
    return [`${mine} identity.remove ci`];
  },
  'attestation.init': async ({ job, ids }) => {
    for (const _ of ['a run', 'the same again']) {
      ids.set('run', (await job.init({ runner: inNoCi, idempotencyKey: 'the key of one run' })).runId);
    }
    return [`${theJob} run.init ${ids.get('run')}`];
  },
  'attestation.begin': async (scene) => {
    const runId = idOf(scene, 'run');
    await scene.plane.api(scene.jobToken).attestation.begin.mutate({ runId, start: { env: {}, annotations: {} } });
    return [`${theJob} run.begin ${runId}`];
  },
  'attestation.collect': async (scene) => {
    const runId = idOf(scene, 'run');
    const material = { name: 'commit', type: 'STRING', value: 'x', uploaded: false, annotations: {} } as const;
    await scene.plane.api(scene.jobToken).attestation.collect.mutate({ runId, material });
    return [`${theJob} run.collect ${runId}`];
  },
  'attestation.end': async (scene) => {
    const runId = idOf(scene, 'run');
    await scene.plane.api(scene.jobToken).attestation.end.mutate({ runId, state: 'failed', reason: 'a test failed' });
    return [`${theJob} run.fail ${runId}`];
  },
  'attestation.push': async (scene) => {
    const { runId, rows } = await pushed(scene);
    scene.ids.set('success', runId);
    return rows;
  },
  'run.hold': async (scene) => {
    await scene.operator.run.hold.mutate({ id: idOf(scene, 'success'), reason: 'a lawsuit' });
    return [`${mine} run.hold ${idOf(scene, 'success')}`];
  },
  'run.release': async (scene) => {
    await scene.operator.run.release.mutate({ id: idOf(scene, 'success') });
    return [`${mine} run.release ${idOf(scene, 'success')}`];
  },
  'signing.certificate': async ({ plane, jobToken }) => {
    await createKeylessSigner(createKeylessPorts(plane.api(jobToken))).sign(new Uint8Array(1));
    const { identity } = await plane.api(jobToken).auth.whoami.query();
    return [`${theJob} certificate.issue ${identity?.san}`];
  },
  'binding.create': async (scene) => {
    scene.ids.set('binding', await scene.bind('github', {}, scene.operator));
    return [`${mine} binding.create ${scene.ids.get('binding')}`];
  },
  'auth.exchange': async (scene) => {
    await scene.exchange(await scene.github.github(), { organization: 'acme' });
    return [`acme: job acme/app binding.exchange ${idOf(scene, 'binding')}`];
  },
  'binding.remove': async (scene) => {
    await scene.operator.binding.remove.mutate({ id: idOf(scene, 'binding') });
    return [`${mine} binding.remove ${idOf(scene, 'binding')}`];
  },
  'casBackend.add': async ({ operator, registry }) => {
    await operator.casBackend.add.mutate({ name: 'main', repo: `${registry.host}/acme`, insecure: true, default: false });
    return [`${mine} cas-backend.add main`];
  },
  'casBackend.setDefault': async ({ operator }) => {
    for (const name of ['main', 'default']) await operator.casBackend.setDefault.mutate({ name });
    return ['main', 'default', 'main', 'default'].map((name) => `${mine} cas-backend.assign ${name}`);
  },
  'casBackend.setFallback': async ({ operator }) => {
    for (const name of ['main', undefined]) await operator.casBackend.setFallback.mutate({ name });
    return ['main', 'main'].map((name) => `${mine} cas-backend.assign ${name}`);
  },
  'casBackend.setMirror': async ({ operator }) => {
    await operator.casBackend.setMirror.mutate({ name: 'main', mirror: true });
    return [`${mine} cas-backend.assign main`];
  },
  'casBackend.update': async ({ operator }) => {
    await operator.casBackend.update.mutate({ name: 'main', username: 'robot', password: 'its password' });
    return [`${mine} cas-backend.update main`];
  },
  'casBackend.takeOver': async ({ operator }) => {
    await operator.casBackend.takeOver.mutate({ name: 'main' });
    return [`${mine} cas-backend.take-over main`];
  },
  'casBackend.check': async ({ operator, registry }) => {
    await operator.casBackend.check.mutate({ name: 'main' });
    await registry[Symbol.asyncDispose]();
    await operator.casBackend.check.mutate({ name: 'main' });
    return [`${mine} cas-backend.check main`];
  },
  'outbox.retry': async (scene) => {
    const { runId, rows } = await pushed(scene);
    const copies = async () => (await scene.operator.outbox.list.query({})).items.filter(({ kind }) => kind === 'copy');
    await until('a copy is due', async () => (await copies()).some((effect) => effect.runId === runId));
    const [copy] = await copies();
    await scene.operator.outbox.retry.mutate({ id: copy?.id ?? '' });
    return [...rows, `${mine} effect.retry ${copy?.id}`];
  },
  'casBackend.remove': async ({ operator }) => {
    await operator.casBackend.setMirror.mutate({ name: 'main', mirror: false });
    await operator.casBackend.remove.mutate({ name: 'main' });
    return [`${mine} cas-backend.assign main`, `${mine} cas-backend.remove main`];
  },
  'key.remove': async ({ operator }) => {
    await operator.key.remove.mutate({ name: 'release' });
    return [`${mine} key.remove release`];
  },
  'retention.set': async ({ operator }) => {
    for (const _ of ['another time', 'the same again']) await operator.retention.set.mutate({ unpushedDays: 8 });
    return [`${mine} organization.retain acme`];
  },
  'retention.collect': async (scene) => {
    scene.days = 30;
    let step = await scene.operator.retention.collect.mutate({ dryRun: false });
    while (step.more) step = await scene.operator.retention.collect.mutate({ dryRun: false, cursor: step.nextCursor });
    return [idOf(scene, 'unpushed'), emptyDescriptor.digest].map((digest) => `${mine} evidence.remove ${digest}`);
  },
  'trustRoot.rotate': async ({ owner }) => {
    const { generation } = await owner.trustRoot.rotate.mutate();
    return [`instance: owner owner authority.rotate ca/${generation}`];
  },
};

/** What the control plane does by itself, meanwhile. */
const background = new Set(['backend-check', 'expiry', 'gateway', 'outbox', 'retention', 'verdicts']);

const mutations = Object.entries(appRouter._def.procedures).flatMap(([path, procedure]) => {
  const { _def: definition }: { readonly _def?: { readonly type: string } } = Object(procedure);
  return definition?.type === 'mutation' ? [path] : [];
});

test('every mutation of the API has an act here', () => {
  assert.deepEqual(Object.keys(acts).toSorted(), mutations.toSorted());
});

for (const kind of databaseKinds) {
  test(`whatever the API changes leaves exactly these rows, and what it refuses only that it was refused (${kind})`, async (t) => {
    if (kind === 'postgresql' && !needs(t, 'postgresql')) return;
    await using stack = new AsyncDisposableStack();
    const scene = await setUp(kind, stack);
    const viewer = (await scene.operator.apiToken.create.mutate({ name: 'viewer', role: 'viewer' })).token;
    const seen = new Map<string, number>();
    const people = new Map<string, string>();

    /** Rows that were not there the last time. Those of one chain are in its order; chains come one after the other. */
    async function written(): Promise<string[]> {
      const rows: string[] = [];
      for (const chain of scene.chains) {
        const { audit, instanceAudit } = scene.plane.api(scene.plane.ownerToken, chain);
        const { lines } = await (chain === 'instance' ? instanceAudit : audit).export.query({ after: seen.get(chain) ?? 0 });
        for (const line of lines) {
          const { sequence, actor, action, resource } = AuditEntry.parse(JSON.parse(line).entry);
          seen.set(chain, sequence);
          if (actor.kind === 'person' && actor.id !== null) people.set(actor.id, actor.name);
          if (actor.kind === 'system' && background.has(actor.name)) continue;
          rows.push(`${chain}: ${actor.kind} ${actor.name} ${action} ${resource.name}`);
        }
      }
      return rows.map((row) => [...people].reduce((named, [id, name]) => named.replace(id, name), row));
    }

    async function refused(path: string, token: string): Promise<string> {
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` };
      const response = await fetch(`${scene.plane.url}/trpc/${path}`, { method: 'POST', headers, body: '{"no procedure takes": "this"}' });
      return JSON.parse(await response.text()).error?.data.code ?? 'OK';
    }

    await written();
    for (const [path, act] of Object.entries(acts)) {
      const code = await refused(path, viewer);
      const noted = code === 'FORBIDDEN' && path !== 'session.end';
      const chain = path.startsWith('organization.') || path === 'trustRoot.rotate' ? 'instance' : 'acme';
      const refusal = noted ? [`${chain}: api-token viewer request.refuse ${path}`] : [];
      assert.ok(noted || path === 'session.end' || path.startsWith('session.') || path === 'auth.exchange', `${path}: ${code}`);
      // Nobody waits for that row, so it may come a moment later.
      const rows: string[] = [];
      await until(`the refusal of ${path} is in the log`, async () => {
        rows.push(...(await written()));
        return rows.length >= refusal.length;
      });
      assert.deepEqual(rows, refusal, `${path}, refused`);
      const expected = await act(scene);
      assert.deepEqual((await written()).toSorted(), expected.toSorted(), path);
    }
    t.diagnostic(`${Object.keys(acts).length} mutations`);
  });
}

async function setUp(kind: Kind, stack: AsyncDisposableStack): Promise<Scene> {
  const provider = stack.use(await startOpenidProvider());
  const registry = stack.use(await startTinyRegistry());
  const clock = { days: 0 };
  const now = () => new Date(Date.now() + clock.days * 24 * 60 * 60 * 1000);
  const federated = stack.use(await startFederatedPlane({ ...loginThrough(provider), database: kind, now }));
  const { plane, api: operator } = federated;
  await operator.contract.update.mutate({ name: 'release', format: 'yaml', body: contract });
  const { token: jobToken } = await operator.serviceAccount.create.mutate({ name: 'ci', workflow: 'release', project: 'bedrock' });
  const job = await startJob({ url: plane.url, organization: 'acme', token: jobToken });
  // What comes once, with whatever is first: the authorities, and the empty config of all manifests.
  await operator.trustRoot.get.query();
  const unpushed = await job.upload('binary', 'of no attestation');
  return Object.assign(clock, {
    ...federated,
    ...{ operator, job, jobToken, provider, registry, owner: plane.api(plane.ownerToken) },
    ...{ chains: ['instance', 'acme'], ids: new Map([['unpushed', unpushed.digest ?? '']]) },
  });
}
