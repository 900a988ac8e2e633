import { sql } from 'drizzle-orm';
import { type AnyPgColumn, check, pgPolicy, pgRole } from 'drizzle-orm/pg-core';

/** What all tables have in common beneath the code: who sees a row, and what a name is. */

/** The role of every request: sees the rows of one organization. Made in migrate.ts. */
export const appRole = pgRole('chainloop_app').existing();
/** The role of what is not of one organization: tokens by hash, expiry, metrics. Its grants are the list of what it may touch. */
const systemRole = pgRole('chainloop_system').existing();

/** A transaction without an organization has none: the setting is then absent, or empty. */
const current = sql`(select nullif(current_setting('app.organization', true), '')::uuid)`;

/** A request sees and writes the rows of its organization, and no others. */
export function tenantPolicy(column = 'org_id') {
  const own = sql`${sql.identifier(column)} = ${current}`;
  return pgPolicy('tenant', { for: 'all', to: appRole, using: own, withCheck: own });
}

/** The system role sees all rows of the tables that it was granted. */
export function systemPolicy() {
  return pgPolicy('system', { for: 'all', to: systemRole, using: sql`true`, withCheck: sql`true` });
}

/** A name as in core/names.ts. */
export function named(table: string, column: AnyPgColumn) {
  return check(`${table}_name`, sql`length(${column}) <= 63 and ${column} ~ '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'`);
}
