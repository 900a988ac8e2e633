import { and, eq, type SQL, sql } from 'drizzle-orm';
import { type Digest, hexOf, parseDigest } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';
import type { OrgScope, SystemScope } from './client.ts';
import { removalLeaseMs } from './evidence.ts';
import { organizations, runs, workflows } from './schema.ts';
import { found } from './violation.ts';

/**
 * What may be removed, and the race-free way there. Evidence is marked first (`removed_at`), by a statement that looks at everything that
 * speaks for it; then, with what was committed meanwhile in sight, it is looked at again, and only then its bytes go. A push locks the
 * evidence that it relies on, so that either it finds the mark, or the second look finds the push. Whoever uploads again is told to wait
 * while bytes are being removed, and has to look afterwards.
 */

/** How long an organization keeps what. */
export type Retention = { readonly unpushedDays: number; readonly attestationDays: number | null };

export async function describeRetention(scope: OrgScope): Promise<Retention> {
  const { unpushedDays, attestationDays } = organizations;
  const [row] = await scope.read((tx) =>
    tx.select({ unpushedDays, attestationDays }).from(organizations).where(eq(organizations.id, scope.organizationId)),
  );
  return found(row, 'organization');
}

/** What is not given stays. */
export async function setRetention(scope: OrgScope, retention: Partial<Retention>): Promise<Retention> {
  const { unpushedDays, attestationDays } = organizations;
  const [row] = await scope.run((tx) =>
    tx.update(organizations).set(retention).where(eq(organizations.id, scope.organizationId)).returning({ unpushedDays, attestationDays }),
  );
  return found(row, 'organization');
}

/** A reason holds; null releases. */
export type Hold = { readonly reason: string | null; readonly now: Date };

function held({ reason, now }: Hold) {
  return { heldAt: reason === null ? null : now, holdReason: reason };
}

/** Holds a run, or releases it: nothing of it is removed meanwhile. Throws NOT_FOUND, and CONFLICT when its attestation is removed already. */
export async function holdRun(scope: OrgScope, id: string, hold: Hold): Promise<void> {
  await scope.run(async (tx) => {
    const [row] = await tx
      .update(runs)
      .set(held(hold))
      .where(and(eq(runs.organizationId, scope.organizationId), eq(runs.id, id)))
      .returning({ removedAt: runs.removedAt });
    const { removedAt } = found(row, `run ${id}`);
    if (removedAt === null || hold.reason === null) return;
    throw new ChainloopError(
      'CONFLICT',
      `run ${id}: retention has removed its attestation (${removedAt.toISOString()}); there is nothing left to hold`,
    );
  });
}

/** The same for all runs of a workflow, also those to come. Throws NOT_FOUND. */
export async function holdWorkflow(scope: OrgScope, id: string, hold: Hold): Promise<void> {
  const [row] = await scope.run((tx) =>
    tx
      .update(workflows)
      .set(held(hold))
      .where(and(eq(workflows.organizationId, scope.organizationId), eq(workflows.id, id)))
      .returning({ id: workflows.id }),
  );
  found(row, `workflow ${id}`);
}

/** The runs of the organization whose attestations have had their time, and are not on hold. `r` is the run. */
function runIsDue(scope: OrgScope, now: Date): SQL {
  return sql`r.org_id = ${scope.organizationId}::uuid and r.state = 'success' and r.removed_at is null and r.held_at is null
    and r.finished_at < ${now.toISOString()}::timestamptz - make_interval(days => (select attestation_days from organizations where id = ${scope.organizationId}::uuid))
    and not exists (select from workflows h where h.id = r.workflow_id and h.held_at is not null)`;
}

export type DueRun = { readonly id: string; readonly finishedAt: string };

/** The first of them, the oldest first; nothing happens. */
export function listDueRuns(scope: OrgScope, { now, limit }: { readonly now: Date; readonly limit: number }): Promise<DueRun[]> {
  return scope.statement<DueRun>(
    'list_due_runs',
    sql`select r.id::text, to_char(r.finished_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as "finishedAt" from runs r
    where ${runIsDue(scope, now)} order by r.created_at limit ${limit}::int`,
  );
}

/** What takes an attestation out of one backend. Of one run it comes after all that its push has left to be done. */
export const removeEffect = { kind: 'remove', step: 3 } as const;

/**
 * Gives up the attestations of runs, at most `limit`: from now on they hold back no evidence. In the same statement it is written down
 * that they are to be taken out of every backend. The rows of their workflows are locked: whoever holds one at the same moment is waited for, and
 * seen, or has to wait, and comes too late.
 */
export function removeDueRuns(scope: OrgScope, { now, limit }: { readonly now: Date; readonly limit: number }): Promise<DueRun[]> {
  return scope.statement<DueRun>(
    'remove_due_runs',
    sql`with due as (
        select r.id from runs r join workflows w on w.id = r.workflow_id where ${runIsDue(scope, now)} and w.held_at is null
        order by r.created_at limit ${limit}::int for update of r skip locked for share of w
      ), gone as (
        update runs set removed_at = ${now.toISOString()}::timestamptz from due where runs.id = due.id and runs.held_at is null
        returning runs.id, runs.org_id, runs.finished_at
      ), queued as (
        insert into outbox (org_id, run_id, kind, step, cas_backend_id)
        select gone.org_id, gone.id, ${removeEffect.kind}, ${removeEffect.step}::int, b.id from gone join cas_backends b on b.org_id = gone.org_id
      )
      select id::text, to_char(finished_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as "finishedAt" from gone`,
  );
}

/**
 * What speaks for the evidence `e`: an attestation that is kept, a run that is open or on hold and has it among its materials, or, since
 * nobody knows what else belongs to such a run, that it was used while a run was open that is on hold and did not succeed (give or take
 * what `touchEvidence` does not note, and clocks); and a removal of an attestation that is not done yet, which needs it to find its way.
 */
function spokenFor(scope: OrgScope, kept: SQL): SQL {
  const own = sql`${scope.organizationId}::uuid`;
  return sql`(exists (select from run_materials m join runs r on r.id = m.run_id where m.org_id = ${own} and m.digest = e.digest and m.uploaded and ${kept})
    or exists (select from run_collected c join runs r on r.id = c.run_id join workflows w on w.id = r.workflow_id
      where c.org_id = ${own} and c.digest = e.digest and (r.state = 'initialized' or r.held_at is not null or w.held_at is not null))
    or exists (select from runs r join workflows w on w.id = r.workflow_id
      where r.org_id = ${own} and (r.held_at is not null or w.held_at is not null) and r.state <> 'success'
        and r.created_at - interval '2 hours' <= e.touched_at and coalesce(r.finished_at, 'infinity') + interval '2 hours' >= e.uploaded_at)
    or exists (select from outbox o join run_materials m on m.run_id = o.run_id
      where o.org_id = ${own} and o.kind = ${removeEffect.kind} and m.digest = e.digest))`;
}

/** Evidence that nobody has asked for in a while. What an operator stored stays. */
function unused(now: Date, scope: OrgScope): SQL {
  return sql`e.org_id = ${scope.organizationId}::uuid and e.removed_at is null and not e.pinned
    and e.touched_at < ${now.toISOString()}::timestamptz - make_interval(days => (select unpushed_days from organizations where id = ${scope.organizationId}::uuid))`;
}

/** A stretch of an organization's evidence, in the order of digests: after `after`, up to `upTo`. */
export type Stretch = { readonly after: string; readonly upTo: string };

/** The next stretch of at most `limit` rows after a digest (hex; empty: from the beginning), or undefined: that was the last one. */
export async function nextStretch(scope: OrgScope, after: string, limit: number): Promise<Stretch | undefined> {
  const [row] = await scope.statement<{ upTo: string | null }>(
    'next_stretch',
    sql`select encode((array_agg(digest order by digest desc))[1], 'hex') as "upTo" from (
      select digest from evidence where org_id = ${scope.organizationId}::uuid and digest > decode(${after}, 'hex') order by digest limit ${limit}::int) page`,
  );
  return row === undefined || row.upTo === null ? undefined : { after, upTo: row.upTo };
}

export type DueEvidence = {
  readonly digest: Digest;
  readonly fileName: string | null;
  readonly sizeBytes: number;
  readonly manifestDigest: Digest | null;
};

type Row = { hex: string; fileName: string | null; sizeBytes: number; manifestHex: string | null };
const columns = sql`encode(e.digest, 'hex') as hex, e.file_name as "fileName", e.size_bytes::float8 as "sizeBytes", encode(e.manifest_digest, 'hex') as "manifestHex"`;

function within({ after, upTo }: Stretch): SQL {
  return sql`e.digest > decode(${after}, 'hex') and e.digest <= decode(${upTo}, 'hex')`;
}

function dueOf({ hex, fileName, sizeBytes, manifestHex }: Row): DueEvidence {
  const manifestDigest = manifestHex === null ? null : parseDigest(`sha256:${manifestHex}`);
  return { digest: parseDigest(`sha256:${hex}`), fileName, sizeBytes, manifestDigest };
}

/** What a removal now would take of it, also by giving up attestations; nothing happens. */
export async function listDueEvidence(scope: OrgScope, stretch: Stretch, now: Date): Promise<DueEvidence[]> {
  const kept = sql`r.removed_at is null and not coalesce((${runIsDue(scope, now)}), false)`;
  const rows = await scope.statement<Row>(
    'list_due_evidence',
    sql`select ${columns} from evidence e where ${within(stretch)} and ${unused(now, scope)} and not ${spokenFor(scope, kept)}`,
  );
  return rows.map(dueOf);
}

/** Marks it: from now on nobody relies on it. And takes over what somebody had marked, and not removed in time, unless it is held meanwhile. */
export async function markDueEvidence(scope: OrgScope, stretch: Stretch, now: Date): Promise<DueEvidence[]> {
  const at = now.toISOString();
  const abandonedBefore = new Date(now.getTime() - removalLeaseMs).toISOString();
  const rows = await scope.statement<Row>(
    'mark_due_evidence',
    sql`update evidence e set removed_at = coalesce(e.removed_at, ${at}::timestamptz), deleting_at = ${at}::timestamptz
    where e.org_id = ${scope.organizationId}::uuid and ${within(stretch)} and (e.deleting_at < ${abandonedBefore}::timestamptz or ${unused(now, scope)})
      and not ${spokenFor(scope, sql`r.removed_at is null`)}
    returning ${columns}`,
  );
  return rows.map(dueOf);
}

/**
 * The second look: what a push or a hold that came in between speaks for is not marked any more, unless somebody had begun to remove it
 * before. Answers what is still to go.
 */
export async function unmarkSpokenFor(scope: OrgScope, marked: readonly DueEvidence[], now: Date): Promise<DueEvidence[]> {
  const hexes = JSON.stringify(marked.map(({ digest }) => hexOf(digest)));
  const rows = await scope.statement<{ hex: string }>(
    'unmark_evidence',
    sql`update evidence e set removed_at = null, deleting_at = null
    where e.org_id = ${scope.organizationId}::uuid and e.digest = any (array(select decode(hex, 'hex') from json_array_elements_text(${hexes}::json) hex))
      and e.deleting_at = ${now.toISOString()}::timestamptz and e.removed_at = e.deleting_at and ${spokenFor(scope, sql`r.removed_at is null`)}
    returning encode(e.digest, 'hex') as hex`,
  );
  const spared = new Set(rows.map(({ hex }) => hex));
  return marked.filter(({ digest }) => !spared.has(hexOf(digest)));
}

/** Its bytes are gone; that it was there, and until when, stays. */
export async function finishRemoval(scope: OrgScope, digest: Digest, now: Date): Promise<void> {
  await scope.statement(
    'finish_removal',
    sql`update evidence set deleting_at = null where org_id = ${scope.organizationId}::uuid and digest = decode(${hexOf(digest)}, 'hex')
      and deleting_at = ${now.toISOString()}::timestamptz`,
  );
}

/** Takes the organization whose turn it is to be looked at, or undefined: all were, since `before`. Servers that ask at once get others. */
export async function claimCollection(
  system: SystemScope,
  { now, before }: { readonly now: Date; readonly before: Date },
): Promise<string | undefined> {
  const [row] = await system.statement<{ id: string }>(
    'claim_collection',
    sql`update organizations set collected_at = ${now.toISOString()}::timestamptz
    where id = (select id from organizations where collected_at is null or collected_at < ${before.toISOString()}::timestamptz
      order by collected_at nulls first limit 1 for update skip locked)
    returning id::text`,
  );
  return row?.id;
}

/** True when other organizations keep their evidence at one of the same places: what is removed there could be theirs. */
export async function sharesStorage(system: SystemScope, organizationId: string): Promise<boolean> {
  const rows = await system.statement(
    'shares_storage',
    sql`select 1 as one from cas_backends mine join cas_backends other on other.location = mine.location and other.provider = mine.provider
    where mine.org_id = ${organizationId}::uuid and other.org_id <> mine.org_id limit 1`,
  );
  return rows.length > 0;
}
