import { sql } from 'drizzle-orm';
import { type AuditEntry, type AuditHead, formatAuditLine } from '../core/audit.ts';
import { ChainloopError } from '../core/errors.ts';
import type { Paged } from '../core/wire.ts';
import type { OrgScope, SystemScope } from './client.ts';

/** Reading the audit log. It is written by the database itself (migrations/0014_audit-guards.sql). */

export type AuditFilter = {
  /** Names, exactly. */
  readonly actor?: string | undefined;
  readonly action?: string | undefined;
  readonly resource?: string | undefined;
  readonly since?: string | undefined;
  readonly until?: string | undefined;
};

type Text = { readonly sequence: number; readonly entry: string; readonly hash: string };

/** The columns of row `a`: its number, its hash, and its text, which is what is hashed. */
export const auditText = `a.sequence::float8 as sequence, encode(a.hash, 'hex') as hash, audit_entry(a.org_id, a.sequence, a.at,
  jsonb_build_object('kind', a.actor_kind, 'id', a.actor_id, 'name', a.actor_name), a.action, a.resource_kind, a.resource_name, a.details, a.previous) as entry`;
const columns = sql.raw(auditText);

/** The chain of an organization, or, for the system, that of the instance. */
function chainOf(scope: OrgScope | SystemScope) {
  return sql`${'organizationId' in scope ? scope.organizationId : '00000000-0000-0000-0000-000000000000'}::uuid`;
}

export type AuditRow = { readonly entry: AuditEntry; readonly hash: string };

/** Rows, the newest first. Throws USAGE for a malformed cursor. */
export async function listAudit(
  scope: OrgScope | SystemScope,
  { limit, cursor, actor, action, resource, since, until }: AuditFilter & { readonly limit: number; readonly cursor?: string | undefined },
): Promise<Paged<AuditRow>> {
  if (cursor !== undefined && !/^\d{1,15}$/.test(cursor)) {
    throw new ChainloopError('USAGE', 'cursor: not one that a list gave; leave it out to begin at the first page');
  }
  const chain = chainOf(scope);
  // Times grow with the numbers: each bound is one look at an index. Inside a select: beneath row-level security a bare coalesce is no bound of an index.
  const first = sql`(select coalesce((select f.sequence from audit_log f where f.org_id = ${chain} and f.at >= ${since ?? null}::timestamptz order by f.at, f.sequence limit 1), ${Number.MAX_SAFE_INTEGER}::bigint))`;
  const last = sql`(select coalesce((select l.sequence from audit_log l where l.org_id = ${chain} and l.at < ${until ?? null}::timestamptz order by l.at desc, l.sequence desc limit 1), 0))`;
  // The log names a member by the person, who is the actor elsewhere; lists of members show the id of the membership. Whoever joined is in one row.
  const named = !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(resource ?? '')
    ? resource
    : sql`(select coalesce((select j.resource_name from audit_log j where j.org_id = ${chain} and j.action = 'member.join' and j.details ->> 'id' = ${resource} limit 1), ${resource}))`;
  const { rows } = await scope.read(
    (tx) =>
      tx.execute<Text>(sql`select ${columns} from audit_log a where a.org_id = ${chain}
        ${cursor === undefined ? sql`` : sql`and a.sequence < ${cursor}::bigint`}
        ${actor === undefined ? sql`` : sql`and a.actor_name = ${actor}`}
        ${action === undefined ? sql`` : sql`and a.action = ${action}`}
        ${resource === undefined ? sql`` : sql`and a.resource_name = ${named}`}
        ${since === undefined ? sql`` : sql`and a.sequence >= ${first}`}
        ${until === undefined ? sql`` : sql`and a.sequence <= ${last}`}
        order by a.sequence desc limit ${limit + 1}::int`),
    { inOrder: true },
  );
  const items = rows.slice(0, limit);
  const nextCursor = rows.length > limit ? String(items.at(-1)?.sequence) : undefined;
  return { items: items.map(({ entry, hash }) => ({ entry: JSON.parse(entry), hash })), nextCursor };
}

/**
 * Where the chain ends. Nothing was done yet: zero. Rows are seen a moment before the disk has them (audit_append), and a head is kept for ever: so
 * it is answered behind a flush, as a change is. A crash then takes back no row of it.
 */
export async function auditHead(scope: OrgScope | SystemScope): Promise<AuditHead> {
  const [head] = await scope.statement<AuditHead>(
    'audit_head',
    sql`select sequence::float8 as sequence, encode(hash, 'hex') as hash from audit_heads
      where org_id = ${chainOf(scope)} and set_config('app.unflushed', 'yes', false) = 'yes'`,
  );
  return head ?? { sequence: 0, hash: '0'.repeat(64) };
}

/** The rows behind one, in their order, as lines of an export. */
export async function exportAudit(
  scope: OrgScope | SystemScope,
  { after, limit }: { readonly after: number; readonly limit: number },
): Promise<readonly string[]> {
  const { rows } = await scope.read(
    (tx) =>
      tx.execute<Text>(
        sql`select ${columns} from audit_log a where a.org_id = ${chainOf(scope)} and a.sequence > ${after}::bigint order by a.sequence limit ${limit}::int`,
      ),
    { inOrder: true },
  );
  return rows.map(({ entry, hash }) => formatAuditLine(entry, hash));
}

/** Writes down what changes nothing in the database: what was refused, a certificate that was issued. */
export async function recordAct(
  scope: OrgScope | SystemScope,
  act: { readonly action: string; readonly name: string; readonly details: Readonly<Record<string, string>> },
): Promise<void> {
  const [kind] = act.action.split('.', 1);
  await scope.statement(
    'record_act',
    sql`select 1 as one from audit_append(${chainOf(scope)}, ${act.action}, ${kind ?? ''}, ${act.name}, ${JSON.stringify(act.details)}::jsonb)`,
  );
}
