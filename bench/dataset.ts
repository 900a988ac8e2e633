import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { type Digest, digestOf, parseDigest } from '../core/digest.ts';
import type { RunnerType } from '../core/names.ts';
import { connect, type Database } from '../db/client.ts';
import { createOrganization } from '../db/organizations.ts';
import { createWorkflow } from '../db/workflows.ts';
import { contractContent } from './contract-content.ts';

/** What was loaded, and where to look for it. */
export type Dataset = {
  readonly organizationId: string;
  readonly organization: string;
  /** Rows, of all organizations together. */
  readonly runs: number;
  readonly materials: number;
  readonly seconds: number;
  /** The workflow with half of all runs. */
  readonly large: { readonly id: string; readonly name: string; readonly project: string; readonly runs: number };
  /** A project, its contract and its CI system, whose few runs are among the oldest. */
  readonly rare: { readonly project: string; readonly contract: string; readonly runner: RunnerType };
  /** Brought by one run, by some thousand, by a tenth of all, and by none. */
  readonly once: Digest;
  readonly shared: Digest;
  readonly popular: Digest;
  readonly absent: Digest;
  /** Of a few runs, and of a tenth of all. */
  readonly commit: string;
  readonly popularCommit: string;
  /** Of one run. */
  readonly bundle: Digest;
  /** Cursors of the last page of 50. */
  readonly deepest: { readonly organization: string; readonly large: string };
};

export type DatasetOptions = {
  /** Of the owner of the database, or of a superuser. */
  readonly databaseUrl: string;
  readonly runs: number;
  /** For each run, on average, at least 4: only those that succeeded have any. */
  readonly materials: number;
  readonly organization: string;
  readonly onProgress?: ((line: string) => void) | undefined;
};

/** Those that are filled or read here. */
const tables = [
  'runs',
  'run_materials',
  'run_collected',
  'evidence',
  'workflows',
  'runner_counts',
  'contract_revisions',
  'contracts',
  'projects',
  'cas_backends',
];

/** Of a tenth of all runs, as where a schedule builds a branch that nobody works on. The others have one for three runs. */
const popular = "'c0ffee00' || md5('popular')";

/** Of a thousand runs. `cancelled` is left to the oldest tenth: a state that is rare, and long ago. */
const successes = 910;
const services = 190;

/**
 * Fills a database with runs, a minute apart until now, of three organizations, with their materials, evidence and counters. The rows
 * keep every constraint, and the counters are as the rows. It is one transaction: whatever stops it leaves organizations without runs.
 */
export async function loadDataset(options: DatasetOptions): Promise<Dataset> {
  const startedAt = performance.now();
  const { runs, organization, onProgress = () => {} } = options;
  await using database = await connect({ databaseUrl: options.databaseUrl });
  onProgress('making organizations and workflows');
  const organizationId = await newOrganization(database, organization, [
    { project: 'monorepo', names: ['release'] },
    { project: 'services', names: Array.from({ length: services }, (_, index) => `service-${index}`) },
    { project: 'attic', names: ['old-one', 'old-two', 'old-three'] },
  ]);
  const others = [
    await newOrganization(database, `${organization}-second`, [{ project: 'app', names: ['build', 'deploy'] }]),
    await newOrganization(database, `${organization}-third`, [{ project: 'app', names: ['build', 'deploy'] }]),
  ];
  const organizations = [organizationId, ...others];
  const client = new pg.Client({ connectionString: options.databaseUrl, statement_timeout: 0 });
  await client.connect();
  try {
    await client.query('begin');
    // The owner of tables is under their row-level security too, and loads into several organizations. Triggers: runs begin as `initialized`, and
    // these have ended; and nobody did this, so the audit log says nothing of it.
    for (const table of tables) await client.query(`alter table ${table} no force row level security, disable trigger user`);
    await client.query("set local maintenance_work_mem = '512MB'");
    onProgress(`loading ${runs.toLocaleString('en')} runs`);
    const restoreRuns = await bare(client, ['runs']);
    const loadedRuns = await loadRuns(client, runs, organizations);
    await restoreRuns();
    const perSuccess = Math.ceil((options.materials * 1000) / successes);
    const restore = await bare(client, ['run_materials', 'run_collected', 'evidence']);
    onProgress(`loading ${perSuccess} materials of each run that succeeded`);
    const loadedMaterials = await loadMaterials(client, perSuccess, organizations);
    onProgress('building indexes, checking constraints');
    await restore();
    await count(client, organizations);
    const places = await describe(client, organizationId);
    for (const table of tables) await client.query(`alter table ${table} force row level security, enable trigger user`);
    await client.query('commit');
    onProgress('vacuum analyze');
    await client.query('vacuum (analyze) runs, run_materials, run_collected, evidence, workflows, runner_counts');
    const seconds = Math.round((performance.now() - startedAt) / 1000);
    return { organizationId, organization, runs: loadedRuns, materials: loadedMaterials, seconds, ...places };
  } finally {
    await client.end();
  }
}

async function newOrganization(
  database: Database,
  name: string,
  projects: readonly { readonly project: string; readonly names: readonly string[] }[],
): Promise<string> {
  const { id } = await createOrganization(database.system, { name, backend: { name: 'default', provider: 'layout', location: name } });
  const scope = database.scope(id, { kind: 'system', id: null, name: 'bench' });
  for (const { project, names } of projects) {
    for (const workflow of names) {
      await createWorkflow(scope, {
        name: workflow,
        project,
        team: '',
        contract: { name: project === 'attic' ? 'attic' : 'release', content: contractContent },
      });
    }
  }
  return id;
}

/**
 * Every second run is of the large workflow, every twentieth of another organization; the attic had its own in the beginning. A run is a
 * success, failed or expired at any time, cancelled only long ago, and open when it is one of the last.
 */
async function loadRuns(client: pg.Client, runs: number, organizations: readonly string[]): Promise<number> {
  const { rowCount } = await client.query(
    `with places as (
      select w.org_id, w.id, p.name as project, c.id as revision_id,
        row_number() over (partition by w.org_id = ($2::uuid[])[1], p.name order by w.name) - 1 as turn,
        count(*) over (partition by w.org_id = ($2::uuid[])[1], p.name) as places
      from workflows w join projects p on p.id = w.project_id join contract_revisions c on c.contract_id = w.contract_id
      where w.org_id = any($2)
    ), plan as materialized (
      select i, case when i % 20 = 19 then 'app' when i % 100 = 1 and i < $1::int / 50 then 'attic' when i % 2 = 0 then 'monorepo' else 'services' end as project,
        case when i > $1::int - 100 then 'initialized' when i % 1000 < ${successes} then 'success' when i % 1000 < 980 then 'failed'
          when i % 1000 < 985 and i < $1::int / 10 then 'cancelled' else 'expired' end as state,
        case when i % 100 = 1 and i < $1::int / 50 then 'JENKINS_JOB' when i % 10 < 6 then 'GITHUB_ACTION' when i % 10 < 9 then 'GITLAB_PIPELINE' end as runner,
        now() - ($1::int - i) * interval '1 minute' as at
      from generate_series(1, $1::int) i
    )
    insert into runs (org_id, workflow_id, contract_revision_id, state, idempotency_key, runner_type, runner_url, created_at, expires_at,
      finished_at, reason, head_commit, bundle_digest, bundle_size_bytes, statement_digest, predicate_type, signer)
    select org_id, places.id, revision_id, state, $3 || lpad(i::text, 12, '0'), runner,
      case when runner is not null then 'https://ci.example.com/runs/' || i end, at, at + interval '1 day',
      case state when 'initialized' then null when 'expired' then at + interval '1 day' else at + interval '5 minutes' end,
      case when state in ('failed', 'cancelled') then 'the job ended' end,
      case when state = 'success' then case when i % 10 = 3 then ${popular} else 'c0ffee00' || md5((i / 3)::text) end end,
      bundle, case when bundle is not null then 20000 end, statement,
      case when bundle is not null then 'chainloop.dev/attestation/v0.2' end, case when bundle is not null then 'release' end
    from plan join places on places.project = plan.project and places.turn = i / 20 % places.places,
      lateral (select case when state = 'success' then sha256(('bundle ' || i)::bytea) end as bundle,
        case when state = 'success' then sha256(('statement ' || i)::bytea) end as statement) digests
    order by i`,
    [runs, organizations, `load-${randomBytes(8).toString('hex')}-`],
  );
  return rowCount ?? 0;
}

/** Of the materials of a run one is a text, one as in a tenth of all runs, one as in a thousand, the rest its own; three are in storage. */
async function loadMaterials(client: pg.Client, perSuccess: number, organizations: readonly string[]): Promise<number> {
  const { rowCount } = await client.query(
    `insert into run_materials (org_id, run_id, name, type, digest, value, file_name, size_bytes, uploaded, annotations)
    select org_id, r.id, case k when 0 then 'commit' when 1 then 'base' when 2 then 'lockfile' else 'file-' || k end,
      case when k = 0 then 'STRING' else 'ARTIFACT' end,
      case when k > 0 then sha256(case k when 1 then 'base ' || turn % 10 when 2 then 'lockfile ' || turn / 1000 else r.id::text || k end::bytea) end,
      case when k = 0 then md5(r.id::text) end, case when k > 0 then 'file-' || k || '.tar' end, case when k > 0 then 1000 + k end, k between 1 and 3, '{}'
    from (select org_id, id, right(idempotency_key, 12)::int as turn from runs where org_id = any($2) and state = 'success') r,
      generate_series(0, $1::int - 1) k`,
    [perSuccess, organizations],
  );
  await client.query(
    `insert into evidence (org_id, digest, cas_backend_id, size_bytes, media_type, file_name, manifest_digest, uploaded_at)
    select m.org_id, m.digest, b.id, min(m.size_bytes), 'application/octet-stream', min(m.file_name), sha256(m.digest), now()
    from run_materials m join cas_backends b on b.org_id = m.org_id and b.is_default
    where m.org_id = any($1) and m.uploaded group by m.org_id, m.digest, b.id`,
    [organizations],
  );
  // What was brought to runs that did not succeed: one piece as in a tenth of all runs, the rest their own.
  await client.query(
    `insert into run_collected (org_id, run_id, name, type, digest, file_name, size_bytes, uploaded, annotations, job)
    select org_id, r.id, 'file-' || k, 'ARTIFACT', sha256(case k when 1 then 'base ' || turn % 10 else r.id::text || k end::bytea), 'file.tar', 1000, true, '{}', 'build'
    from (select org_id, id, right(idempotency_key, 12)::int as turn from runs where org_id = any($2) and state <> 'success') r,
      generate_series(1, $1::int - 1) k`,
    [perSuccess, organizations],
  );
  return rowCount ?? 0;
}

/** Takes away what makes a row slow to write, indexes and foreign keys; what comes back makes them again, which checks every row. */
async function bare(client: pg.Client, names: readonly string[]): Promise<() => Promise<void>> {
  const { rows: constraints } = await client.query<{ on: string; name: string; definition: string }>(
    `select conrelid::regclass::text as "on", quote_ident(conname) as name, pg_get_constraintdef(oid) as definition from pg_constraint c
    where conrelid = any($1::regclass[]) and contype in ('f', 'p', 'u')
      and not exists (select from pg_constraint other where other.contype = 'f' and other.conindid = c.conindid and c.contype <> 'f')
    order by contype desc`,
    [names],
  );
  const { rows: indexes } = await client.query<{ name: string; definition: string }>(
    `select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition from pg_index
    where indrelid = any($1::regclass[]) and not exists (select from pg_constraint where conindid = indexrelid)`,
    [names],
  );
  for (const { on, name } of constraints) await client.query(`alter table ${on} drop constraint ${name}`);
  for (const { name } of indexes) await client.query(`drop index ${name}`);
  return async () => {
    for (const { on, name, definition } of constraints) await client.query(`alter table ${on} add constraint ${name} ${definition}`);
    for (const { definition } of indexes) await client.query(definition);
  };
}

/** Counters as the rows are. */
async function count(client: pg.Client, organizations: readonly string[]): Promise<void> {
  await client.query(
    `update workflows w set runs_count = c.runs, runs_initialized = c.initialized, runs_success = c.success, runs_failed = c.failed,
      runs_cancelled = c.cancelled, runs_expired = c.expired, last_run_id = c.last_id, last_run_state = c.last_state, last_run_at = c.last_at
    from (select workflow_id, count(*)::int as runs,
        ${['initialized', 'success', 'failed', 'cancelled', 'expired'].map((state) => `(count(*) filter (where state = '${state}'))::int as ${state}`).join(', ')},
        (array_agg(id order by created_at desc, id desc))[1] as last_id, (array_agg(state order by created_at desc, id desc))[1] as last_state,
        max(created_at) as last_at
      from runs where org_id = any($1) group by workflow_id) c
    where w.id = c.workflow_id`,
    [organizations],
  );
  await client.query(
    `insert into runner_counts (org_id, workflow_id, runner_type, runs)
    select org_id, workflow_id, coalesce(runner_type, ''), count(*)::int from runs where org_id = any($1) group by 1, 2, 3`,
    [organizations],
  );
}

async function describe(client: pg.Client, organizationId: string) {
  const one = async (text: string, ...values: readonly unknown[]): Promise<Record<string, string>> => {
    const { rows } = await client.query<Record<string, string>>(text, [...values]);
    return rows[0] ?? {};
  };
  const deepest = async (condition: string, value: string): Promise<string> => {
    const { at, id } = await one(
      `select created_at::text as at, id from runs where ${condition} = $1 order by created_at, id offset 50 limit 1`,
      value,
    );
    return Buffer.from(JSON.stringify([at, id])).toString('base64url');
  };
  const { id = '', ...large } = await one(
    `select w.id, w.name, p.name as project, w.runs_count::text as runs from workflows w join projects p on p.id = w.project_id
    where w.org_id = $1 and p.name = 'monorepo'`,
    organizationId,
  );
  const { hex, bundle, commit, popularCommit } = await one(
    `select encode(m.digest, 'hex') as hex, encode(r.bundle_digest, 'hex') as bundle, r.head_commit as commit, ${popular} as "popularCommit" from runs r join run_materials m on m.run_id = r.id and m.name = 'file-3'
    where r.workflow_id = $1 and r.head_commit <> ${popular} limit 1`,
    id,
  );
  return {
    large: { id, name: large.name ?? '', project: large.project ?? '', runs: Number(large.runs) },
    rare: { project: 'attic', contract: 'attic', runner: 'JENKINS_JOB' } as const,
    bundle: parseDigest(`sha256:${bundle}`),
    commit: commit ?? '',
    popularCommit: popularCommit ?? '',
    once: parseDigest(`sha256:${hex}`),
    shared: digestOf('lockfile 0'),
    popular: digestOf('base 0'),
    absent: digestOf('brought by nobody'),
    deepest: { organization: await deepest('org_id', organizationId), large: await deepest('workflow_id', id) },
  };
}
