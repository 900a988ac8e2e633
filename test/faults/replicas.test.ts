import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Api, createApi } from '../../client/api.ts';
import { digestOf } from '../../core/digest.ts';
import { isChainloopError } from '../../core/errors.ts';
import { type Balancer, startBalancer } from '../fakes/balancer.ts';
import { type Registry, startRegistry } from '../fakes/docker-registry.ts';
import { type Job, startJob, text } from '../fakes/job.ts';
import { type KillableServer, startKillableServer } from '../fakes/killable-server.ts';
import { startPostgres } from '../fakes/postgres.ts';
import { needs } from '../needs.ts';
import { until } from '../until.ts';
import { onceAndVerifying } from './acknowledged.ts';
import { isLong, record, trials } from './reliability.ts';

// Two servers on one PostgreSQL and one registry, behind a balancer. Each has a data directory of its own: what they share is in the database.

const clients = 8;
const contract = 'schemaVersion: v1\nmaterials:\n  - { type: STRING, name: commit }\n  - { type: ARTIFACT, name: binary, output: true }\n';

type Pair = {
  /** The two servers; a test may put another in the place of one that it ended. */
  readonly servers: KillableServer[];
  start(index: number): Promise<KillableServer>;
  readonly balancer: Balancer;
  readonly registry: Registry;
  readonly api: Api;
  readonly ownerToken: string;
  readonly job: Job;
  readonly jobToken: string;
};

async function startPair(stack: AsyncDisposableStack): Promise<Pair> {
  const { path: home } = stack.use(await mkdtempDisposable(join(tmpdir(), 'chainloop-replicas-')));
  const postgres = stack.use(await startPostgres());
  const registry = stack.use(await startRegistry());
  const databaseUrl = await postgres.createDatabase();
  const env = { CHAINLOOP_MASTER_KEY: randomBytes(32).toString('hex') };
  const servers: KillableServer[] = [];
  const start = async (index: number): Promise<KillableServer> => {
    const listen = servers[index] && new URL(servers[index].url).host;
    const server = await startKillableServer({ dataDir: join(home, String(index)), databaseUrl, listen, env });
    servers[index] = server;
    return server;
  };
  stack.defer(async () => {
    for (const server of servers) await server[Symbol.asyncDispose]();
  });
  // At once, on an empty database: both migrate, both make the owner token, one of them wins.
  await Promise.all([start(0), start(1)]);
  const balancer = stack.use(await startBalancer(servers.map(({ url }) => url)));
  const { url } = balancer;
  const ownerToken = servers.map((server) => server.ownerToken).find((token) => token !== '') ?? '';
  await createApi({ url, token: ownerToken }).organization.create.mutate({ name: 'acme' });
  const api = createApi({ url, token: ownerToken, organization: 'acme', retryBudgetMs: 20_000 });
  await api.casBackend.add.mutate({ name: 'registry', repo: `${registry.host}/evidence`, insecure: true });
  await api.contract.create.mutate({ name: 'release', format: 'yaml', body: contract });
  await api.workflow.create.mutate({ name: 'release', project: 'bedrock', contract: 'release' });
  const { token: jobToken } = await api.serviceAccount.create.mutate({ name: 'job', workflow: 'release', project: 'bedrock' });
  const job = await startJob({ url, organization: 'acme', token: jobToken, trustedBy: api, retryBudgetMs: 60_000 });
  return { servers, start, balancer, registry, api, ownerToken, job, jobToken };
}

function missing(t: TestContext): boolean {
  return !needs(t, 'postgresql') || !needs(t, 'docker-registry');
}

test('of two servers behind a balancer one is killed under load, and later one is stopped: nothing acknowledged is lost, nothing is there twice', {
  timeout: isLong ? 3_600_000 : 240_000,
}, async (t) => {
  if (missing(t)) return;
  await using stack = new AsyncDisposableStack();
  const { servers, start, api, job, balancer } = await startPair(stack);

  let stopped = false;
  stack.defer(() => {
    stopped = true;
  });
  const acknowledged = new Map<string, string>();
  const opened = new Set<string>();
  let uploadsRepeated = 0;
  const client = async (number: number): Promise<void> => {
    for (let i = 0; !stopped; i++) {
      const content = `client ${number}, attestation ${i}, and enough characters`;
      const run = await job.init({ idempotencyKey: content, runner: { authenticated: false } });
      opened.add(run.runId);
      const upload = async (): Promise<Awaited<ReturnType<Job['upload']>>> => {
        try {
          return await job.upload('binary', content);
        } catch (error) {
          if (stopped || !isChainloopError(error, 'REGISTRY_UNAVAILABLE')) throw error;
          uploadsRepeated++;
          return upload();
        }
      };
      const start = { runner: { authenticated: false }, env: {}, annotations: {} } as const;
      const bundle = await job.bundle(run, [text('commit', content), await upload()], { start });
      acknowledged.set(run.runId, (await job.push(run, bundle)).digest);
    }
  };
  const all = Promise.all(Array.from({ length: clients }, (_, number) => client(number)));
  const more = async (count: number): Promise<void> => {
    const goal = acknowledged.size + count;
    await Promise.race([all, until(`${goal} acknowledged`, () => stopped || acknowledged.size >= goal)]);
  };

  const kills = trials(1, 60);
  let gapMs = 0;
  await more(clients);
  for (let kill = 0; kill < kills; kill++) {
    const index = kill % 2;
    await servers[index]?.stop('SIGKILL');
    const killedAt = performance.now();
    await more(1);
    gapMs = Math.max(gapMs, performance.now() - killedAt);
    await more(clients);
    const back = await start(index);
    await until('the balancer has the server back', () => balancer.ready().includes(back.url));
    await more(clients);
  }

  // The second one is told to stop: it is not ready first, and serves on; then it is gone, and nobody noticed.
  const second = servers[1];
  assert.ok(second);
  const repeatedBefore = uploadsRepeated;
  const stopping = second.stop('SIGTERM');
  const stoppedAt = performance.now();
  await until('the server is not ready', async () => !(await fetch(`${second.url}/readyz`)).ok);
  const retired = await fetch(`${second.url}/trpc/trustRoot.get`);
  assert.equal(retired.status, 200, 'not ready, and serving still');
  assert.equal(retired.headers.get('connection'), 'close');
  assert.equal(await stopping, 0);
  const stopMs = performance.now() - stoppedAt;
  await more(clients);
  stopped = true;
  await all;

  assert.ok(stopMs < 10_000);
  assert.equal(uploadsRepeated, repeatedBefore, 'no upload failed while a server was stopped');
  await onceAndVerifying(api, opened, acknowledged);
  const stored = 'every acknowledged run, once, verifying; counters are as the rows';
  record(t, {
    fault: 'F2',
    what: `one of two servers behind a balancer is killed, under ${clients} pushing clients`,
    trials: kills,
    sees: 'nothing: clients try again; an upload that was on the killed server may have to be repeated',
    stored,
    figure: `${acknowledged.size} runs acknowledged, 0 lost, 0 twice; at most ${gapMs.toFixed(0)} ms without an acknowledgement`,
  });
  record(t, {
    fault: 'F11',
    what: `SIGTERM to one of two servers behind a balancer, under ${clients} pushing clients`,
    trials: 1,
    sees: 'nothing',
    stored,
    figure: `gone after ${(stopMs / 1000).toFixed(1)} s; no upload failed`,
  });
});

test('what one server knows, the other one knows: uploads go on there, revoked tokens are refused', {
  timeout: 600_000,
}, async (t) => {
  if (missing(t)) return;
  await using stack = new AsyncDisposableStack();
  const { servers, start, api, ownerToken, jobToken } = await startPair(stack);
  const [one, other] = servers;
  assert.ok(one && other);

  // An upload that is begun at one server, which is killed, and goes on at the other where it was.
  const headers = { authorization: `Bearer ${jobToken}` };
  const content = randomBytes(3 * 1024 * 1024);
  const half = content.subarray(0, 1024 * 1024);
  const begun = await fetch(`${one.url}/v2/acme/blobs/uploads/`, { method: 'POST', headers });
  const pathOf = (response: Response): string => new URL(response.headers.get('location') ?? '', one.url).pathname;
  const patched = await fetch(one.url + pathOf(begun), { method: 'PATCH', headers, body: half });
  assert.equal(patched.status, 202);
  const empty = await fetch(`${one.url}/v2/acme/blobs/uploads/`, { method: 'POST', headers });
  const small = await fetch(`${other.url}${pathOf(empty)}?digest=${digestOf('a few bytes')}`, {
    method: 'PUT',
    headers,
    body: 'a few bytes',
  });
  assert.equal(small.status, 201);
  await one.stop('SIGKILL');
  const known = await fetch(other.url + pathOf(patched), { headers });
  assert.deepEqual([known.status, known.headers.get('range')], [204, `0-${half.length - 1}`]);
  const rest = await fetch(other.url + pathOf(known), {
    method: 'PATCH',
    headers: { ...headers, 'content-range': `${half.length}-${content.length - 1}` },
    body: content.subarray(half.length),
  });
  assert.equal(rest.status, 202);
  const finished = await fetch(`${other.url}${pathOf(rest)}?digest=${digestOf(content)}`, { method: 'PUT', headers });
  assert.equal(finished.status, 201);

  // What is revoked at one is refused at the other.
  const again = await start(0);
  const { id, token } = await api.apiToken.create.mutate({ name: 'short-lived' });
  const whoami = (url: string) => createApi({ url, token, retryBudgetMs: 0 }).auth.whoami.query();
  await whoami(again.url);
  await createApi({ url: other.url, token: ownerToken, organization: 'acme' }).apiToken.revoke.mutate({ id });
  await assert.rejects(whoami(again.url), { code: 'TOKEN_REVOKED' });
});
