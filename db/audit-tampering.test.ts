import assert from 'node:assert/strict';
import { sql } from 'drizzle-orm';
import { type AuditChecked, type AuditHead, createAuditCheck } from '../core/audit.ts';
import { forEachDatabase, newOrganization } from '../test/databases.ts';
import { auditHead, exportAudit } from './audit.ts';
import type { Database, OrgScope } from './client.ts';
import { newWorkflow } from './fixtures.ts';

// Whoever owns the tables takes the guards down, changes the audit log, and puts them up again: what a check by an auditor says.

/** An organization whose log has ten rows, and where it ended then. */
async function logged(database: Database): Promise<{ readonly scope: OrgScope; readonly other: string; readonly kept: AuditHead }> {
  const { id: other } = await newOrganization(database);
  const { scope } = await newOrganization(database);
  await newWorkflow(scope);
  for (let more = 0; more < 5; more++) {
    await scope.run((tx) => tx.execute(sql`insert into projects (org_id, name) values (${scope.organizationId}, ${`project-${more}`})`));
  }
  const kept = await auditHead(scope);
  assert.equal(kept.sequence, 10);
  return { scope, other, kept };
}

async function verify(scope: OrgScope, kept?: AuditHead): Promise<AuditChecked> {
  const check = createAuditCheck({ from: 'start', kept });
  for (const line of await exportAudit(scope, { after: 0, limit: 500 })) check.next(line);
  return check.end(await auditHead(scope));
}

/** As the owner of the tables, past every guard. */
async function tamper(scope: OrgScope, statements: readonly string[]): Promise<void> {
  const tables = ['audit_log', 'audit_heads'];
  await scope.run(async (tx) => {
    for (const statement of [
      'reset role',
      ...tables.map((table) => `alter table ${table} disable trigger user, no force row level security`),
      ...statements,
      ...tables.map((table) => `alter table ${table} enable trigger user, force row level security`),
    ]) {
      await tx.execute(sql.raw(statement.replaceAll(':org', `'${scope.organizationId}'`)));
    }
  });
}

/** Makes every hash from a row on anew, and the end of the chain, as the database makes them. */
const recompute = (from: number): string => `do $$
  declare r audit_log; hash bytea; head bytea;
  begin
    for r in select * from audit_log where org_id = :org and sequence >= ${from} order by sequence loop
      select a.hash into head from audit_log a where org_id = :org and sequence = r.sequence - 1;
      hash := sha256(convert_to(audit_entry(r.org_id, r.sequence, r.at, jsonb_build_object('kind', r.actor_kind, 'id', r.actor_id, 'name', r.actor_name),
        r.action, r.resource_kind, r.resource_name, r.details, coalesce(head, r.previous)), 'UTF8'));
      update audit_log a set previous = coalesce(head, r.previous), hash = recomputed.hash from (select hash) recomputed(hash) where a.org_id = :org and a.sequence = r.sequence;
      update audit_heads h set sequence = r.sequence, hash = recomputed.hash from (select hash) recomputed(hash) where h.org_id = :org;
    end loop;
  end $$`;

const set = (column: string, value: string): string => `update audit_log set ${column} = ${value} where org_id = :org and sequence = 5`;
const remove = (condition: string): string => `delete from audit_log where org_id = :org and sequence ${condition}`;
const endAt = (sequence: number): string =>
  `update audit_heads h set sequence = a.sequence, hash = a.hash from audit_log a where h.org_id = :org and a.org_id = :org and a.sequence = ${sequence}`;

/** What is done, what is said of it, and whether it takes a head that was kept to see it. */
const attacks: readonly (readonly [string, readonly string[], RegExp, 'alone' | 'by the head'])[] = [
  ...['at', 'actor_kind', 'actor_id', 'actor_name', 'action', 'resource_kind', 'resource_name', 'details', 'hash', 'previous'].map(
    (column) => {
      const value =
        { at: "at + interval '1 microsecond'", actor_kind: "'owner'", details: `'{"x":1}'`, hash: "sha256('x')", previous: "sha256('x')" }[
          column
        ] ?? "'x'";
      return [`${column} of a row is altered`, [set(column, value)], /row 5 was altered/, 'alone'] as const;
    },
  ),
  ['one row is removed', [remove('= 5')], /row 5 was removed/, 'alone'],
  ['rows are removed', [remove('between 4 and 6')], /rows 4 to 6 were removed/, 'alone'],
  ['the first row is removed', [remove('= 1')], /row 1 was removed/, 'alone'],
  ['the last row is removed', [remove('= 10')], /row 10 was removed: the log ends at 10/, 'alone'],
  ['all rows are removed', [remove('> 0')], /rows 1 to 10 were removed/, 'alone'],
  [
    'a row is removed, and the others moved up',
    [
      remove('= 5'),
      'update audit_log set sequence = sequence + 100 where org_id = :org and sequence > 5',
      'update audit_log set sequence = sequence - 101 where org_id = :org and sequence > 100',
    ],
    /row 5 was altered/,
    'alone',
  ],
  [
    'two rows are swapped',
    [
      'update audit_log set sequence = 11 where org_id = :org and sequence = 5',
      'update audit_log set sequence = 5 where org_id = :org and sequence = 6',
      'update audit_log set sequence = 6 where org_id = :org and sequence = 11',
    ],
    /row 5 was altered/,
    'alone',
  ],
  [
    'a row is added in the middle',
    [
      'update audit_log set sequence = sequence + 100 where org_id = :org and sequence >= 5',
      'update audit_log set sequence = sequence - 99 where org_id = :org and sequence > 100',
      'insert into audit_log select org_id, 5, at, actor_kind, actor_id, actor_name, action, resource_kind, resource_name, details, previous, hash from audit_log where org_id = :org and sequence = 4',
    ],
    /row 5 was altered/,
    'alone',
  ],
  [
    'a row is altered, and its own hash made anew',
    [
      set('actor_name', "'nobody'"),
      `${recompute(5).replace('sequence >= 5', 'sequence = 5')}`,
      'update audit_heads set sequence = 10 where org_id = :org',
    ],
    /row 6 does not follow row 5/,
    'alone',
  ],
  [
    'the last rows are removed, and the end moved back',
    [remove('> 8'), endAt(8)],
    /rows 9 to 10 were removed: the head that was kept ends at 10/,
    'by the head',
  ],
  [
    'a row is altered, and every hash behind it made anew',
    [set('actor_name', "'nobody'"), recompute(5)],
    /row 10 is not the one whose hash was kept/,
    'by the head',
  ],
  [
    'the last row is replaced by another',
    [
      remove('= 10'),
      endAt(9),
      `select set_config('app.actor', '{"kind":"owner","name":"x"}', true)`,
      `select audit_append(:org, 'x.y', 'x', 'y', '{}')`,
    ],
    /row 10 is not the one whose hash was kept/,
    'by the head',
  ],
];

for (const [what, statements, message, seen] of attacks) {
  forEachDatabase(`audit log: ${what}: it is named, ${seen}`, async (_, database) => {
    const { scope, kept } = await logged(database);
    assert.deepEqual(await verify(scope, kept), { organization: scope.organizationId, first: 1, head: kept, rows: 10 });
    await tamper(scope, statements);
    const named = { code: 'AUDIT_ALTERED', message };
    if (seen === 'alone') await assert.rejects(verify(scope), named);
    else await verify(scope);
    await assert.rejects(verify(scope, kept), { code: 'AUDIT_ALTERED' });
    if (seen === 'by the head') await assert.rejects(verify(scope, kept), named);
  });
}

forEachDatabase('audit log: rows of another organization in place of the own are named', async (_, database) => {
  const { scope, other } = await logged(database);
  await tamper(scope, [remove('> 0'), `update audit_log set org_id = :org where org_id = '${other}'`]);
  await assert.rejects(verify(scope), { code: 'AUDIT_ALTERED', message: /row 1 was altered/ });
});

forEachDatabase('an export is verified in parts, and each part follows the head of the one before', async (_, database) => {
  const { scope, kept } = await logged(database);
  const first = createAuditCheck({});
  for (const line of await exportAudit(scope, { after: 0, limit: 4 })) first.next(line);
  const { head } = first.end();
  assert.equal(head.sequence, 4);
  const second = createAuditCheck({ kept: head });
  for (const line of await exportAudit(scope, { after: 4, limit: 500 })) second.next(line);
  assert.deepEqual(second.end(), { organization: scope.organizationId, first: 5, head: kept, rows: 6 });
  const [fifth = ''] = await exportAudit(scope, { after: 4, limit: 1 });
  assert.throws(() => createAuditCheck({ kept: { ...head, hash: 'f'.repeat(64) } }).next(fifth), {
    code: 'AUDIT_ALTERED',
    message: /row 4 is not the one/,
  });
});
