import assert from 'node:assert/strict';
import { mkdtempDisposable, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createApi } from '../../client/api.ts';
import { isChainloopError } from '../../core/errors.ts';
import { databaseKinds } from '../databases.ts';
import { type Fault, startFaultProxy } from '../fakes/fault-proxy.ts';
import { startJob, text } from '../fakes/job.ts';
import { startKillableServer } from '../fakes/killable-server.ts';
import { startPostgres } from '../fakes/postgres.ts';
import { needs } from '../needs.ts';
import { generator, isLong, record, seed, trials } from './reliability.ts';

// F12: jobs attest while connections break, the control plane refuses and PostgreSQL restarts, at random, for half an hour.

const contract = 'schemaVersion: v1\nmaterials:\n  - { type: STRING, name: commit }\n  - { type: ARTIFACT, name: binary, output: true }\n';
const clients = 4;
const seconds = trials(5, 1800);

for (const kind of databaseKinds) {
  test(`F12: ${seconds} s of jobs under faults at random: nothing is lost, and neither memory nor open files grow (${kind})`, {
    timeout: 2 * 60 * 60 * 1000,
  }, async (t) => {
    if (kind === 'postgresql' && !needs(t, 'postgresql')) return;
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await mkdtempDisposable(join(tmpdir(), 'chainloop-soak-')));
    const postgres = kind === 'postgresql' ? stack.use(await startPostgres({ fsync: true })) : undefined;
    await using server = await startKillableServer({ dataDir: folder.path, databaseUrl: postgres?.url });
    await using proxy = await startFaultProxy({ target: server.url });
    const owner = { url: server.url, token: server.ownerToken };
    await createApi(owner).organization.create.mutate({ name: 'acme' });
    const api = createApi({ ...owner, organization: 'acme', retryBudgetMs: 60_000 });
    await api.contract.create.mutate({ name: 'release', format: 'yaml', body: contract });
    await api.workflow.create.mutate({ name: 'release', project: 'bedrock', contract: 'release' });
    const { token } = await api.serviceAccount.create.mutate({ name: 'job', workflow: 'release', project: 'bedrock' });
    const job = await startJob({ url: proxy.origin, organization: 'acme', token, trustedBy: api, retryBudgetMs: 60_000 });

    const random = generator(seed);
    const endsAt = performance.now() + seconds * 1000;
    const acknowledged = new Set<string>();
    const faultNames = new Map<string, number>();
    let restarts = 0;

    async function attest(client: number): Promise<void> {
      for (let index = 0; performance.now() < endsAt; index++) {
        const content = `client ${client}, attestation ${index}, seed ${seed}`;
        // What a person does: the same command again.
        await untilDone(async () => {
          const run = await job.init({ idempotencyKey: content.padEnd(16), runner: { authenticated: false } });
          const bundle = await job.bundle(run, [text('commit', content), await job.upload('binary', content)], {
            start: { runner: { authenticated: false }, env: {}, annotations: {} },
          });
          const { runId } = await job.push(run, bundle);
          acknowledged.add(runId);
        });
      }
    }
    async function trouble(): Promise<void> {
      while (performance.now() < endsAt) {
        await delay(100 + random() * 400);
        const kinds: readonly Fault[] = [
          { type: 'cutRequest', afterBytes: Math.floor(random() * 200) },
          { type: 'loseAnswer' },
          { type: 'status', status: 503 },
          { type: 'status', status: 429, headers: { 'retry-after': '1' } },
          { type: 'cutResponse', afterBytes: Math.floor(random() * 50) },
        ];
        const fault = kinds[Math.floor(random() * kinds.length)];
        // On a slow machine they would pile up, until every request met one.
        if (fault === undefined || proxy.armed() > 0) continue;
        proxy.inject(fault);
        faultNames.set(fault.type, (faultNames.get(fault.type) ?? 0) + 1);
      }
      proxy.clear();
    }
    async function restartDatabase(): Promise<void> {
      if (postgres === undefined) return;
      // Once in the short form, then every minute.
      for (let at = Math.min(seconds / 2, 60); at < seconds; at += 60) {
        await delay(Math.max(0, endsAt - (seconds - at) * 1000 - performance.now()));
        await postgres.restart(random() < 0.5 ? 'fast' : 'immediate');
        restarts++;
      }
    }
    const samples: Sample[] = [];
    async function watch(): Promise<void> {
      // A slope takes some samples, also where one takes a second.
      while (performance.now() < endsAt || samples.length < 4) {
        await delay(Math.max(200, seconds * 10));
        const files = (await readdir(`/proc/${server.process.pid}/fd`)).length;
        const { heapBytes, externalBytes, resources } = await server.held();
        const atHours = performance.now() / 3_600_000;
        const sample = {
          atHours,
          residentMiB: (await server.memory()).nowMiB,
          heapMiB: heapBytes / 2 ** 20,
          heldMiB: (heapBytes + externalBytes) / 2 ** 20,
          runs: acknowledged.size,
          files,
          resources,
        };
        samples.push(sample);
        if (isLong) t.diagnostic(JSON.stringify(sample));
      }
    }
    await Promise.all([...Array.from({ length: clients }, (_, client) => attest(client)), trouble(), restartDatabase(), watch()]);

    assert.equal(server.process.exitCode, null);
    for (const id of acknowledged) {
      const { run, attestation } = await api.run.describe.query({ id });
      assert.deepEqual([run.state, attestation?.verified], ['success', true], id);
    }
    const [workflow] = (await api.workflow.list.query({})).items;
    assert.equal(workflow?.runsCount, acknowledged.size, 'one run for each attestation');
    // The first quarter fills caches and pools.
    const settled = samples.slice(Math.floor(samples.length / 4));
    const per = (field: Exclude<keyof Sample, 'atHours'>) => slopeOf(settled.map((sample) => [sample.atHours, sample[field]]));
    const grown = (field: Exclude<keyof Sample, 'atHours'>) => (per(field) * seconds * 0.75) / 3600;
    assert.ok(grown('heldMiB') < 24, `${grown('heldMiB')} MiB more are held`);
    // Whatever is kept of each of them, at ten a second, fills a server in days.
    const perRunKiB = (per('heapMiB') / per('runs')) * 1024;
    if (acknowledged.size > 1_000) assert.ok(perRunKiB < 1, `${perRunKiB} KiB of each attestation are kept`);
    assert.ok(grown('files') < 20, `${grown('files')} open files more`);
    assert.ok(grown('resources') < 20, `${grown('resources')} timers and sockets more`);
    const faults = [...faultNames].map(([name, count]) => `${count} ${name}`).join(', ');
    record(t, {
      fault: 'F12',
      what: `${seconds} s of ${clients} clients under faults at random (${kind}): ${faults}, ${restarts} restarts of the database`,
      trials: [...faultNames.values()].reduce((sum, count) => sum + count, restarts),
      sees: 'nothing, or a command to repeat',
      stored: 'one success that verifies for each attestation',
      figure: `${acknowledged.size} attestations; the server holds, after its first quarter, ${per('heldMiB').toFixed(1)} MiB (resident ${per('residentMiB').toFixed(1)} MiB), ${per('files').toFixed(1)} open files and ${per('resources').toFixed(1)} timers and sockets more each hour; ${perRunKiB.toFixed(2)} KiB of its heap more with each attestation`,
      seed,
    });
  });
}

type Sample = {
  readonly atHours: number;
  readonly residentMiB: number;
  /** After a full collection. */
  readonly heapMiB: number;
  /** After a full collection: the heap, and what lies outside of it. */
  readonly heldMiB: number;
  readonly runs: number;
  readonly files: number;
  readonly resources: number;
};

/** Of the line through the points, by least squares. */
function slopeOf(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (of: readonly number[]) => of.reduce((sum, one) => sum + one, 0) / of.length;
  const [x, y] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
  return mean(points.map(([px, py]) => (px - x) * (py - y))) / mean(points.map(([px]) => (px - x) ** 2));
}

async function untilDone(attempt: () => Promise<void>, times = 100): Promise<void> {
  try {
    await attempt();
  } catch (error) {
    const again = ['REGISTRY_UNAVAILABLE', 'RATE_LIMITED', 'CONTROL_PLANE_UNREACHABLE'];
    if (times === 1 || !isChainloopError(error) || !again.includes(error.code)) throw error;
    await untilDone(attempt, times - 1);
  }
}
