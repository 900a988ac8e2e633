import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { forEachDatabase, newOrganization } from '../test/databases.ts';
import { furnished } from '../test/fakes/furnished.ts';
import type { OrgScope } from './client.ts';
import { databaseRefusal } from './violation.ts';

/** SQLSTATE: insufficient_privilege, which is also what a policy answers; foreign_key_violation. */
const refused = '42501';
const foreignKey = '23503';

forEachDatabase('no table is without its wall: row-level security, forced, with a policy for tenants', async (_, database) => {
  const { scope } = await newOrganization(database);
  const { rows } = await scope.run((tx) =>
    tx.execute(sql`select relname, relrowsecurity and relforcerowsecurity as walled,
      exists (select from pg_attribute where attrelid = c.oid and attname = 'org_id') as tenant,
      exists (select from pg_policy where polrelid = c.oid and polname = 'tenant') as policy
      from pg_class c where relkind = 'r' and relnamespace = 'public'::regnamespace order by relname`),
  );
  assert.ok(rows.length >= 13);
  for (const row of rows) assert.deepEqual(row, { ...row, walled: true, policy: row.tenant === true || row.relname === 'organizations' });
});

forEachDatabase('without any WHERE, a second organization sees, changes and adds nothing of the first', async (_, database) => {
  const first = await furnished(database);
  const second = await newOrganization(database);
  for (const table of await tenantTables(first.scope)) {
    const name = sql.identifier(table);
    const { rows: own } = await first.scope.run((tx) =>
      // A run begins as initialized: a copy of a finished one would be refused for that.
      tx.execute(sql`select to_jsonb(t) as row from ${name} t where to_jsonb(t)->>'state' is distinct from 'success'`),
    );
    assert.ok(own.length > 0, `${table}: the first organization has no row, so nothing would be tested`);
    const { rows: seen } = await second.scope.run((tx) => tx.execute(sql`select org_id from ${name}`));
    assert.deepEqual(
      seen.filter((row) => row.org_id !== second.id),
      [],
      `${table}: rows seen`,
    );
    const copy = JSON.stringify(own[0]?.row);
    assert.equal(
      await outcome(second.scope, sql`insert into ${name} select * from jsonb_populate_record(null::${name}, ${copy}::jsonb)`),
      refused,
      `${table}: a row added`,
    );
    const changed = await outcome(second.scope, sql`update ${name} set org_id = ${second.id} where org_id = ${first.id}`);
    assert.ok(changed === 0 || changed === refused, `${table}: rows taken`);
    const removed = await outcome(second.scope, sql`delete from ${name} where org_id = ${first.id}`);
    assert.ok(removed === 0 || removed === refused, `${table}: rows removed`);
  }
});

forEachDatabase('a row cannot point into another organization', async (_, database) => {
  const first = await furnished(database);
  const { id, scope } = await newOrganization(database);
  const project = await scope.run((tx) => tx.execute(sql`insert into projects (org_id, name) values (${id}, 'mine') returning id`));
  for (const insert of [
    sql`insert into tokens (org_id, kind, name, hash, workflow_id)
      values (${id}, 'service-account', 'thief', sha256(${randomUUID()}::text::bytea), ${first.workflowId})`,
    sql`insert into workflows (org_id, project_id, contract_id, name) values (${id}, ${project.rows[0]?.id}, ${first.contractId}, 'thief')`,
    sql`insert into bindings (org_id, workflow_id, issuer, repository, repository_id, owner_id, refs, events)
      values (${id}, ${first.workflowId}, 'i', 'acme/app', '1', '2', '[]', '[]')`,
    sql`insert into evidence (org_id, digest, cas_backend_id, size_bytes, media_type) values (${id}, sha256('x'), ${first.backendId}, 1, 'text/plain')`,
    sql`insert into runs (org_id, workflow_id, contract_revision_id, idempotency_key, expires_at)
      values (${id}, ${first.workflowId}, ${first.revisionId}, ${randomUUID()}, now())`,
  ]) {
    assert.equal(await outcome(scope, insert), foreignKey);
  }
});

forEachDatabase('an organization sees those persons who are in it, and changes none', async (_, database) => {
  const [first, second] = [await furnished(database), await furnished(database)];
  const { rows } = await second.scope.run((tx) => tx.execute(sql`select id from users`));
  assert.deepEqual(rows, [{ id: second.userId }]);
  for (const id of [first.userId, second.userId])
    assert.equal(await outcome(second.scope, sql`update users set name = 'x' where id = ${id}`), refused);
});

forEachDatabase('the system role reads no contract, no evidence, no key and no material', async (_, database) => {
  await furnished(database);
  for (const table of [
    'contracts',
    'contract_revisions',
    'run_materials',
    'run_collected',
    'evidence',
    'verdicts',
    'public_keys',
    'trusted_identities',
  ]) {
    await assert.rejects(
      database.system.run((tx) => tx.execute(sql`select from ${sql.identifier(table)}`)),
      (error) => databaseRefusal(error)?.state === refused,
    );
  }
});

forEachDatabase(
  'an organization does not reach the settings of the instance, its owner token, sessions, nor the CI tokens that were used',
  async (_, database) => {
    const { scope } = await newOrganization(database);
    for (const table of ['settings', 'used_tokens', 'sessions'].map((name) => sql.identifier(name))) {
      assert.equal(await outcome(scope, sql`delete from ${table}`), refused);
      await assert.rejects(
        scope.run((tx) => tx.execute(sql`select from ${table}`)),
        (error) => databaseRefusal(error)?.state === refused,
      );
    }
    assert.equal(await outcome(scope, sql`insert into tokens (kind, name, hash) values ('owner', 'me', sha256('me'))`), refused);
  },
);

async function tenantTables(scope: OrgScope): Promise<string[]> {
  const { rows } = await scope.run((tx) =>
    tx.execute<{ name: string }>(sql`select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid
      where a.attname = 'org_id' and c.relkind = 'r' and c.relnamespace = 'public'::regnamespace`),
  );
  return rows.map(({ name }) => name);
}

/** How many rows the statement touched, or the SQLSTATE that refused it. */
function outcome(scope: OrgScope, statement: ReturnType<typeof sql>): Promise<number | string | undefined> {
  return scope
    .run((tx) => tx.execute(sql`${statement} returning 1`))
    .then(
      ({ rows }) => rows.length,
      (error) => databaseRefusal(error)?.state,
    );
}
