import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempDisposable, readdir, stat, writeFile } from 'node:fs/promises';
import { type ClientRequest, request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Api, createApi } from '../../client/api.ts';
import { type AuditEntry, type AuditHead, createAuditCheck } from '../../core/audit.ts';
import { isChainloopError } from '../../core/errors.ts';
import type { InitAnswer } from '../../core/ports.ts';
import { databaseKinds, type Kind } from '../databases.ts';
import { startControlPlane } from '../fakes/control-plane.ts';
import { type Job, startJob, text } from '../fakes/job.ts';
import { type KillableServer, startKillableServer } from '../fakes/killable-server.ts';
import { type Postgres, startPostgres } from '../fakes/postgres.ts';
import { needs } from '../needs.ts';
import { until } from '../until.ts';
import { everyRun, onceAndVerifying } from './acknowledged.ts';
import { record, trials } from './reliability.ts';

const clients = 8;
const contract = 'schemaVersion: v1\nmaterials:\n  - { type: STRING, name: commit }\n  - { type: ARTIFACT, name: binary, output: true }\n';

/** An organization with one workflow, as an operator sets it up. */
async function setUp(url: string, ownerToken: string): Promise<{ readonly api: Api; readonly job: Job }> {
  await createApi({ url, token: ownerToken }).organization.create.mutate({ name: 'acme' });
  const api = createApi({ url, token: ownerToken, organization: 'acme', retryBudgetMs: 20_000 });
  await api.contract.create.mutate({ name: 'release', format: 'yaml', body: contract });
  await api.workflow.create.mutate({ name: 'release', project: 'bedrock', contract: 'release' });
  const { token } = await api.serviceAccount.create.mutate({ name: 'job', workflow: 'release', project: 'bedrock' });
  const job = await startJob({ url, organization: 'acme', token, trustedBy: api, retryBudgetMs: 60_000 });
  return { api, job };
}

const bundleOf = async (job: Job, run: InitAnswer, content: string): Promise<string> =>
  job.bundle(run, [text('commit', content), await job.upload('binary', content)], {
    start: { runner: { authenticated: false }, env: {}, annotations: {} },
  });
const openRun = (job: Job, idempotencyKey: string): Promise<InitAnswer> => job.init({ idempotencyKey, runner: { authenticated: false } });

/** What is done to the server, or to what it stands on, under load. */
const disturbances = [
  { fault: 'F2', what: 'kill -9 of the server', kinds: databaseKinds, disturb: (scene: Scene) => scene.restartServer() },
  {
    fault: 'F8',
    what: 'PostgreSQL restarts as after a crash',
    kinds: ['postgresql'],
    disturb: (scene: Scene) => scene.postgres?.restart('immediate'),
  },
  { fault: 'F8', what: 'PostgreSQL restarts in order', kinds: ['postgresql'], disturb: (scene: Scene) => scene.postgres?.restart('fast') },
] as const;
type Scene = { readonly postgres: Postgres | undefined; restartServer(): Promise<void> };

for (const [{ fault, what, disturb }, kind] of disturbances.flatMap((row) => row.kinds.map((kind) => [row, kind] as const))) {
  test(`${fault}: ${what}, at any moment: no acknowledged run is lost and none is made twice (${kind})`, {
    timeout: 3_600_000,
  }, async (t) => {
    if (kind === 'postgresql' && !needs(t, 'postgresql')) return;
    await using stack = new AsyncDisposableStack();
    const { dataDir, databaseUrl, postgres } = await home(kind, stack);
    let server: KillableServer = await startKillableServer({ dataDir, databaseUrl });
    stack.defer(() => server[Symbol.asyncDispose]());
    const { host } = new URL(server.url);
    const scene: Scene = {
      postgres,
      async restartServer() {
        await server.stop('SIGKILL');
        server = await startKillableServer({ dataDir, databaseUrl, listen: host });
      },
    };
    const { api, job } = await setUp(server.url, server.ownerToken);

    let stopped = false;
    const acknowledged = new Map<string, string>();
    const opened = new Set<string>();
    const client = async (number: number): Promise<void> => {
      for (let i = 0; !stopped; i++) {
        const content = `client ${number}, attestation ${i}, and enough characters`;
        const run = await openRun(job, content);
        opened.add(run.runId);
        const { digest } = await job.push(run, await untilReachable(() => bundleOf(job, run, content)));
        acknowledged.set(run.runId, digest);
      }
    };
    const all = Promise.all(Array.from({ length: clients }, (_, number) => client(number))).finally(() => {
      stopped = true;
    });
    const times = trials(fault === 'F2' ? 3 : 2, 100);
    const heads: AuditHead[] = [];
    for (let time = 0; time < times; time++) {
      const before = acknowledged.size;
      // Under load: at a moment of its own in each round, after some were acknowledged.
      const everyMs = 7 + 3 * (time % 31);
      await until('pushes go on', () => stopped || acknowledged.size >= before + 3 + (time % 7), { everyMs });
      heads.push(await api.audit.head.query());
      await disturb(scene);
    }
    stopped = true;
    await all;

    assert.equal(server.process.exitCode, null, 'it is alive');
    await onceAndVerifying(api, opened, acknowledged);
    const log = await auditOf(api, heads);
    const done = (action: string) => log.filter((entry) => entry.action === action).map(({ resource }) => resource.name);
    assert.deepEqual(done('run.init').toSorted(), [...opened].toSorted(), 'each run has its row, and each row its run');
    assert.deepEqual(
      done('run.push').toSorted(),
      [...acknowledged.keys()].toSorted(),
      'each success has its row, and each row its success',
    );
    record(t, {
      fault,
      what: `${what}, under ${clients} pushing clients (${kind})`,
      trials: times,
      sees: 'nothing: clients try again',
      stored:
        'every acknowledged run, once, verifying; counters are as the rows; the audit log has one row for each change, and every head that was shown',
      figure: `${acknowledged.size} runs acknowledged, 0 lost, 0 twice`,
    });
  });
}

for (const kind of databaseKinds) {
  test(`F9: of eight pushes of one attestation at once all get the same answer, and there is one success (${kind})`, async (t) => {
    if (kind === 'postgresql' && !needs(t, 'postgresql')) return;
    await using plane = await startControlPlane({ database: kind });
    const { api, job } = await setUp(plane.url, plane.ownerToken);
    const runs = await Promise.all(Array.from({ length: clients }, () => openRun(job, 'one key of all these')));
    assert.equal(new Set(runs.map(({ runId }) => runId)).size, 1);
    const [run] = runs;
    assert.ok(run);
    const bundles = await Promise.all(Array.from({ length: clients }, () => bundleOf(job, run, 'the same bytes')));
    const [bundle = ''] = bundles;
    const answers = await Promise.all(Array.from({ length: clients }, () => job.push(run, bundle)));
    assert.equal(new Set(answers.map(({ digest }) => digest)).size, 1);
    assert.deepEqual(await job.push(run, bundle), answers[0], 'a replay after a lost answer');
    const [workflow] = (await api.workflow.list.query({})).items;
    assert.equal(workflow?.runsCount, 1);
    assert.deepEqual(
      (await everyRun(api)).map(({ state }) => state),
      ['success'],
    );
    record(t, {
      fault: 'F9',
      what: `one attestation is opened and pushed by ${clients} at once, and pushed again after a lost answer (${kind})`,
      trials: clients + 1,
      sees: 'each gets the same answer',
      stored: 'one run, one success; its blob once',
    });
  });
}

test('F11: at SIGTERM what is in flight finishes, what is new is told to come back, and the server is gone in time', {
  timeout: 240_000,
}, async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-drain-'));
  await using server = await startKillableServer({ dataDir: folder.path });
  const { api, job } = await setUp(server.url, server.ownerToken);
  const { token } = await api.apiToken.create.mutate({ name: 'upload' });
  const run = await openRun(job, 'a run that is pushed in time');
  const bundle = await bundleOf(job, run, 'content');

  // An upload that is half way when the signal comes, and a connection that was idle.
  const upload = await startUpload(server.url, token);
  const pushed = job.push(run, bundle).then(
    () => undefined,
    (error: unknown) => error,
  );
  const uploads = join(folder.path, 'storage', 'acme', '.chainloop', 'uploads');
  const sizes = async () => Promise.all((await readdir(uploads)).map(async (name) => (await stat(join(uploads, name))).size));
  await until('the server has some of the upload', async () => Math.max(...(await sizes())) > 0);
  const stopping = server.stop('SIGTERM');
  await until('the server says that it is stopping', () => server.log.some((line) => line.includes('is stopping')));

  const startedAt = performance.now();
  const refused = createApi({ url: server.url, token, retryBudgetMs: 0 }).auth.whoami.query();
  await assert.rejects(refused, (error) => isChainloopError(error, 'CONTROL_PLANE_UNREACHABLE') && /stopping|refused/.test(error.message));
  assert.equal(await upload.finish(), 202, 'the upload in flight was taken to its end');
  const failure = await pushed;
  assert.ok(failure === undefined || isChainloopError(failure, 'CONTROL_PLANE_UNREACHABLE'), String(failure));
  assert.equal(await stopping, 0);
  const tookMs = performance.now() - startedAt;
  assert.ok(tookMs < 10_000);
  record(t, {
    fault: 'F11',
    what: 'SIGTERM while an upload and a push are in flight',
    trials: 1,
    sees: 'in flight: nothing; new requests wait for the next server, or end with exit 75',
    stored: 'what was acknowledged',
    figure: `gone after ${(tookMs / 1000).toFixed(1)} s`,
  });
});

test('S9: refusing large bodies takes a bounded amount of memory', { timeout: 240_000 }, async (t) => {
  if (process.platform !== 'linux') return t.skip('resident memory is read from /proc: Linux only');
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-memory-'));
  await using server = await startKillableServer({ dataDir: folder.path });
  const { api } = await setUp(server.url, server.ownerToken);
  const { token } = await api.apiToken.create.mutate({ name: 'flood' });
  await writeFile(`/proc/${server.process.pid}/clear_refs`, '5');
  const before = await server.memory();
  const piece = Buffer.alloc(1024 * 1024, ' ');
  const flood = async (): Promise<number | undefined> => {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` };
    const request = httpRequest(`${server.url}/trpc/contract.create`, { method: 'POST', headers });
    request.on('error', () => undefined);
    const answered = once(request, 'response');
    const pump = (): void => {
      while (!request.destroyed && request.write(piece));
    };
    request.on('drain', pump);
    pump();
    const [response] = await answered;
    request.destroy();
    return response.statusCode;
  };
  const statuses = await Promise.all(Array.from({ length: clients }, flood));
  const peak = (await server.memory()).peakMiB;
  t.diagnostic(`resident before ${before.nowMiB.toFixed(0)} MiB, peak ${peak.toFixed(0)} MiB; answers ${statuses.join(' ')}`);
  for (const status of statuses) assert.equal(status, 413);
  // Each may hold what is allowed, and the collector is not in a hurry.
  assert.ok(peak - before.nowMiB < 400, `${peak - before.nowMiB} MiB more`);
});

type Home = { readonly dataDir: string; readonly databaseUrl?: string; readonly postgres?: Postgres };

async function home(kind: Kind, stack: AsyncDisposableStack): Promise<Home> {
  const { path: dataDir } = stack.use(await mkdtempDisposable(join(tmpdir(), 'chainloop-kill-')));
  if (kind === 'pglite') return { dataDir };
  // What is not synced is lost when it is stopped as by a crash.
  const postgres: Postgres = stack.use(await startPostgres({ fsync: true }));
  return { dataDir, databaseUrl: await postgres.createDatabase(), postgres };
}

/** As a person does whose `attestation add` failed: the same command again. */
async function untilReachable<T>(attempt: () => Promise<T>, times = 100): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    if (times === 1 || !isChainloopError(error, 'REGISTRY_UNAVAILABLE')) throw error;
    return untilReachable(attempt, times - 1);
  }
}

/** The audit log, which verifies and goes through each of the heads. */
async function auditOf(api: Api, heads: readonly AuditHead[]): Promise<AuditEntry[]> {
  const checks = [createAuditCheck({ from: 'start' }), ...heads.map((kept) => createAuditCheck({ from: 'start', kept }))];
  const entries: AuditEntry[] = [];
  for (;;) {
    const { lines } = await api.audit.export.query({ after: entries.length });
    if (lines.length === 0) break;
    for (const line of lines) {
      const [entry] = checks.map((check) => check.next(line));
      if (entry !== undefined) entries.push(entry);
    }
  }
  for (const check of checks) check.end();
  return entries;
}

/** An upload session with a PATCH whose body is half sent. */
async function startUpload(
  url: string,
  token: string,
): Promise<{ readonly request: ClientRequest; finish(): Promise<number | undefined> }> {
  const headers = { authorization: `Bearer ${token}` };
  const session = await fetch(`${url}/v2/acme/blobs/uploads/`, { method: 'POST', headers });
  const request = httpRequest(new URL(session.headers.get('location') ?? '', url), {
    method: 'PATCH',
    headers: { ...headers, 'content-length': 2 * 1024 * 1024 },
  });
  const half = Buffer.alloc(1024 * 1024, 'x');
  request.write(half);
  return {
    request,
    async finish() {
      const answered = once(request, 'response');
      request.end(half);
      const [response] = await answered;
      response.resume();
      return response.statusCode;
    },
  };
}
