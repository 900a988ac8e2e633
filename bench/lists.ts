import { sql } from 'drizzle-orm';
import pg from 'pg';
import { connect, type OrgScope } from '../db/client.ts';
import { listUses } from '../db/evidence.ts';
import { describeRun, listMaterials, listRuns } from '../db/runs.ts';
import { listWorkflows } from '../db/workflows.ts';
import { startPostgres } from '../test/fakes/postgres.ts';
import { type Context, type Group, missing, part } from './context.ts';
import { type Dataset, loadDataset } from './dataset.ts';
import { load, pairs, percentile, times } from './measure.ts';
import { apart } from './processors.ts';
import { compared, type Row } from './report.ts';

const pageSize = 50;
const clients = 8;

type Loaded = {
  readonly context: Context;
  readonly scope: OrgScope;
  readonly databaseUrl: string;
  readonly adminUrl: string;
  readonly dataset: Dataset;
};

/** G11 to G13: what an operator asks for, when there is much of it. */
export const lists: Group = async function* (context) {
  const absent = missing('postgresql');
  if (absent.length > 0) return yield { type: 'skipped', name: 'G11 to G13', missing: absent };
  await using postgres = await startPostgres();
  const { adminUrl } = postgres;
  const databaseUrl = await postgres.createDatabase();
  await using database = await connect({ databaseUrl });
  const size = context.quick ? { runs: 50_000, materials: 4 } : { runs: 1_000_000, materials: 10 };
  const dataset = await loadDataset({ databaseUrl, organization: 'bench', ...size });
  const loaded = {
    context,
    scope: database.scope(dataset.organizationId, { kind: 'system', id: null, name: 'bench' }),
    databaseUrl,
    adminUrl,
    dataset,
  };
  yield* part('G11', runPages(loaded));
  yield* part('G12', workflowPages(loaded));
  yield* part('G13', uses(loaded));
};

async function* runPages({ context, scope, databaseUrl, adminUrl, dataset }: Loaded): AsyncGenerator<Row> {
  using _ = await apart(adminUrl);
  await using admin = await plain(databaseUrl);
  const workflowId = dataset.large.id;
  const newest = p50(context, () => listRuns(scope, { workflowId, limit: pageSize }));
  const oldest = p50(context, () => listRuns(scope, { workflowId, limit: pageSize, cursor: dataset.deepest.large }));
  const size = `${count(dataset.large.runs)} of ${count(dataset.runs)} runs`;
  const { long } = context.runs;
  const goal = { of: 'ratio', atMost: 3 } as const;
  const rest = { unit: 'ms', reference: 'select 1', goal } as const;
  yield compared(`G11 newest ${pageSize} of a workflow's ${size}`, await pairs(long, newest, p50(context, admin.selectOne)), rest);
  yield compared(
    `G11 newest ${pageSize}, beside the least that the store can ask`,
    await pairs(long, newest, p50(context, least(scope))),
    inTheStore(goal),
  );
  yield compared(`G11 oldest ${pageSize} of them`, await pairs(long, oldest, p50(context, admin.selectOne)), rest);
  yield compared(
    `G11 oldest ${pageSize}, beside the least that the store can ask`,
    await pairs(long, oldest, p50(context, least(scope))),
    inTheStore(goal),
  );
  yield compared('G11 the oldest beside the newest', await pairs(long, oldest, newest), {
    unit: 'ms',
    reference: 'newest',
    goal: { of: 'ratio', atMost: 1.2 },
  });
  const whole = p50(context, () => listRuns(scope, { limit: pageSize, cursor: dataset.deepest.organization }));
  yield compared(`G11 oldest ${pageSize} of the organization`, await pairs(long, whole, p50(context, admin.selectOne)), rest);
  const { items } = await listRuns(scope, { workflowId, state: 'success', limit: 1 });
  const id = items[0]?.id ?? '';
  const describe = p50(context, () => Promise.all([describeRun(scope, id), listMaterials(scope, id)]));
  yield compared('run describe, with its materials', await pairs(long, describe, p50(context, admin.selectOne)), {
    unit: 'ms',
    reference: 'select 1',
  });
}

async function* workflowPages({ context, scope, databaseUrl, adminUrl, dataset }: Loaded): AsyncGenerator<Row> {
  using _ = await apart(adminUrl);
  await using admin = await plain(databaseUrl);
  const counted = `select w.id, w.name, w.runs_count, count(r.id)::int as runs from workflows w left join runs r on r.workflow_id = w.id
    where w.org_id = $1 group by w.id`;
  const counting = async () => (await admin.client.query({ name: 'count', text: counted, values: [scope.organizationId] })).rows;
  const wrong = (await counting()).filter(({ runs, runs_count }) => runs !== runs_count);
  if (wrong.length > 0) throw new Error(`the counters of ${wrong.length} workflows are not what count(*) says`);
  const listing = p50(context, () => listWorkflows(scope, { limit: pageSize }));
  const name = `G12 workflow ls, ${count(dataset.runs)} runs (the counters are what count(*) says)`;
  const { long } = context.runs;
  yield compared(name, await pairs(long, listing, p50(context, counting, 3)), {
    ...{ unit: 'ms', reference: 'count(*)' },
    goal: { of: 'ratio', atMost: 1 / 200 },
  });
  yield compared('G12 workflow ls, beside nothing at all', await pairs(long, listing, p50(context, admin.selectOne)), {
    unit: 'ms',
    reference: 'select 1',
  });
}

async function* uses({ context, scope, databaseUrl, adminUrl, dataset }: Loaded): AsyncGenerator<Row> {
  const { long } = context.runs;
  {
    using _ = await apart(adminUrl);
    await using admin = await plain(databaseUrl);
    for (const [which, digest] of [
      ['one run', dataset.once],
      ['none', dataset.absent],
      ['many runs', dataset.popular],
    ] as const) {
      const ours = p50(context, () => listUses(scope, digest, { limit: pageSize }));
      const name = `G13 who used this digest, of ${count(dataset.materials)} materials: ${which}`;
      yield compared(name, await pairs(long, ours, p50(context, admin.selectOne)), {
        ...{ unit: 'ms', reference: 'select 1' },
        goal: which === 'many runs' ? undefined : { of: 'ratio', atMost: 1.5 },
      });
    }
    const one = p50(context, () => listUses(scope, dataset.once, { limit: pageSize }));
    const goal = { of: 'ratio', atMost: 1.5 } as const;
    yield compared(
      'G13 one run, beside the least that the store can ask',
      await pairs(long, one, p50(context, least(scope))),
      inTheStore(goal),
    );
  }
  const connections = await Promise.all(Array.from({ length: clients }, () => plain(databaseUrl)));
  const seconds = context.quick ? 1 : 3;
  const rate = (call: (client: number) => Promise<unknown>) => async () => (await load(clients, seconds, call)).perSecond;
  try {
    const ours = rate(() => listUses(scope, dataset.once, { limit: pageSize }));
    const goal = { of: 'ratio', atLeast: 0.4 } as const;
    const measured = await pairs(
      long,
      ours,
      rate(async (client) => connections[client]?.selectOne()),
    );
    yield compared(`G13 the same by ${clients} at once`, measured, { unit: '/s', reference: 'select 1', goal });
    yield compared(`G13 by ${clients} at once, beside the least that the store can ask`, await pairs(long, ours, rate(least(scope))), {
      ...{ unit: '/s', reference: 'role, select 1' },
      goal,
    });
  } finally {
    for (const connection of connections) await connection[Symbol.asyncDispose]();
  }
}

/** Half of the calls take no longer, in ms. */
function p50({ quick }: Context, call: () => Promise<unknown>, calls = quick ? 30 : 1000) {
  return async (): Promise<number> => percentile(await times(calls, call), 0.5);
}

/** `select 1` as the store asks everything: on a connection of its pool, in a transaction, in the role and the organization of a request. */
function least(scope: OrgScope) {
  return () => scope.rows(sql`select 1`);
}

/** How a list compares with that. */
function inTheStore(goal: { readonly of: 'ratio'; readonly atMost: number }) {
  return { unit: 'ms', reference: 'role, select 1', goal } as const;
}

/** A connection past the store. */
async function plain(databaseUrl: string) {
  const url = new URL(databaseUrl);
  url.username = 'postgres';
  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  return {
    client,
    selectOne: () => client.query({ name: 'one', text: 'select 1' }),
    [Symbol.asyncDispose]: () => client.end(),
  };
}

function count(value: number): string {
  return value.toLocaleString('en');
}
