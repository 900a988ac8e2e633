import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { sql } from 'drizzle-orm';
import { type Dataset, loadDataset } from '../bench/dataset.ts';
import { tester } from '../test/databases.ts';
import { type Postgres, startPostgres } from '../test/fakes/postgres.ts';
import { needs } from '../test/needs.ts';
import { planOf } from '../test/plans.ts';
import { listAttested } from './attestations.ts';
import { listAudit } from './audit.ts';
import { connect, type Database, type OrgScope } from './client.ts';
import { listUnattested } from './collected.ts';
import { identify, listEvidenceOf, listTouching } from './discover.ts';
import { findEvidence, listUses } from './evidence.ts';
import { countRunners, countRuns } from './metrics.ts';
import { describeRun, listMaterials, listRuns } from './runs.ts';
import { listTokens } from './tokens.ts';
import { listWorkflows } from './workflows.ts';

// What a list reads, on ten thousand runs: not how long it takes, which depends on the machine. `node bench/load.ts` makes a million to try.

const limit = 50;
/** A page and the row too many, each found in an index and looked up in five tables; some plans visit an entry twice. */
const aPage = 9 * (limit + 1);
/** The workflows of the loaded organization are 194; whoever asks for a project's looks at each, and reads a page of some. */
const workflows = 3 * 200;
const ofProject = (limit + 1) ** 2 + aPage + workflows;
const large: readonly string[] = ['runs', 'run_materials', 'run_collected', 'evidence', 'audit_log'];

let loaded: Promise<{ readonly postgres: Postgres; readonly database: Database; readonly dataset: Dataset }> | undefined;
async function load() {
  const postgres = await startPostgres();
  const databaseUrl = await postgres.createDatabase();
  const dataset = await loadDataset({ databaseUrl, runs: 10_000, materials: 4, organization: 'bench' });
  return { postgres, database: await connect({ databaseUrl }), dataset };
}
after(async () => {
  const { database, postgres } = (await loaded) ?? {};
  await database?.close();
  await postgres?.[Symbol.asyncDispose]();
});

type Query = (scope: OrgScope) => Promise<unknown>;

/** The query reads no large table from end to end, and no more rows than that, with either kind of plan. */
function reads(claim: string, atMost: number, queries: (dataset: Dataset, scope: OrgScope) => Iterable<Query> | Promise<Iterable<Query>>) {
  test(claim, async (t) => {
    if (!needs(t, 'postgresql')) return;
    loaded ??= load();
    const { database, dataset } = await loaded;
    const scope = database.scope(dataset.organizationId, tester);
    for (const query of await queries(dataset, scope)) {
      for (const mode of ['generic', 'custom'] as const) {
        const { seqScans, rowsRead, text } = await planOf(scope, mode, query);
        assert.deepEqual(
          seqScans.filter((table) => large.includes(table)),
          [],
          `${query} (${mode}):\n${text}`,
        );
        assert.ok(rowsRead <= atMost, `${query} (${mode}) read ${rowsRead} rows:\n${text}`);
      }
    }
  });
}

const states = [undefined, 'success', 'failed', 'cancelled', 'expired', 'initialized'] as const;

reads(
  'a page of runs reads a page, in any state, from the first to the last',
  aPage + workflows,
  ({ large: { id: workflowId }, deepest }) =>
    states.flatMap((state): Query[] => [
      (scope) => listRuns(scope, { limit, state }),
      (scope) => listRuns(scope, { limit, state, cursor: deepest.organization }),
      (scope) => listRuns(scope, { limit, state, workflowId }),
      (scope) => listRuns(scope, { limit, state, workflowId, cursor: deepest.large }),
    ]),
);

// Of 194, which PostgreSQL would rather read to the last and sort.
reads('a page of workflows reads a page', 3 * (limit + 1), () => [(scope) => listWorkflows(scope, { limit })]);

reads('a page of the runs of a project reads pages of some of its workflows', ofProject, ({ large: { project }, rare, deepest }) =>
  [project, 'services', rare.project, 'absent'].flatMap((name) =>
    states.flatMap((state): Query[] => [
      (scope) => listRuns(scope, { limit, state, project: name }),
      (scope) => listRuns(scope, { limit, state, project: name, cursor: deepest.organization }),
    ]),
  ),
);

/** Of one place: each state with each CI system of the dataset, "none" included. */
const kinds = states.length * 4;

reads('a page of the runs of a CI system reads pages of it in some states', kinds * (limit + 4) + aPage, ({ large, rare, deepest }) =>
  (['GITHUB_ACTION', '', rare.runner, 'TEKTON_PIPELINE'] as const).flatMap((runner): Query[] => [
    (scope) => listRuns(scope, { limit, runner }),
    (scope) => listRuns(scope, { limit, runner, cursor: deepest.organization }),
    (scope) => listRuns(scope, { limit, runner, state: 'cancelled', cursor: deepest.organization }),
    (scope) => listRuns(scope, { limit, runner, workflowId: large.id }),
    (scope) => listRuns(scope, { limit, runner, state: 'failed', workflowId: large.id, cursor: deepest.large }),
  ]),
);

reads('a page by contract reads pages of some of its workflows', ofProject + workflows * kinds, ({ large, rare, deepest }) =>
  ['release', rare.contract, 'absent'].flatMap((name): Query[] => [
    (scope) => listRuns(scope, { limit, contract: { name } }),
    (scope) => listRuns(scope, { limit, contract: { name }, cursor: deepest.organization }),
    (scope) => listRuns(scope, { limit, contract: { name }, state: 'cancelled', runner: rare.runner }),
    (scope) => listRuns(scope, { limit, contract: { name }, project: rare.project }),
    (scope) => listRuns(scope, { limit, contract: { name }, workflowId: large.id, cursor: deepest.large }),
  ]),
);

reads('a page of a day reads a page, however long ago that was', aPage, ({ large }) =>
  [1, 5].flatMap((days): Query[] => {
    const [since, until] = [days + 1, days].map((ago) => new Date(Date.now() - ago * 86_400_000).toISOString());
    return [
      (scope) => listRuns(scope, { limit, since, until }),
      (scope) => listRuns(scope, { limit, until, workflowId: large.id }),
      (scope) => listRuns(scope, { limit, since, until, workflowId: large.id }),
    ];
  }),
);

reads('a page of the runs of a commit reads a page', aPage, ({ commit, popularCommit }) =>
  [commit, popularCommit, '0'.repeat(40)].flatMap((commit): Query[] => [
    (scope) => listRuns(scope, { limit, commit }),
    (scope) => listRuns(scope, { limit, commit, state: 'success' }),
  ]),
);

reads('runs of a commit that are in a workflow are looked for among those of the commit', aPage, ({ commit, large, rare }): Query[] => [
  (scope) => listRuns(scope, { limit, commit, workflowId: large.id }),
  (scope) => listRuns(scope, { limit, commit, project: rare.project, contract: { name: rare.contract }, runner: 'GITHUB_ACTION' }),
]);

reads('a digest is looked up where it is, however many runs brought it', aPage, ({ once, shared, popular, absent, bundle }) =>
  [once, shared, popular, absent, bundle].flatMap((digest): Query[] => [
    (scope) => listUses(scope, digest, { limit }),
    (scope) => listAttested(scope, digest, { limit }),
    (scope) => listTouching(scope, digest, { limit }),
    (scope) => listUnattested(scope, digest, { now: new Date(), limit: 3, among: limit }),
    (scope) => identify(scope, digest),
    (scope) => findEvidence(scope, [digest]),
  ]),
);

reads('the evidence of a page of runs is read from their own rows', aPage, async (dataset, scope) => {
  const ids = (await listRuns(scope, { limit, state: 'success' })).items.map(({ id }) => id);
  return [dataset.once, undefined].map(
    (digest): Query =>
      (own) =>
        listEvidenceOf(own, ids, { digest, most: 20, textLength: 256 }),
  );
});

reads('a run is described from its own rows', 40, async (_, scope) => {
  const [run] = (await listRuns(scope, { limit: 1, state: 'success' })).items;
  assert.ok(run);
  return [(own) => describeRun(own, run.id), (own) => listMaterials(own, run.id)];
});

reads('a page of workflows reads a page, and none of their runs', aPage, async (_, scope) => {
  await scope.run(async (tx) => {
    const { rows } = await tx.execute<{ id: string }>(
      sql`insert into projects (org_id, name) values (${scope.organizationId}, 'crowd') returning id`,
    );
    await tx.execute(sql`insert into workflows (org_id, project_id, contract_id, name)
      select org_id, ${rows[0]?.id}::uuid, contract_id, 'crowd-' || i from (select * from workflows limit 1) one, generate_series(1, 3000) i`);
  });
  return [(own) => listWorkflows(own, { limit }), (own) => listTokens(own, 'api', { limit })];
});

reads('a page of the audit log reads a page, whoever did what to what, and however long ago', aPage, async ({ organizationId }, scope) => {
  await scope.run(async (tx) => {
    // The owner of the tables may: nothing is asked of the chain here.
    await tx.execute(sql`reset role`);
    await tx.execute(sql`insert into audit_log (org_id, sequence, at, actor_kind, actor_id, actor_name, action, resource_kind, resource_name, details, previous, hash)
      select ${organizationId}::uuid, 10000 + i, now() - (30000 - i) * interval '1 minute', 'service-account', i, case when i % 5000 = 1 then 'rare' else 'ci-' || i % 3 end,
        case when i % 2 = 0 then 'run.init' when i % 5000 = 3 then 'key.trust' else 'run.push' end, 'run', 'run-' || i / 2, '{}', sha256('a'), sha256('b')
      from generate_series(1, 30000) i`);
    await tx.execute(sql`analyze audit_log`);
  });
  const since = new Date(Date.now() - 10 * 86_400_000).toISOString();
  const until = new Date(Date.now() - 9 * 86_400_000).toISOString();
  return [
    {},
    { cursor: '12000' },
    { since, until },
    { until },
    ...['ci-1', 'rare', 'absent'].flatMap((actor) => [{ actor }, { actor, since }, { actor, cursor: '12000' }]),
    ...['run.push', 'key.trust', 'absent'].flatMap((action) => [{ action }, { action, until }]),
    ...['run-7', 'run-absent', '01a20aca-3ef4-745a-b4e0-3bf76f6c769e'].flatMap((resource) => [
      { resource },
      { resource, action: 'run.push' },
      { resource, actor: 'ci-1' },
    ]),
    { actor: 'ci-1', action: 'run.push' },
  ].map((filter): Query => {
    const query: Query = (own) => listAudit(own, { limit, ...filter });
    return Object.assign(query, { toString: () => `listAudit ${JSON.stringify(filter)}` });
  });
});

test('a scrape counts no runs', async (t) => {
  if (!needs(t, 'postgresql')) return;
  loaded ??= load();
  const { database, dataset } = await loaded;
  const scope = database.scope(dataset.organizationId, tester);
  for (const query of [countRuns, countRunners]) {
    const { text } = await planOf(scope, 'custom', (own) => query({ system: true, ...own }, 10_000));
    assert.doesNotMatch(text, / runs /);
  }
});

test('the loaded counters are as the rows', async (t) => {
  if (!needs(t, 'postgresql')) return;
  loaded ??= load();
  const { database, dataset } = await loaded;
  const counts = await countRuns(database.system, 10_000);
  const sum = (of: (row: (typeof counts)[number]) => number): number => counts.reduce((total, row) => total + of(row), 0);
  assert.equal(
    sum(({ initialized, success, failed, cancelled, expired }) => initialized + success + failed + cancelled + expired),
    dataset.runs,
  );
  const scope = database.scope(dataset.organizationId, tester);
  let cancelled = 0;
  let cursor: string | undefined;
  do {
    const page = await listRuns(scope, { limit: 100, state: 'cancelled', cursor });
    cancelled += page.items.length;
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  const own = counts.filter(({ organization }) => organization === dataset.organization);
  assert.equal(
    cancelled,
    own.reduce((total, row) => total + row.cancelled, 0),
  );
  assert.ok(cancelled > 0);
});
