import { and, eq, isNull, or, type SQL, sql } from 'drizzle-orm';
import type { JobClaims, JobIdentity } from '../core/claims.ts';
import type { CraftedMaterial, RunnerContext } from '../core/crafting.ts';
import { type Digest, hexOf } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { OrgScope, SystemScope, Tx } from './client.ts';
import { lockCollected } from './collected.ts';
import { type RunContext, selectRun } from './runs.ts';
import { runs, workflows } from './schema.ts';
import { found } from './violation.ts';

/**
 * The life of a run: initialized → success | failed | cancelled | expired. Every step is a compare-and-set on the state, in the same
 * statement as the counters of the workflow, so that counts are right whatever happens in between.
 */

export type NewRun = {
  readonly workflowId: string;
  /** The latest unless said otherwise. */
  readonly contractRevision?: number | undefined;
  readonly runner: RunnerContext;
  readonly idempotencyKey: string;
  readonly expiresAt: Date;
  /** Whom a certificate of this run must name. */
  readonly identity?: JobIdentity | undefined;
  /** Of a federated job: what its CI system proved, and which run of that this is. One run is open for each `naturalKey`. */
  readonly federated?: { readonly claims: JobClaims; readonly naturalKey: string; readonly attempt: number } | undefined;
};

/**
 * Opens a run; the same key of the same workflow gives the run that is there, and so does the natural key of an open one. Throws
 * NOT_FOUND for the workflow or the revision, LIMIT_EXCEEDED for a new one beyond `limits.openRuns`; those that are opened at the same
 * moment may go beyond it by a few.
 */
export function openRun(scope: OrgScope, run: NewRun): Promise<RunContext> {
  const { organizationId } = scope;
  const { workflowId, contractRevision, runner, idempotencyKey, expiresAt, identity, federated } = run;
  return scope.run(async (tx) => {
    const opening = tx.execute(sql`
      with target as (
        select w.id, r.id as revision_id
        from workflows w
        join contracts c on c.id = w.contract_id
        join contract_revisions r on r.contract_id = c.id and r.revision = coalesce(${contractRevision ?? null}::int, c.latest_revision)
        where w.org_id = ${organizationId}::uuid and w.id = ${workflowId}::uuid and w.deleted_at is null
          and w.runs_initialized < ${limits.openRuns}::int
      ), opened as (
        insert into runs (org_id, workflow_id, contract_revision_id, idempotency_key, expires_at,
          runner_type, runner_url, runner_environment, runner_workflow_file_path, runner_authenticated,
          identity_san, identity_issuer, claims, head_commit, natural_key, ci_attempt)
        select ${organizationId}::uuid, id, revision_id, ${idempotencyKey}, ${expiresAt.toISOString()}::timestamptz,
          ${runner.type ?? null}, ${runner.url ?? null}, ${runner.environment ?? null}, ${runner.workflowFilePath ?? null}, ${runner.authenticated},
          ${identity?.san ?? null}, ${identity?.issuer ?? null}, ${federated === undefined ? null : JSON.stringify(federated.claims)}::jsonb,
          ${federated?.claims.commit ?? null}, ${federated?.naturalKey ?? null}, ${federated?.attempt ?? null}::int
        from target
        on conflict do nothing
        returning id, workflow_id, created_at
      ), by_runner as (
        insert into runner_counts as there (org_id, workflow_id, runner_type, runs)
        select ${organizationId}::uuid, workflow_id, ${runner.type ?? ''}, 1 from opened
        on conflict (workflow_id, runner_type) do update set runs = there.runs + 1
      )
      update workflows set runs_count = runs_count + 1, runs_initialized = runs_initialized + 1,
        last_run_id = opened.id, last_run_state = 'initialized', last_run_at = opened.created_at
      from opened where workflows.id = opened.workflow_id`);
    // Both are on their way at once (`then` is what sends a query of drizzle's). If there was such a run before, nothing was
    // inserted, and this finds it.
    const [, row] = await Promise.all([
      opening.then(),
      selectRun(
        tx,
        scope,
        and(eq(runs.workflowId, workflowId), or(eq(runs.idempotencyKey, idempotencyKey), openOf(federated?.naturalKey))),
      ),
    ]);
    if (row === undefined) await assertRoom(tx, scope, workflowId);
    const what =
      contractRevision === undefined ? `workflow ${workflowId}` : `workflow ${workflowId} with contract revision ${contractRevision}`;
    return found(row, what);
  });
}

async function assertRoom(tx: Tx, scope: OrgScope, workflowId: string): Promise<void> {
  const own = and(eq(workflows.organizationId, scope.organizationId), eq(workflows.id, workflowId), isNull(workflows.deletedAt));
  const [workflow] = await tx.select({ name: workflows.name, open: workflows.runsInitialized }).from(workflows).where(own);
  if (workflow === undefined || workflow.open < limits.openRuns) return;
  throw new ChainloopError(
    'LIMIT_EXCEEDED',
    `workflow '${workflow.name}': ${workflow.open} runs are open, and no more can be; push them, or end them with: chainloop attestation reset; then try again`,
  );
}

/** Notes that a later attempt of the CI run works on this run, as long as it is open. */
export async function noteAttempt(scope: OrgScope, id: string, attempt: number): Promise<void> {
  await scope.statement(
    'note_attempt',
    sql`update runs set ci_attempt = ${attempt}::int
    where org_id = ${scope.organizationId}::uuid and id = ${id}::uuid and state = 'initialized' and ci_attempt < ${attempt}::int`,
  );
}

function openOf(naturalKey: string | undefined): SQL | undefined {
  return naturalKey === undefined ? undefined : and(eq(runs.naturalKey, naturalKey), eq(runs.state, 'initialized'));
}

/** What the referee has found in a bundle that it accepts. */
export type Attested = {
  readonly bundleDigest: Digest;
  readonly bundleSizeBytes: number;
  readonly statementDigest: Digest;
  readonly predicateType: string;
  /** The name of the trusted key. */
  readonly signer: string;
  /** That the statement is about, in hex. */
  readonly commit?: string | undefined;
  readonly materials: readonly CraftedMaterial[];
  /** Several jobs brought them: none may be missing (db/collected.ts). */
  readonly collected: boolean;
  /** What is to be done once the run is a success, besides the copies to mirrors. */
  readonly effects: readonly NewEffect[];
};

/** Of one run, an effect waits for those of lower steps. */
export type NewEffect = { readonly kind: string; readonly step: number; readonly casBackendId: string };

/** Each mirror gets a copy of what a run brought. It is written here, by what the database knows of mirrors at that moment. */
export const copyEffect = { kind: 'copy', step: 2 } as const;

/**
 * How a push ended. `accepted`: this call made the run a success. `same`: this very bundle had made it one before. `finished`: it
 * had ended otherwise, as `state` says (`success`: with another bundle). `expired`: it was open for too long. `absent`: no such run.
 * `incomplete`: it is open, and its jobs brought materials, `missing`, that are not in the bundle. `removed`: retention was faster, and
 * some of its evidence is gone or going.
 */
export type PushOutcome =
  | { readonly type: 'accepted' | 'removed' }
  | { readonly type: 'same' | 'expired' | 'absent' }
  | { readonly type: 'incomplete'; readonly missing: readonly string[] }
  | { readonly type: 'finished'; readonly state: 'success' | 'failed' | 'cancelled' };

type Closed = Exclude<PushOutcome, { readonly type: 'accepted' | 'incomplete' | 'removed' }>;

/** Makes an open run a success, with its materials and its effects, in one transaction. Never throws for the state of the run: see the outcome. */
export async function pushRun(scope: OrgScope, id: string, attested: Attested, now: Date): Promise<PushOutcome> {
  const at = now.toISOString();
  const materials = JSON.stringify(
    attested.materials.map((material) => ({ ...material, digest: material.digest === undefined ? undefined : hexOf(material.digest) })),
  );
  const relied = JSON.stringify(attested.materials.flatMap(({ uploaded, digest }) => (uploaded && digest ? hexOf(digest) : [])));
  // The evidence is locked against its removal until this commits: either retention finds these materials, or this finds that it came first.
  const pushing = sql`
    with relied as materialized (
      select removed_at is not null as removed from evidence where org_id = ${scope.organizationId}::uuid
        and digest = any (array(select decode(hex, 'hex') from json_array_elements_text(${relied}::json) hex)) for share
    ), run as (
      update runs set state = 'success', finished_at = ${at}::timestamptz,
        bundle_digest = decode(${hexOf(attested.bundleDigest)}, 'hex'), bundle_size_bytes = ${attested.bundleSizeBytes}::int,
        statement_digest = decode(${hexOf(attested.statementDigest)}, 'hex'),
        predicate_type = ${attested.predicateType}, signer = ${attested.signer},
        head_commit = coalesce(claims ->> 'commit', ${attested.commit ?? null})
      where org_id = ${scope.organizationId}::uuid and id = ${id}::uuid and state = 'initialized' and expires_at > ${at}::timestamptz
        and not exists (select from relied where removed)
      returning id, org_id, workflow_id
    ), brought as (
      insert into run_materials (org_id, run_id, name, type, digest, value, file_name, size_bytes, uploaded, tag, annotations)
      select run.org_id, run.id, m.name, m.type, decode(m.digest, 'hex'), m.value, m."fileName", m."sizeBytes", m.uploaded, m.tag, m.annotations
      from run, json_to_recordset(${materials}::json) as m(name text, type text, digest text, value text, "fileName" text,
        "sizeBytes" bigint, uploaded boolean, tag text, annotations jsonb)
    ), counted as (
      update workflows set runs_initialized = runs_initialized - 1, runs_success = runs_success + 1,
        last_run_state = case when last_run_id = run.id then 'success' else last_run_state end
      from run where workflows.id = run.workflow_id
    ), queued as (
      insert into outbox (org_id, run_id, kind, step, cas_backend_id)
      select run.org_id, run.id, e.kind, e.step, e."casBackendId"
      from run, json_to_recordset(${JSON.stringify(attested.effects)}::json) as e(kind text, step int, "casBackendId" uuid)
      union all
      select run.org_id, run.id, ${copyEffect.kind}, ${copyEffect.step}::int, b.id
      from run join cas_backends b on b.org_id = run.org_id and b.is_mirror
    )
    select exists (select from run) as accepted, exists (select from relied where removed) as removed`;
  if (!attested.collected) {
    const [done] = await scope.statement<Pushed>('push_run', pushing);
    return outcomeOf(done) ?? judge(scope, id, attested.bundleDigest);
  }
  const outcome = await scope.run(async (tx): Promise<PushOutcome | undefined> => {
    const missing = await lockCollected(tx, scope, id, attested.materials, now);
    if (missing.length > 0) return { type: 'incomplete', missing };
    const { rows } = await tx.execute<Pushed>(pushing);
    return outcomeOf(rows[0]);
  });
  return outcome ?? judge(scope, id, attested.bundleDigest);
}

type Pushed = { readonly accepted: boolean; readonly removed: boolean };

/** What the statement alone can say; why it did not happen is in the run. */
function outcomeOf(pushed: Pushed | undefined): PushOutcome | undefined {
  if (pushed?.accepted === true) return { type: 'accepted' };
  return pushed?.removed === true ? { type: 'removed' } : undefined;
}

/** The outcome of ending a run: `same` when it had ended that way before. */
export type EndOutcome = Closed | { readonly type: 'ended' };

/** Ends an open run that will not be pushed. Never throws for the state of the run: see the outcome. */
export async function endRun(
  scope: OrgScope,
  id: string,
  end: { readonly state: 'failed' | 'cancelled'; readonly reason: string; readonly now: Date },
): Promise<EndOutcome> {
  const [done] = await scope.statement<{ ended: boolean }>(
    'end_run',
    sql`
      with run as (
        update runs set state = ${end.state}, finished_at = ${end.now.toISOString()}::timestamptz, reason = nullif(${end.reason}, '')
        where org_id = ${scope.organizationId}::uuid and id = ${id}::uuid and state = 'initialized'
        returning id, workflow_id, state
      ), counted as (
        update workflows set runs_initialized = runs_initialized - 1,
          runs_failed = runs_failed + (run.state = 'failed')::int, runs_cancelled = runs_cancelled + (run.state = 'cancelled')::int,
          last_run_state = case when last_run_id = run.id then run.state else last_run_state end
        from run where workflows.id = run.workflow_id
      )
      select exists (select from run) as ended`,
  );
  if (done?.ended === true) return { type: 'ended' };
  const outcome = await judge(scope, id, undefined);
  return outcome.type === 'finished' && outcome.state === end.state ? { type: 'same' } : outcome;
}

/**
 * Expires runs that were open for too long, at most `limit` of them, and says how many. Several servers may do it at once: each
 * takes other runs. Workflows are locked in the order of their ids, so that two of these never wait for each other.
 */
export async function expireRuns(system: SystemScope, now: Date, limit: number): Promise<number> {
  const at = now.toISOString();
  return system.run(async (tx) => {
    const { rows } = await tx.execute<{ expired: number }>(sql`
      with due as (
        select id from runs where state = 'initialized' and expires_at <= ${at}::timestamptz
        order by expires_at limit ${limit}::int for update skip locked
      ), expired as (
        update runs set state = 'expired', finished_at = ${at}::timestamptz from due where runs.id = due.id
        returning runs.id, runs.workflow_id
      ), ended as (
        select workflow_id, count(*)::int as runs, array_agg(id) as ids from expired group by workflow_id
      ), locked as (
        select w.id from workflows w where w.id in (select workflow_id from ended) order by w.id for no key update
      ), counted as (
        update workflows set runs_initialized = runs_initialized - ended.runs, runs_expired = runs_expired + ended.runs,
          last_run_state = case when last_run_id = any(ended.ids) then 'expired' else last_run_state end
        from ended, locked where workflows.id = ended.workflow_id and locked.id = ended.workflow_id
      )
      select count(*)::int as expired from expired`);
    return rows[0]?.expired ?? 0;
  });
}

/** Why a run could not be moved. Asked after the attempt, in a statement of its own: the attempt's snapshot is from before it waited. */
async function judge(scope: OrgScope, id: string, bundleDigest: Digest | undefined): Promise<Closed> {
  const [run] = await scope.read((tx) =>
    tx
      .select({ state: runs.state, bundleDigest: runs.bundleDigest })
      .from(runs)
      .where(and(eq(runs.organizationId, scope.organizationId), eq(runs.id, id))),
  );
  if (run === undefined) return { type: 'absent' };
  // Still open, and yet refused: its time is over, and the sweep has not come by.
  if (run.state === 'initialized' || run.state === 'expired') return { type: 'expired' };
  if (run.state === 'success' && run.bundleDigest === bundleDigest) return { type: 'same' };
  return { type: 'finished', state: run.state };
}
