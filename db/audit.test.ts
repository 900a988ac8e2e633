import assert from 'node:assert/strict';
import { sql } from 'drizzle-orm';
import { forEachDatabase, newOrganization } from '../test/databases.ts';
import { furnished } from '../test/fakes/furnished.ts';
import type { OrgScope } from './client.ts';
import { newWorkflow, openedRun, someAttested } from './fixtures.ts';
import { expireRuns, pushRun } from './run-states.ts';
import { databaseRefusal } from './violation.ts';

/** SQLSTATE: insufficient_privilege. */
const refused = '42501';

type Row = { readonly sequence: number; readonly action: string; readonly name: string; readonly actor: string; readonly details: string };

async function log(scope: OrgScope): Promise<Row[]> {
  return scope.statement<Row>(
    'audit of a test',
    sql`select sequence::int, action, resource_name as name, actor_name as actor, details::text from audit_log
      where org_id = ${scope.organizationId}::uuid order by sequence`,
  );
}

forEachDatabase('an open run and its push leave a row each, in the order of their commits, with who did it', async (_, database) => {
  const { id, scope: asServer } = await newOrganization(database);
  const scope = database.scope(id, { kind: 'job', id: '1', name: `it's "acme"\\app; drop table runs; --` });
  const workflow = await newWorkflow(asServer);
  const before = (await log(scope)).length;
  const run = await openedRun(scope, workflow.id);
  await pushRun(scope, run.id, someAttested('x'), new Date());
  await pushRun(scope, run.id, someAttested('x'), new Date());
  const rows = (await log(scope)).slice(before);
  assert.deepEqual(
    rows.map(({ sequence, action, name }) => [sequence, action, name]),
    [
      [before + 1, 'run.init', run.id],
      [before + 2, 'run.push', run.id],
    ],
  );
  assert.deepEqual([...new Set(rows.map(({ actor }) => actor))], [`it's "acme"\\app; drop table runs; --`]);
});

forEachDatabase('a transaction that is given up leaves no row, and none is missing after it', async (_, database) => {
  const { scope } = await newOrganization(database);
  const before = await log(scope);
  const given = scope.run(async (tx) => {
    await tx.execute(sql`insert into projects (org_id, name) values (${scope.organizationId}, 'never')`);
    throw new Error('given up');
  });
  await assert.rejects(given, /given up/);
  assert.deepEqual(await log(scope), before);
  await newWorkflow(scope);
  assert.deepEqual(
    (await log(scope)).map(({ sequence }) => sequence),
    Array.from({ length: before.length + 3 }, (_, index) => index + 1),
  );
});

forEachDatabase('32 writers of one organization leave no gap, and no two the same number', async (_, database) => {
  const { scope } = await newOrganization(database);
  const before = (await log(scope)).length;
  const workflows = await Promise.all(Array.from({ length: 4 }, () => newWorkflow(scope)));
  await Promise.all(
    Array.from({ length: 32 }, async (_, writer) => {
      const run = await openedRun(scope, workflows[writer % 4]?.id ?? '');
      await pushRun(scope, run.id, someAttested(String(writer)), new Date());
    }),
  );
  const rows = await log(scope);
  assert.deepEqual(
    rows.map(({ sequence }) => sequence),
    Array.from({ length: rows.length }, (_, index) => index + 1),
  );
  assert.equal(rows.slice(before).filter(({ action }) => action === 'run.push').length, 32);
});

forEachDatabase(
  'no role of the server adds, changes or removes a row of the audit log, nor moves the end of a chain',
  async (_, database) => {
    const { id, scope } = await newOrganization(database);
    await newWorkflow(scope);
    for (const [role, run] of [
      ['app', scope.run],
      ['system', database.system.run],
    ] as const) {
      for (const statement of [
        sql`update audit_log set action = 'x' where org_id = ${id}`,
        sql`delete from audit_log where org_id = ${id}`,
        sql`truncate audit_log`,
        sql`insert into audit_log select * from audit_log where org_id = ${id} limit 1`,
        sql`update audit_heads set sequence = 0 where org_id = ${id}`,
        sql`delete from audit_heads where org_id = ${id}`,
        sql`insert into audit_heads select * from audit_heads where org_id = ${id} limit 1`,
        sql`truncate audit_heads`,
        sql`alter table audit_log disable trigger all`,
        sql`drop trigger audit_run_end_update on runs`,
      ]) {
        assert.equal(await run((tx) => tx.execute(statement)).then(() => 'done', state), refused, role);
      }
    }
  },
);

forEachDatabase('a request does not write into the chain of another organization, nor into that of the instance', async (_, database) => {
  const [{ scope }, other] = [await newOrganization(database), await newOrganization(database)];
  for (const chain of [other.id, '00000000-0000-0000-0000-000000000000']) {
    const append = sql`select audit_append(${chain}::uuid, 'x', 'y', 'z', '{}')`;
    assert.equal(await scope.run((tx) => tx.execute(append)).then(() => 'done', state), refused);
  }
});

function state(error: unknown): string | undefined {
  return databaseRefusal(error)?.state;
}

/** Changes that servers may make and that leave no row of their own, and why. */
const silent: readonly string[] = [
  // Derived by the statement that moves a run, which has its row.
  ...['count', 'initialized', 'success', 'failed', 'cancelled', 'expired'].map((counter) => `workflows.runs_${counter}`),
  ...['workflows.last_run_id', 'workflows.last_run_state', 'workflows.last_run_at'],
  ...['contracts: insert', 'contracts.latest_revision', 'contracts.updated_at', 'run_materials: insert'],
  ...['runner_counts: insert', 'runner_counts.runs', 'runner_counts.workflow_id', 'runner_counts.runner_type'],
  // Comes with a change of the state, or of the hold.
  'runs.head_commit',
  ...['finished_at', 'reason', 'bundle_digest', 'bundle_size_bytes', 'statement_digest', 'predicate_type', 'signer', 'hold_reason'].map(
    (column) => `runs.${column}`,
  ),
  'workflows.hold_reason',
  // What a server is at: the effects of a push, and when something is looked at next.
  ...['outbox: insert', 'outbox: delete', 'outbox.attempts', 'outbox.due_at', 'outbox.lease', 'outbox.error_code', 'outbox.error'],
  ...['outbox.failed_at', 'cas_backends.problem', 'cas_backends.validated_at', 'cas_backends.check_due_at', 'organizations.collected_at'],
  // That something was used, or asked for, or has expired; and what is known of a blob before its manifest says it.
  ...['tokens.last_used_at', 'bindings.fixed_at', 'bindings.last_used_at', 'evidence.touched_at', 'evidence.deleting_at'],
  ...['used_tokens: insert', 'used_tokens: delete', 'run_credentials: delete', 'evidence.media_type', 'evidence.file_name'],
  // As the provider says it at a login, which has its row; that a session was used, and was forgotten long after its end; and what comes with
  // the new code of an invitation.
  ...['users.name', 'users.email', 'users.last_login_at', 'sessions.last_used_at', 'sessions: delete'],
  ...['invitations.role', 'invitations.expires_at'],
  // Fixed when the row is made: servers are allowed to change the table, and no statement of db/ sets these.
  ...['contracts.name', 'evidence.digest', 'evidence.size_bytes', 'evidence.uploaded_at', 'outbox.kind', 'outbox.run_id', 'outbox.step'],
  ...[
    'outbox.cas_backend_id',
    'runs.claims',
    'runs.contract_revision_id',
    'runs.expires_at',
    'runs.idempotency_key',
    'runs.identity_issuer',
  ],
  ...[
    'runs.identity_san',
    'runs.natural_key',
    'runs.runner_authenticated',
    'runs.runner_environment',
    'runs.runner_type',
    'runs.runner_url',
  ],
  ...['runs.runner_workflow_file_path', 'runs.workflow_id', 'verdicts.run_id', 'verdicts.issued_at'],
];

forEachDatabase('whatever a server may write has a row in the audit log, or a reason here why not', async (_, database) => {
  const { rows } = await database.system.run((tx) =>
    tx.execute<{
      name: string;
      column: string;
      inserts: boolean;
      deletes: boolean;
      updates: boolean;
      watched: string[];
      events: string[];
    }>(sql`
      select c.relname as name, a.attname as column, p.inserts, p.deletes, p.updates,
        array(select u.attname::text from pg_trigger t cross join unnest(t.tgattr) n join pg_attribute u on u.attrelid = t.tgrelid and u.attnum = n
          where t.tgrelid = c.oid and t.tgname like 'audit%' and t.tgdeferrable and t.tginitdeferred and t.tgenabled = 'O') as watched,
        array(select case when t.tgtype & 4 > 0 then 'insert' when t.tgtype & 8 > 0 then 'delete' else 'update' end from pg_trigger t
          where t.tgrelid = c.oid and t.tgname like 'audit%' and t.tgdeferrable and t.tginitdeferred and t.tgenabled = 'O') as events
      from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped,
        lateral (select bool_or(has_table_privilege(r, c.oid, 'insert')) as inserts, bool_or(has_table_privilege(r, c.oid, 'delete')) as deletes,
          bool_or(has_column_privilege(r, c.oid, a.attnum, 'update')) as updates from unnest(array['chainloop_app', 'chainloop_system']) r) p
      where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and not a.attname in ('id', 'org_id', 'created_at')`),
  );
  const unwatched = rows.flatMap(({ name, column, inserts, deletes, updates, watched, events }) => [
    ...(inserts && !events.includes('insert') ? [`${name}: insert`] : []),
    ...(deletes && !events.includes('delete') ? [`${name}: delete`] : []),
    ...(updates && !watched.includes(column) ? [`${name}.${column}`] : []),
  ]);
  assert.deepEqual([...new Set(unwatched)].toSorted(), silent.toSorted());
});

forEachDatabase(
  'a run that expires, and what a job gets for its token, leave a row by the system role, which reads no contract',
  async (_, database) => {
    const { id, scope } = await furnished(database);
    const workflow = await newWorkflow(scope);
    const run = await openedRun(scope, workflow.id, new Date('2020-01-01'));
    while ((await expireRuns(database.systemAs({ kind: 'system', id: null, name: 'expiry' }), new Date('2020-01-02'), 100)) > 0);
    const row = (await log(scope)).at(-1);
    assert.deepEqual([row?.action, row?.name, row?.actor], ['run.expire', run.id, 'expiry']);
    assert.ok(
      (await log(scope)).some(({ action }) => action === 'binding.exchange'),
      id,
    );
  },
);

forEachDatabase('what goes past the servers is in the audit log too, as done by a user of the database', async (_, database) => {
  const { id, scope } = await newOrganization(database);
  await scope.run(async (tx) => {
    for (const statement of [
      sql`reset role`,
      sql`select set_config('app.actor', '', true)`,
      sql`alter table projects no force row level security`,
      sql`insert into projects (org_id, name) values (${id}, 'by-hand')`,
      sql`set constraints all immediate`,
      sql`alter table projects force row level security`,
    ]) {
      await tx.execute(statement);
    }
  });
  const { rows } = await database.system.run((tx) =>
    tx.execute(sql`select action, resource_name as name, actor_kind as kind, actor_name = session_user as user from audit_log
      where org_id = ${id} order by sequence desc limit 1`),
  );
  assert.deepEqual(rows, [{ action: 'project.create', name: 'by-hand', kind: 'database', user: true }]);
});
