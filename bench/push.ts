import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { Agent } from 'node:http';
import { join } from 'node:path';
import * as z from 'zod';
import { createApi } from '../client/api.ts';
import type { CraftedMaterial } from '../core/crafting.ts';
import { digestOf } from '../core/digest.ts';
import type { InitAnswer } from '../core/ports.ts';
import { connect, type Database } from '../db/client.ts';
import { createOrganization } from '../db/organizations.ts';
import { type Attested, type NewRun, openRun, pushRun } from '../db/run-states.ts';
import { flush } from '../db/statement.ts';
import { createWorkflow } from '../db/workflows.ts';
import { type InstalledServer, startInstalledServer } from '../test/fakes/installed-server.ts';
import { startJob, text } from '../test/fakes/job.ts';
import { startPostgres } from '../test/fakes/postgres.ts';
import { type Context, type Group, missing, openPostgres, part, pgbench, unlimited } from './context.ts';
import { contractContent } from './contract-content.ts';
import { load, pairs, spread } from './measure.ts';
import { post } from './post.ts';
import { compared, type Row } from './report.ts';
import { inlined, recorded } from './statements.ts';

const clientCounts = [1, 8, 32] as const;
const goals: Readonly<Record<number, number>> = { 1: 0.55, 8: 0.5, 32: 0.6 };
const workflowCount = 100;
const runner = { type: 'GITHUB_ACTION', url: 'https://ci.example.com/runs/1', authenticated: false } as const;

/** G10: runs opened and pushed per second, at the level of db/, and over HTTP with signatures and storage. */
export const push: Group = async function* (context) {
  await using postgres = await openPostgres();
  if (postgres === undefined) yield { type: 'skipped', name: 'G10 on PostgreSQL', missing: missing('postgresql') };
  else {
    yield* part('G10', store(context, await postgres.createDatabase(), 'disk'));
    await using unsynced = await startPostgres();
    yield* part('G10 without fsync', store(context, await unsynced.createDatabase(), 'no fsync'));
  }
  yield* part('PGlite', storeAlone(context));
  for (const database of ['PostgreSQL', 'PGlite'] as const) {
    if (database === 'PostgreSQL' && postgres === undefined) continue;
    const databaseUrl = database === 'PGlite' ? undefined : await postgres?.createDatabase();
    await using server = await startInstalledServer({ bin: context.installed.bin, databaseUrl, args: unlimited });
    yield* part(`over HTTP, ${database}`, overHttp(context, server, database));
  }
};

/** The functions of db/ beside pgbench, which sends the same SQL: the fastest that PostgreSQL can be asked. */
async function* store({ home, quick, runs }: Context, databaseUrl: string, where: string): AsyncGenerator<Row> {
  await using database = await connect({ databaseUrl });
  const { organizationId, workflowIds, once } = await filled(database);
  const seconds = quick ? 2 : 3;
  const program = pgbench();
  if (program === undefined) {
    yield { type: 'skipped', name: 'G10 beside pgbench', missing: ['pgbench'] };
    return;
  }
  const script = join(home, `push-${where.replace(' ', '-')}.sql`);
  await writeFile(script, await pushScript(organizationId, workflowIds));
  for (const clients of clientCounts) {
    const reference = async (): Promise<number> => {
      const options = ['-n', '-M', 'prepared', '-c', String(clients), '-j', '1', '-T', String(seconds), '-f', script];
      const { stdout, stderr, status } = spawnSync(program, [...options, databaseUrl], { encoding: 'utf8' });
      const tps = /tps = ([\d.]+)/.exec(stdout)?.[1];
      if (status !== 0 || tps === undefined) throw new Error(`pgbench failed: ${stderr.slice(0, 2000)}`);
      return Number(tps);
    };
    const measured = await pairs(runs.long, async () => (await load(clients, seconds, once)).perSecond, reference);
    yield compared(`G10 open and push a run, db/, ${where}, ${clients} clients`, measured, {
      unit: '/s',
      reference: 'pgbench',
      goal: { of: 'ratio', atLeast: goals[clients] ?? 0 },
    });
  }
}

/** The same on the embedded database, which has one connection. */
async function* storeAlone({ quick, home }: Context): AsyncGenerator<Row> {
  await using database = await connect({ dataDir: join(home, 'pglite') });
  const { once } = await filled(database);
  for (const clients of clientCounts) {
    const { perSecond } = await load(clients, quick ? 2 : 4, once);
    yield {
      type: 'measured',
      name: `open and push a run, db/ on PGlite, ${clients} clients`,
      ours: { ...spread([perSecond]), unit: '/s' },
    };
  }
}

/** An organization with workflows, and what opens and pushes one run of them. */
async function filled(database: Database) {
  const backend = { name: 'default', provider: 'layout', location: 'bench' } as const;
  const { id: organizationId } = await createOrganization(database.system, { name: 'bench', backend });
  const scope = database.scope(organizationId, { kind: 'system', id: null, name: 'bench' });
  const workflowIds: string[] = [];
  for (let index = 0; index < workflowCount; index++) {
    const workflow = { name: `w${index}`, project: 'bench', team: '', contract: { name: 'bench', content: contractContent } };
    workflowIds.push((await createWorkflow(scope, workflow)).id);
  }
  let turn = 0;
  const once = async (): Promise<void> => {
    const { id } = await openRun(scope, newRun(workflowIds[turn++ % workflowCount] ?? ''));
    const outcome = await pushRun(scope, id, attested, new Date());
    if (outcome.type !== 'accepted') throw new Error(`the push was not accepted: ${outcome.type}`);
  };
  return { organizationId, workflowIds, once };
}

function newRun(workflowId: string): NewRun {
  return { workflowId, runner, idempotencyKey: randomUUID(), expiresAt: new Date('2099-01-01') };
}

const attested: Attested = {
  bundleDigest: digestOf('bundle'),
  bundleSizeBytes: 20_000,
  statementDigest: digestOf('statement'),
  predicateType: 'chainloop.dev/attestation/v0.2',
  signer: 'release',
  collected: false,
  effects: [],
  materials: Array.from({ length: 10 }, (_, index) => ({
    name: `material-${index}`,
    type: 'ARTIFACT',
    digest: digestOf(String(index)),
    fileName: `material-${index}.tar`,
    sizeBytes: 1_000_000,
    uploaded: true,
    annotations: {},
  })),
};

/** Both transactions of `once` for pgbench, each in one pipeline. The run is found by its key, since a pipeline gives nothing back. */
async function pushScript(organizationId: string, workflowIds: readonly string[]): Promise<string> {
  const [workflowId, key, id] = [randomUUID(), randomUUID(), randomUUID()];
  const chosen = `('{${workflowIds.join(',')}}'::uuid[])[:workflow]`;
  const runId = `(select id from runs where workflow_id = ${chosen} and idempotency_key = :key::text)`;
  const instead = new Map([
    [workflowId, chosen],
    [key, ':key::text'],
    [id, runId],
  ]);
  const opening = await recorded(organizationId, (scope) => openRun(scope, { ...newRun(workflowId), idempotencyKey: key }));
  const pushing = await recorded(organizationId, (scope) => pushRun(scope, id, attested, new Date()));
  const transaction = (statements: readonly string[]): string =>
    [
      '\\startpipeline',
      'begin;',
      'set local role chainloop_app;',
      `set local app.organization = '${organizationId}';`,
      `set local app.actor = '{"kind":"system","name":"bench"}';`,
      "set local app.flushes = 'yes';",
      ...statements.map((statement) => `${statement.replaceAll(/\s+/g, ' ')};`),
      'commit;',
      `${flush.text};`,
      '\\endpipeline',
      '',
    ].join('\n');
  return [
    `\\set workflow random(1, ${workflowIds.length})`,
    '\\set key random(1000000000000000, 9000000000000000)',
    transaction(opening.map((statement) => inlined(statement, instead))),
    // The first is the push; what follows asks why it failed.
    transaction(pushing.slice(0, 1).map((statement) => inlined(statement, instead))),
  ].join('\n');
}

const Opened = z.object({ result: z.object({ data: z.custom<InitAnswer>((value) => typeof value === 'object') }) });

/** attestation.init, a statement of 20 KB with a real signature, and attestation.push, which stores the bundle. */
async function* overHttp({ quick }: Context, server: InstalledServer, database: string): AsyncGenerator<Row> {
  const contract = join(import.meta.dirname, 'contract.yaml');
  await server.cli(['workflow', 'contract', 'create', '--name', 'release', '-f', contract]);
  await server.cli(['workflow', 'create', '--name', 'release', '--project', 'bench', '--contract', 'release']);
  const account = ['service-account', 'create', '--workflow', 'release', '--project', 'bench', '--name', 'ci', '--output', 'json'];
  const { token } = z.object({ token: z.string() }).parse(JSON.parse((await server.cli(account)).stdout));
  const operator = createApi({ url: server.url, token: server.env.CHAINLOOP_TOKEN ?? '', organization: 'acme' });
  const job = await startJob({ url: server.url, organization: 'acme', token, trustedBy: operator });
  const texts: CraftedMaterial[] = Array.from({ length: 9 }, (_, index) => text(`m${index}`, 'x'.repeat(1_400)));
  const materials = [...texts, await job.upload('m9', 'an artifact')];
  const start = { runner: { authenticated: false }, env: {}, annotations: {} };
  const headers = { authorization: `Bearer ${token}` };
  let bundleSizeBytes = 0;
  for (const clients of clientCounts) {
    const agent = new Agent({ keepAlive: true, maxSockets: clients });
    const call = async (procedure: string, input: unknown): Promise<string> => {
      const { status, body } = await post(agent, `${server.url}/trpc/attestation.${procedure}`, headers, JSON.stringify(input));
      if (status !== 200) throw new Error(`attestation.${procedure} answered ${status}: ${body}`);
      return body;
    };
    const { perSecond, p50Ms, p99Ms } = await load(clients, quick ? 3 : 10, async () => {
      const input = { runner: { authenticated: false }, idempotencyKey: randomUUID() };
      const run = Opened.parse(JSON.parse(await call('init', input))).result.data;
      const bundle = await job.bundle(run, materials, { start });
      bundleSizeBytes = bundle.length;
      await call('push', { runId: run.runId, bundle });
    });
    agent.destroy();
    const ms = (value: number): string => (value < 10 ? value.toFixed(1) : value.toFixed(0));
    yield {
      type: 'measured',
      name: `init and push over HTTP, ${database}, ${clients} clients`,
      ours: { ...spread([perSecond]), unit: '/s' },
      note: `${Math.round(bundleSizeBytes / 1000)} KB bundles; p50 ${ms(p50Ms)} ms, p99 ${ms(p99Ms)} ms`,
    };
  }
}
