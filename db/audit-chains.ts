import * as z from 'zod';
import { createAuditCheck, formatAuditLine } from '../core/audit.ts';
import { isChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { auditText } from './audit.ts';
import type { Session } from './session.ts';

/** What a look at all chains of the audit log has found. */
export type CheckedChains = {
  readonly chains: number;
  readonly rows: number;
  /** Those that are not as they were written: an organization by its name, or `the instance`, and what was found first. */
  readonly altered: readonly { readonly chain: string; readonly problem: string }[];
};

const Chain = z.object({ id: z.string(), name: z.string(), sequence: z.number(), hash: z.string() });
type Chain = z.infer<typeof Chain>;
const Row = z.object({ sequence: z.number(), entry: z.string(), hash: z.string() });

/**
 * Checks the chains of a database that was restored, as of `takenAt`, and writes into each that it was: what was done after that moment is in none of them
 * any more. No server has it open. A database of a version without an audit log has no chains. `report` gets the rows so far.
 */
export async function checkRestored(session: Session, takenAt: string, report: (rows: number) => void): Promise<CheckedChains> {
  const altered: { chain: string; problem: string }[] = [];
  let rows = 0;
  const { rows: log } = await session.query(`select from pg_class where oid = to_regclass('public.audit_log')`);
  if (log.length === 0) return { chains: 0, rows, altered };
  // The owner of the tables is under their row-level security.
  await session.query('begin; set local role chainloop_system');
  const chains = await chainsOf(session);
  for (const chain of chains) {
    const check = createAuditCheck({ from: 'start' });
    try {
      for await (const { entry, hash } of rowsOf(session, chain)) {
        check.next(formatAuditLine(entry, hash));
        report(++rows);
      }
      check.end(chain);
    } catch (error) {
      if (!isChainloopError(error, 'AUDIT_ALTERED')) throw error;
      altered.push({ chain: chain.name, problem: error.message });
    }
  }
  await session.query(`select set_config('app.actor', '{"kind": "system", "id": null, "name": "restore"}', true)`);
  for (const { id } of chains) {
    await session.query(`select audit_append($1::uuid, 'backup.restore', 'backup', 'database', jsonb_build_object('takenAt', $2::text))`, [
      id,
      takenAt,
    ]);
  }
  await session.query('commit');
  return { chains: chains.length, rows, altered };
}

async function chainsOf(session: Session): Promise<Chain[]> {
  const { rows } = await session.query(`select c.id::text, c.name, coalesce(h.sequence, 0)::float8 as sequence,
      coalesce(encode(h.hash, 'hex'), repeat('0', 64)) as hash
    from (select id, name from organizations union all select '00000000-0000-0000-0000-000000000000', 'the instance') c
      left join audit_heads h on h.org_id = c.id order by c.name`);
  return z.array(Chain).parse(rows);
}

async function* rowsOf(session: Session, { id }: Chain): AsyncGenerator<z.infer<typeof Row>> {
  for (let after = 0; ; ) {
    const page = await session.query(
      `select ${auditText} from audit_log a where a.org_id = $1::uuid and a.sequence > $2::bigint order by a.sequence limit ${limits.backupPageRows}`,
      [id, after],
    );
    const rows = z.array(Row).parse(page.rows);
    yield* rows;
    if (rows.length < limits.backupPageRows) return;
    after = rows.at(-1)?.sequence ?? after;
  }
}
