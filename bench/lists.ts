import pg from 'pg';
import { parseDigest } from '../core/digest.ts';
import { connect, type OrgScope } from '../db/client.ts';
import { listUses } from '../db/evidence.ts';
import { createOrganization } from '../db/organizations.ts';
import { listRuns } from '../db/runs.ts';
import { createWorkflow, listWorkflows } from '../db/workflows.ts';
import { startPostgres } from '../test/fakes/postgres.ts';
import { type Group, missing } from './context.ts';
import { contractContent } from './contract-content.ts';
import { pairs, percentile, times } from './measure.ts';
import { compared } from './report.ts';

const runCount = 500_000;
const workflowCount = 20;
const pageSize = 50;

/** G11 to G13: what an operator asks for, when there is much of it. */
export const lists: Group = async function* ({ quick, runs }) {
  const absent = missing('postgresql');
  if (absent.length > 0) return yield { type: 'skipped', name: 'G11 to G13', missing: absent };
  await using postgres = await startPostgres();
  const databaseUrl = await postgres.createDatabase();
  await using database = await connect({ databaseUrl });
  const backend = { name: 'default', provider: 'layout', location: 'bench' } as const;
  const { id } = await createOrganization(database.system, { name: 'bench', backend });
  const scope = database.scope(id);
  for (let index = 0; index < workflowCount; index++) {
    await createWorkflow(scope, { name: `w${index}`, project: 'bench', team: '', contract: { name: 'bench', content: contractContent } });
  }
  const materialsPerRun = quick ? 2 : 20;
  const admin = await asAdmin(databaseUrl);
  const { deepest, digest } = await fill(admin, scope, materialsPerRun);
  const selectOne = () => admin.query({ name: 'one', text: 'select 1' });
  const calls = quick ? 100 : 300;
  const p50 = (call: () => Promise<unknown>, count = calls) => {
    return async (): Promise<number> => percentile(await times(count, call), 0.5);
  };

  const firstPage = () => listRuns(scope, { limit: pageSize });
  const deepestPage = () => listRuns(scope, { limit: pageSize, cursor: deepest });
  const size = `${runCount.toLocaleString('en')} runs`;
  const toSelectOne = { unit: 'ms', reference: 'select 1' } as const;
  yield compared(`G11 newest ${pageSize} of ${size}`, await pairs(runs.long, p50(firstPage), p50(selectOne)), {
    ...toSelectOne,
    goal: { of: 'ratio', atMost: 3 },
  });
  yield compared(`G11 oldest ${pageSize} of ${size}`, await pairs(runs.long, p50(deepestPage), p50(selectOne)), {
    ...toSelectOne,
    goal: { of: 'ratio', atMost: 3 },
  });
  yield compared('G11 the oldest beside the newest', await pairs(runs.long, p50(deepestPage), p50(firstPage)), {
    unit: 'ms',
    reference: 'newest',
    goal: { of: 'ratio', atMost: 1.2 },
  });

  const counting = () =>
    admin.query({
      name: 'count',
      text: 'select w.id, w.name, count(r.id) from workflows w left join runs r on r.workflow_id = w.id where w.org_id = $1 group by w.id',
      values: [id],
    });
  yield compared(
    `G12 workflow ls, ${workflowCount} workflows, ${size}`,
    await pairs(
      runs.long,
      p50(() => listWorkflows(scope, { limit: pageSize })),
      p50(counting, 5),
    ),
    { unit: 'ms', reference: 'count(*)', goal: { of: 'ratio', atMost: 1 / 200 } },
  );

  const uses = () => listUses(scope, digest, { limit: pageSize });
  yield compared(
    `G13 who used this digest, of ${(runCount * materialsPerRun).toLocaleString('en')} materials`,
    await pairs(runs.long, p50(uses), p50(selectOne)),
    { ...toSelectOne, goal: { of: 'ratio', atMost: 1.5 } },
  );
  await admin.end();
};

async function asAdmin(databaseUrl: string): Promise<pg.Client> {
  const url = new URL(databaseUrl);
  url.username = 'postgres';
  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  return client;
}

/** Runs that were pushed, a second apart, with their materials: loaded past the triggers. The cursor of the last page, and one digest. */
async function fill(admin: pg.Client, { organizationId }: OrgScope, materialsPerRun: number) {
  const query = (text: string, ...values: readonly unknown[]) => admin.query<Record<string, string>>(text, [...values]);
  await query('set session_replication_role = replica');
  await query(
    `insert into runs (org_id, workflow_id, contract_revision_id, state, idempotency_key, runner_type, created_at, expires_at, finished_at,
      bundle_digest, bundle_size_bytes, statement_digest, predicate_type, signer)
    select $1::uuid, w.ids[1 + i % ${workflowCount}], r.id, 'success', 'key-' || lpad(i::text, 12, '0'), 'GITHUB_ACTION', at, at + interval '1 day', at,
      sha256(i::text::bytea), 20000, sha256(i::text::bytea), 'chainloop.dev/attestation/v0.2', 'release'
    from generate_series(1, ${runCount}) i,
      lateral (select timestamptz '2026-01-01' + i * interval '1 second') as t(at),
      (select array_agg(id) from workflows where org_id = $1) as w(ids),
      (select id from contract_revisions where org_id = $1 limit 1) as r(id)`,
    organizationId,
  );
  await query(
    `insert into run_materials (org_id, run_id, name, type, digest, file_name, size_bytes, uploaded, annotations)
    select r.org_id, r.id, 'm' || k, 'ARTIFACT', sha256((r.idempotency_key || k)::bytea), 'm' || k || '.tar', 1000, true, '{}'
    from runs r, generate_series(1, ${materialsPerRun}) k`,
  );
  await query(
    `update workflows w set runs_count = n, runs_success = n
    from (select workflow_id, count(*)::int as n from runs group by workflow_id) c where c.workflow_id = w.id`,
  );
  await query('set session_replication_role = origin');
  for (const table of ['runs', 'run_materials', 'workflows']) await query(`vacuum analyze ${table}`);
  const last = await query('select created_at::text as at, id from runs order by created_at, id offset $1 limit 1', pageSize);
  const some = await query("select encode(digest, 'hex') as hex from run_materials limit 1");
  const { at = '', id = '' } = last.rows[0] ?? {};
  return {
    deepest: Buffer.from(JSON.stringify([at, id])).toString('base64url'),
    digest: parseDigest(`sha256:${some.rows[0]?.hex ?? ''}`),
  };
}
