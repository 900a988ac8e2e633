import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { digestOf } from '../core/digest.ts';
import { forEachDatabase, newOrganization } from '../test/databases.ts';
import { createBinding } from './bindings.ts';
import { createCasBackend, describeCasBackend } from './cas-backends.ts';
import type { Database, OrgScope } from './client.ts';
import { recordEvidence } from './evidence.ts';
import { newWorkflow, openedRun, someAttested, someClaims } from './fixtures.ts';
import { createKey } from './keys.ts';
import { issueRunCredential } from './run-credentials.ts';
import { pushRun } from './run-states.ts';
import { createToken } from './tokens.ts';
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

forEachDatabase('the system role reads no contract, no evidence, no key and no material', async (_, database) => {
  await furnished(database);
  for (const table of [
    'contracts',
    'contract_revisions',
    'run_materials',
    'run_collected',
    'evidence',
    'public_keys',
    'trusted_identities',
  ]) {
    await assert.rejects(
      database.system.run((tx) => tx.execute(sql`select from ${sql.identifier(table)}`)),
      (error) => databaseRefusal(error)?.state === refused,
    );
  }
});

forEachDatabase('an organization does not reach the settings of the instance, nor its owner token', async (_, database) => {
  const { scope } = await newOrganization(database);
  assert.equal(await outcome(scope, sql`delete from settings`), refused);
  assert.equal(await outcome(scope, sql`insert into tokens (kind, name, hash) values ('owner', 'me', sha256('me'))`), refused);
});

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

/** The same for the tables of federation and of runs with several jobs. */
async function furnishTrust(database: Database, scope: OrgScope, workflowId: string, runId: string) {
  const binding = await createBinding(scope, {
    workflowId,
    issuer: 'https://gitlab.com',
    repository: 'acme/app',
    ids: { repositoryId: '1', ownerId: '2' },
    refs: ['refs/heads/main'],
    events: ['push'],
    pendingUntil: new Date(),
  });
  const now = new Date();
  const soon = new Date(now.getTime() + 60_000);
  const once = { use: digestOf(randomUUID()), usedUntil: soon, hash: digestOf(randomUUID()), expiresAt: soon, now };
  await issueRunCredential(database.system, { ...once, binding, claims: someClaims, naturalKey: randomUUID() });
  const text = sql`'{}'::jsonb`;
  await scope.run(async (tx) => {
    await tx.execute(
      sql`insert into trusted_identities (org_id, name, issuer, san, match) values (${scope.organizationId}, 'ci', 'i', 's', 'exact')`,
    );
    await tx.execute(sql`insert into run_collected (org_id, run_id, name, type, value, uploaded, annotations, job)
      values (${scope.organizationId}, ${runId}, 'commit', 'STRING', 'x', false, ${text}, 'build')`);
  });
}

/** An organization with a row in every table. */
async function furnished(database: Database) {
  const { id, scope } = await newOrganization(database);
  const workflow = await newWorkflow(scope);
  const run = await openedRun(scope, workflow.id);
  await pushRun(scope, run.id, someAttested('first'), new Date());
  await openedRun(scope, workflow.id);
  await createToken(scope, { name: 'ci', hash: digestOf(randomUUID()), expiresAt: null, workflowId: workflow.id });
  await createKey(scope, { name: 'release', hint: 'hint', type: 'P-256', pem: 'pem' });
  await createCasBackend(
    scope,
    { name: 'ghcr', provider: 'oci', location: 'ghcr.io/acme', insecure: false, credentials: Buffer.from('x'), isDefault: true },
    new Date(),
  );
  const backend = await describeCasBackend(scope, 'default');
  await recordEvidence(scope, { digest: digestOf('e'), casBackendId: backend.id, sizeBytes: 1 });
  await furnishTrust(database, scope, workflow.id, run.id);
  return { id, scope, workflowId: workflow.id, contractId: workflow.contractId, revisionId: run.contractRevisionId, backendId: backend.id };
}
