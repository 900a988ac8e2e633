import { and, eq, isNull, sql } from 'drizzle-orm';
import { type Digest, hexOf } from '../core/digest.ts';
import type { Paged } from '../core/wire.ts';
import type { OrgScope } from './client.ts';
import { type Page, pagedAt, type Written } from './page.ts';
import { evidence } from './schema.ts';
import { statementOf } from './statement.ts';

export type EvidenceRow = typeof evidence.$inferSelect;

/** What has arrived, whole and verified. */
export type Arrival = {
  readonly digest: Digest;
  readonly casBackendId: string;
  readonly sizeBytes: number;
  /** Unknown until the manifest says it. */
  readonly mediaType?: string | undefined;
  readonly fileName?: string | undefined;
  readonly manifestDigest?: Digest | undefined;
  /** An operator brought it: it stays until an operator says otherwise. */
  readonly pinned?: boolean | undefined;
  /** Default: now. */
  readonly at?: Date | undefined;
};

/** Who has begun to remove evidence and is not heard of for so long has died: longer than any removal takes. */
export const removalLeaseMs = 10 * 60 * 1000;

/**
 * Records what has arrived. The same bytes again change only what was not known before, and the place with its manifest, so the blob and
 * its manifest may be recorded in any order and any number of times; what it is called stays as the first manifest said it. `again`: it
 * had been removed before; look whether it is there, then `confirmEvidence`. `removing`: it is being removed now; nothing was recorded.
 */
export async function recordEvidence(scope: OrgScope, arrival: Arrival): Promise<'recorded' | 'again' | 'removing'> {
  const { mediaType, fileName, manifestDigest, pinned = false, at = new Date(), ...there } = arrival;
  const known = { ...there, fileName, manifestDigest, pinned, touchedAt: at };
  const [row] = await scope.run((tx) =>
    tx
      .insert(evidence)
      .values({ ...known, organizationId: scope.organizationId, mediaType: mediaType ?? 'application/octet-stream' })
      .onConflictDoUpdate({
        target: [evidence.organizationId, evidence.digest],
        set: {
          casBackendId: arrival.casBackendId,
          touchedAt: sql`greatest(${evidence.touchedAt}, ${at.toISOString()}::timestamptz)`,
          pinned: sql`${evidence.pinned} or ${pinned}`,
          deletingAt: null,
          ...(mediaType === undefined
            ? {}
            : { mediaType: sql`case when ${evidence.fileName} is null then ${mediaType} else ${evidence.mediaType} end` }),
          ...(fileName === undefined ? {} : { fileName: sql`coalesce(${evidence.fileName}, ${fileName})` }),
          // That of what was removed went with it.
          manifestDigest: manifestDigest ?? sql`case when ${evidence.removedAt} is null then ${evidence.manifestDigest} end`,
        },
        setWhere: sql`${evidence.deletingAt} is null or ${evidence.deletingAt} < ${new Date(at.getTime() - removalLeaseMs).toISOString()}::timestamptz`,
      })
      .returning({ removedAt: evidence.removedAt }),
  );
  if (row === undefined) return 'removing';
  return row.removedAt === null ? 'recorded' : 'again';
}

/** What had been removed is there again, as somebody has looked after it was recorded. */
export async function confirmEvidence(scope: OrgScope, digest: Digest): Promise<void> {
  await scope.run((tx) =>
    tx
      .update(evidence)
      .set({ removedAt: null })
      .where(and(eq(evidence.organizationId, scope.organizationId), eq(evidence.digest, digest), isNull(evidence.deletingAt))),
  );
}

/** Somebody who was told lately that evidence is there may rely on it for so long without being noted again. */
const touchEveryMs = 60 * 60 * 1000;

/**
 * Somebody who uploads relies on evidence that is there, and will not send it: from now on it is as if it had arrived now. False: it is
 * being removed, or was. True for what there is no record of.
 */
export async function touchEvidence(
  scope: OrgScope,
  digest: Digest,
  { at, pinned }: { readonly at: Date; readonly pinned: boolean },
): Promise<boolean> {
  const now = at.toISOString();
  const [row] = await scope.statement<{ kept: boolean; fresh: boolean; touched: boolean }>(
    'touch_evidence',
    sql`with seen as (
        select digest, removed_at is null as kept,
          touched_at > ${now}::timestamptz - ${touchEveryMs}::int * interval '1 millisecond' and (pinned or not ${pinned}::boolean) as fresh
        from evidence where org_id = ${scope.organizationId}::uuid and digest = decode(${hexOf(digest)}, 'hex')
      ), touched as (
        update evidence set touched_at = greatest(touched_at, ${now}::timestamptz), pinned = pinned or ${pinned}::boolean
        from seen where org_id = ${scope.organizationId}::uuid and evidence.digest = seen.digest and seen.kept and not seen.fresh and removed_at is null
        returning 1
      )
      select kept, fresh, exists (select from touched) as touched from seen`,
  );
  // A stale one counts only when it was really touched: its removal may have begun meanwhile.
  return row === undefined || (row.kept && (row.fresh || row.touched));
}

/** True when evidence of exactly this size has arrived there. Always false for what is so small that it is hashed before it is sent. */
export async function hasEvidenceOfSize(scope: OrgScope, casBackendId: string, sizeBytes: number): Promise<boolean> {
  const rows = await scope.read((tx) =>
    tx
      .select({ digest: evidence.digest })
      .from(evidence)
      .where(
        and(
          eq(evidence.organizationId, scope.organizationId),
          eq(evidence.sizeBytes, sizeBytes),
          eq(evidence.casBackendId, casBackendId),
          // As the index says it.
          sql`size_bytes > 8388608`,
        ),
      )
      .limit(1),
  );
  return rows.length > 0;
}

/** What of these has arrived and was not removed. */
export function findEvidence(scope: OrgScope, digests: readonly Digest[]): Promise<EvidenceRow[]> {
  if (digests.length === 0) return Promise.resolve([]);
  // One parameter, however many digests: the statement stays the same and is prepared once.
  const hexes = JSON.stringify(digests.map(hexOf));
  return scope.read((tx) =>
    tx
      .select()
      .from(evidence)
      .where(
        and(
          eq(evidence.organizationId, scope.organizationId),
          isNull(evidence.removedAt),
          sql`${evidence.digest} = any (array(select decode(hex, 'hex') from json_array_elements_text(${hexes}::json) hex))`,
        ),
      ),
  );
}

/** A run that brought a digest. */
export type UseRow = {
  readonly id: string;
  readonly workflowId: string;
  readonly workflow: string;
  readonly project: string;
  readonly material: string;
  readonly createdAt: Date;
};

/** The runs that brought this digest, newest first, however many they are. Throws USAGE for a malformed cursor. */
export async function listUses(scope: OrgScope, digest: Digest, page: Page): Promise<Paged<UseRow>> {
  // A run that brought the bytes under two names is one use. The names of runs are looked up for the page alone, one by one.
  const asked = { ...page, digest: hexOf(digest) };
  const uses = statementOf('uses', scope, asked, (organizationId, { digest, id }, few) => {
    const brought = sql`org_id = ${organizationId}::uuid and digest = decode(${digest}, 'hex')`;
    const where = id === undefined ? brought : sql`${brought} and run_id < ${id}::uuid`;
    return sql`select uses.run_id as id, uses.material, run.* from (
        select run_id, min(name) as material from run_materials where ${where} group by run_id order by run_id desc limit ${few}
      ) uses, lateral (
        select r.workflow_id as "workflowId", r.created_at::text as "createdAt", w.name as workflow, p.name as project
        from runs r join workflows w on w.id = r.workflow_id join projects p on p.id = w.project_id
        where r.org_id = ${organizationId}::uuid and r.id = uses.run_id limit 1
      ) run order by uses.run_id desc`;
  });
  return pagedAt(await scope.rows<Written<UseRow>>(uses, { inOrder: true }), page);
}
