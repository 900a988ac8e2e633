import { and, asc, desc, eq, gt, sql } from 'drizzle-orm';
import type { CraftedMaterial, CraftingStart } from '../core/crafting.ts';
import { type Digest, hexOf } from '../core/digest.ts';
import type { RunState } from '../core/names.ts';
import type { OrgScope, Tx } from './client.ts';
import { type RunContext, selectRun } from './runs.ts';
import { runs } from './schema.ts';
import { runCollected } from './trust-schema.ts';
import { found } from './violation.ts';

/** What the jobs of an open run have brought, as rows: adding at the same time loses nothing, and nothing is ever replaced. */

/** `job` is who brought it, for people. */
export type Collected = { readonly material: CraftedMaterial; readonly job: string };
/** `jobWorkflowRef`: where the CI system proved that job to be from (JobClaims). */
export type Bringing = Collected & { readonly jobWorkflowRef?: string | undefined };

/**
 * How adding ended. `there` is what the name has: the same content, or another. `closed`: the run is over, or too old, or there is none;
 * nothing was added.
 */
export type CollectOutcome = { readonly type: 'added' | 'closed' } | { readonly type: 'existed' | 'conflict'; readonly there: Collected };

/** Adds one material to an open run. The same content under the same name, from whichever job, is there already. */
export async function collect(
  scope: OrgScope,
  runId: string,
  { material, job, jobWorkflowRef }: Bringing,
  now: Date,
): Promise<CollectOutcome> {
  const { name, type, digest, value, fileName, sizeBytes, uploaded, tag, annotations } = material;
  // The lock on the run is shared by those who add, and makes a push wait for them, and them for a push.
  const [done] = await scope.statement<{ open: boolean; added: boolean }>(
    'collect',
    sql`
      with run as (
        select id, org_id from runs
        where org_id = ${scope.organizationId}::uuid and id = ${runId}::uuid and state = 'initialized' and expires_at > ${now.toISOString()}::timestamptz
        for share
      ), added as (
        insert into run_collected (org_id, run_id, name, type, digest, value, file_name, size_bytes, uploaded, tag, annotations, job, job_workflow_ref)
        select org_id, id, ${name}::text, ${type}::text, decode(${digest === undefined ? null : hexOf(digest)}::text, 'hex'), ${value ?? null}::text,
          ${fileName ?? null}::text, ${sizeBytes ?? null}::bigint, ${uploaded}::boolean, ${tag ?? null}::text, ${JSON.stringify(annotations)}::jsonb, ${job}::text,
          ${jobWorkflowRef ?? null}::text
        from run
        on conflict (run_id, name) do nothing
        returning name
      )
      select exists (select from run) as open, exists (select from added) as added`,
  );
  if (done?.added === true) return { type: 'added' };
  if (done?.open !== true) return { type: 'closed' };
  const there = (await listCollected(scope, runId)).find((row) => row.material.name === name);
  if (there === undefined) throw new Error(`run ${runId}: '${name}' was in the way, and is not there`);
  return { type: sameContent(there.material, material) ? 'existed' : 'conflict', there };
}

/** All that a run has, by name. */
export function listCollected(scope: OrgScope, runId: string): Promise<Collected[]> {
  return scope.read((tx) => selectCollected(tx, scope, runId));
}

/**
 * Within the transaction of a push: locks an open run against more, and names what its jobs brought and these materials leave out or
 * have otherwise. Nothing when the run is not open.
 */
export async function lockCollected(
  tx: Tx,
  scope: OrgScope,
  runId: string,
  materials: readonly CraftedMaterial[],
  now: Date,
): Promise<string[]> {
  const open = and(ofRun(scope, runId), eq(runs.state, 'initialized'), gt(runs.expiresAt, now));
  const [run] = await tx.select({ id: runs.id }).from(runs).where(open).for('update');
  if (run === undefined) return [];
  const collected = await selectCollected(tx, scope, runId);
  return collected
    .filter(({ material }) => !materials.some((candidate) => candidate.name === material.name && sameContent(candidate, material)))
    .map(({ material }) => material.name);
}

/** A run that brought an artifact as an output, and is no success. */
export type UnattestedRow = {
  readonly id: string;
  readonly state: Exclude<RunState, 'success'>;
  readonly reason: string | null;
  readonly project: string;
  readonly workflow: string;
};

/** The newest runs that these bytes would have been a subject of, had they succeeded. Looks at no more than the newest `among` that brought them at all. */
export function listUnattested(
  scope: OrgScope,
  digest: Digest,
  { now, limit, among }: { readonly now: Date; readonly limit: number; readonly among: number },
): Promise<UnattestedRow[]> {
  return scope.statement<UnattestedRow>(
    'list_unattested',
    sql`select r.id::text, case when r.state = 'initialized' and r.expires_at <= ${now.toISOString()}::timestamptz then 'expired' else r.state end as state, r.reason,
        p.name as project, w.name as workflow
      from (
        select run_id, json_agg(name) as names from run_collected
        where org_id = ${scope.organizationId}::uuid and digest = decode(${hexOf(digest)}, 'hex')
        group by run_id order by run_id desc limit ${among}::int
      ) brought, lateral (select * from runs where org_id = ${scope.organizationId}::uuid and id = run_id and state <> 'success' limit 1) r,
        lateral (select name, project_id from workflows where id = r.workflow_id limit 1) w,
        lateral (select name from projects where id = w.project_id limit 1) p
      where exists (
        select from contract_revisions v, json_array_elements_text(names) called, jsonb_array_elements(v.content -> 'materials') material
        where v.id = r.contract_revision_id and material ->> 'name' = called and (material ->> 'output')::boolean)
      order by r.id desc limit ${limit}::int`,
  );
}

/** Keeps what `init` fixed, unless the run has it already; then, or when the run is over, the answer is false. */
export async function keepStart(scope: OrgScope, runId: string, start: CraftingStart): Promise<boolean> {
  const [done] = await scope.statement<{ kept: boolean }>(
    'keep_start',
    sql`
      with run as (
        update runs set start = ${JSON.stringify(start)}::jsonb
        where org_id = ${scope.organizationId}::uuid and id = ${runId}::uuid and state = 'initialized' and start is null
        returning id
      )
      select exists (select from run) as kept`,
  );
  return done?.kept === true;
}

/** What `init` fixed; null before it did. Throws NOT_FOUND for the run. */
export async function startOf(scope: OrgScope, runId: string): Promise<CraftingStart | null> {
  const [row] = await scope.read((tx) => tx.select({ start: runs.start }).from(runs).where(ofRun(scope, runId)));
  return found(row, `run ${runId}`).start;
}

/** The run that all jobs of one CI run share: the open one, else the newest. Undefined when no job has opened one. */
export async function sharedRun(scope: OrgScope, workflowId: string, naturalKey: string): Promise<RunContext | undefined> {
  return scope.run(async (tx) => {
    const [row] = await tx
      .select({ id: runs.id })
      .from(runs)
      .where(and(eq(runs.organizationId, scope.organizationId), eq(runs.workflowId, workflowId), eq(runs.naturalKey, naturalKey)))
      .orderBy(desc(sql`${runs.state} = 'initialized'`), desc(runs.createdAt), desc(runs.id))
      .limit(1);
    return row === undefined ? undefined : selectRun(tx, scope, eq(runs.id, row.id));
  });
}

async function selectCollected(tx: Tx, scope: OrgScope, runId: string): Promise<Collected[]> {
  const rows = await tx
    .select()
    .from(runCollected)
    .where(and(eq(runCollected.organizationId, scope.organizationId), eq(runCollected.runId, runId)))
    .orderBy(asc(sql`${runCollected.name} collate "C"`));
  return rows.map(({ job, name, type, digest, value, fileName, sizeBytes, uploaded, tag, annotations }) => ({
    job,
    material: {
      ...{ name, type },
      ...(digest === null ? {} : { digest }),
      ...(value === null ? {} : { value }),
      ...(fileName === null ? {} : { fileName }),
      ...(sizeBytes === null ? {} : { sizeBytes }),
      uploaded,
      ...(tag === null ? {} : { tag }),
      annotations,
    },
  }));
}

function sameContent(one: CraftedMaterial, other: CraftedMaterial): boolean {
  return one.type === other.type && one.digest === other.digest && one.value === other.value;
}

function ofRun(scope: OrgScope, runId: string) {
  return and(eq(runs.organizationId, scope.organizationId), eq(runs.id, runId));
}
