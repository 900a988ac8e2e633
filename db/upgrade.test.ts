import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtempDisposable, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { databaseKinds, type Kind, tester } from '../test/databases.ts';
import { startPostgres } from '../test/fakes/postgres.ts';
import { record, trials } from '../test/faults/reliability.ts';
import { needs } from '../test/needs.ts';
import { listAudit } from './audit.ts';
import { checkRestored } from './audit-chains.ts';
import { connect } from './client.ts';
import { dump } from './dump.ts';
import { someAttested } from './fixtures.ts';
import { type DumpedRow, load } from './load.ts';
import { listOrganizations } from './organizations.ts';
import { openRun, pushRun } from './run-states.ts';
import { listRuns } from './runs.ts';
import { openSession, type Place, type Session } from './session.ts';
import { listWorkflows } from './workflows.ts';

/** What the last released version had: 0000 to 0003. */
const released = 4;
/** F13 at scale: `npm run reliability -- upgrade`. */
const runs = trials(500, 1_000_000);
const [organizationId, workflowId, revisionId] = [1, 2, 3].map((n) => `00000000-0000-4000-8000-00000000000${n}`);

/** Those that get rows. */
const tables = [
  'organizations',
  'projects',
  'contracts',
  'contract_revisions',
  'workflows',
  'runs',
  'run_materials',
  'runner_counts',
  'cas_backends',
  'evidence',
  'tokens',
  'settings',
];

/** A database as that version left it: its columns, its rows. The guards are for servers: the rows are of many a day. */
async function fill(session: Session): Promise<void> {
  const success = `'success', now(), sha256(n::text::bytea), 1234, sha256(n::text::bytea), 'chainloop.dev/attestation/v0.2', 'release'`;
  for (const statement of [
    'begin',
    ...tables.map((table) => `alter table ${table} no force row level security, disable trigger user`),
    `insert into organizations (id, name) values ('${organizationId}', 'acme')`,
    `insert into projects (id, org_id, name) values (gen_random_uuid(), '${organizationId}', 'bedrock')`,
    `insert into contracts (id, org_id, name) values (gen_random_uuid(), '${organizationId}', 'release')`,
    `insert into contract_revisions (id, org_id, contract_id, revision, format, body, content, content_digest)
      select '${revisionId}', org_id, id, 1, 'yaml', 'schemaVersion: v1', '{"materials": [], "envAllowList": [], "annotations": []}', sha256('c') from contracts`,
    `insert into workflows (id, org_id, project_id, contract_id, name, runs_count, runs_success)
      select '${workflowId}', c.org_id, p.id, c.id, 'release', ${runs}, ${runs} from contracts c, projects p`,
    `insert into runs (id, org_id, workflow_id, contract_revision_id, idempotency_key, runner_type, expires_at, created_at,
        state, finished_at, bundle_digest, bundle_size_bytes, statement_digest, predicate_type, signer)
      select md5('run ' || n)::uuid, '${organizationId}', '${workflowId}', '${revisionId}', 'key of run number ' || n, 'GITHUB_ACTION',
        now() + interval '1 day', now() - n * interval '1 minute', ${success} from generate_series(1, ${runs}) n`,
    `insert into runner_counts (org_id, workflow_id, runner_type, runs) values ('${organizationId}', '${workflowId}', 'GITHUB_ACTION', ${runs})`,
    `insert into run_materials (org_id, run_id, name, type, digest, file_name, size_bytes, uploaded, annotations)
      select '${organizationId}', md5('run ' || n)::uuid, 'material-' || m, 'ARTIFACT', sha256((n * 10 + m)::text::bytea), 'server.tar', 5000, true, '{}'
      from generate_series(1, ${runs}) n, generate_series(1, 2) m`,
    `insert into cas_backends (id, org_id, name, provider, location, is_default, status) values (gen_random_uuid(), '${organizationId}', 'default', 'layout', 'acme', true, 'ok')`,
    `insert into evidence (org_id, digest, cas_backend_id, size_bytes, media_type)
      select b.org_id, sha256(n::text::bytea), b.id, n * 1000, 'application/octet-stream' from cas_backends b, generate_series(1, ${runs}) n`,
    `insert into tokens (kind, name, hash) values ('owner', 'owner', sha256('o'))`,
    `insert into tokens (org_id, kind, name, hash, workflow_id) values ('${organizationId}', 'service-account', 'job', sha256('s'), '${workflowId}')`,
    `insert into settings (key, value) values ('master-key', 'sealed')`,
    ...tables.map((table) => `alter table ${table} force row level security, enable trigger user`),
    'commit',
    'analyze',
  ]) {
    await session.query(statement);
  }
}

/** One attestation, as that version writes it: opened, evidence recorded, pushed. */
async function attest(session: Session, number: number): Promise<void> {
  const key = `an old server, run ${number}`;
  for (const statement of [
    `begin; set local role chainloop_app; select set_config('app.organization', '${organizationId}', true)`,
    `insert into runs (org_id, workflow_id, contract_revision_id, idempotency_key, expires_at)
      values ('${organizationId}', '${workflowId}', '${revisionId}', '${key}', now() + interval '1 day')`,
    `update workflows set runs_count = runs_count + 1, runs_initialized = runs_initialized + 1 where id = '${workflowId}'`,
    'commit',
    `begin; set local role chainloop_app; select set_config('app.organization', '${organizationId}', true)`,
    `insert into evidence (org_id, digest, cas_backend_id, size_bytes, media_type)
      select org_id, sha256('${key}'), id, 10000000, 'application/octet-stream' from cas_backends`,
    `update runs set state = 'success', finished_at = now(), bundle_digest = sha256('${key}'), bundle_size_bytes = 1,
      statement_digest = sha256('${key}'), predicate_type = 'p', signer = 'release' where workflow_id = '${workflowId}' and idempotency_key = '${key}'`,
    `insert into run_materials (org_id, run_id, name, type, digest, uploaded, annotations)
      select org_id, id, 'server', 'ARTIFACT', sha256('${key}'), true, '{}' from runs where workflow_id = '${workflowId}' and idempotency_key = '${key}'`,
    `update workflows set runs_initialized = runs_initialized - 1, runs_success = runs_success + 1 where id = '${workflowId}'`,
    'commit',
  ]) {
    await session.query(statement);
  }
}

for (const kind of databaseKinds) {
  test(`F13: a database of the last release is upgraded with all it holds, while a server of that release goes on (${kind})`, {
    timeout: 3_600_000,
  }, async (t) => {
    if (kind === 'postgresql' && !needs(t, 'postgresql')) return;
    await using stack = new AsyncDisposableStack();
    const place = await newPlace(kind, stack);
    {
      await using session = await openSession(place, { make: true });
      await session.migrate(released);
      await fill(session);
    }
    let old = 0;
    let longestMs = 0;
    let upgraded = false;
    // PGlite is open in one process: there nobody goes on.
    const server = async (): Promise<void> => {
      if (kind === 'pglite') return;
      await using session = await openSession(place);
      while (!upgraded) {
        const startedAt = performance.now();
        await attest(session, old);
        old += 1;
        longestMs = Math.max(longestMs, performance.now() - startedAt);
        await setImmediate();
      }
      // Until the balancer has turned to the new one, the old one serves on the new schema.
      await attest(session, old);
      old += 1;
    };
    const going = server();
    const startedAt = performance.now();
    await using database = await connect('folder' in place ? { dataDir: place.folder } : place).finally(() => {
      upgraded = true;
    });
    await going;
    const tookMs = performance.now() - startedAt;
    if (kind === 'postgresql') assert.ok(longestMs < 1_000 || runs < 10_000, `an attestation waited for ${Math.round(longestMs)} ms`);

    assert.deepEqual(
      (await listOrganizations(database.system, { limit: 10 })).items.map(({ name }) => name),
      ['acme'],
    );
    const scope = database.scope(organizationId ?? '', tester);
    const [workflow] = (await listWorkflows(scope, { limit: 10 })).items;
    assert.deepEqual([workflow?.name, workflow?.runsCount], ['release', runs + old]);
    assert.equal((await listRuns(scope, { limit: 100 })).items.length, 100);
    const expiresAt = new Date('2099-01-01');
    const opened = await openRun(scope, {
      workflowId: workflow?.id ?? '',
      runner: { authenticated: false },
      idempotencyKey: 'the first of the new one',
      expiresAt,
    });
    await pushRun(scope, opened.id, someAttested('new'), new Date());
    const [newest] = (await listRuns(scope, { limit: 1 })).items;
    assert.deepEqual([newest?.id, newest?.state], [opened.id, 'success']);
    const meanwhile = kind === 'pglite' ? '' : `; ${old} attestations of the old server meanwhile, the longest ${Math.round(longestMs)} ms`;
    record(t, {
      fault: 'F13',
      what: `a database of the last release is upgraded while a server of that release goes on (${kind})`,
      trials: 1,
      sees: 'nothing',
      stored: 'all that it held, and what the old server took meanwhile',
      figure: `${runs} runs: ${(tookMs / 1000).toFixed(1)} s${meanwhile}`,
    });
  });
}

test('a dump of before the audit log, loaded in the other kind of database, is upgraded, and a log begins for what there is', async (t) => {
  if (!needs(t, 'postgresql')) return;
  await using stack = new AsyncDisposableStack();
  let dumped: readonly string[];
  {
    await using session = await openSession(await newPlace('postgresql', stack), { make: true });
    await session.migrate(released);
    await fill(session);
    dumped = (await Array.fromAsync(dump(session, 'postgresql'))).join('').trimEnd().split('\n');
  }
  const target = await newPlace('pglite', stack);
  {
    await using session = await openSession(target, { make: true });
    const { $end } = JSON.parse(dumped.at(-1) ?? '');
    await load(session, $end, rowsIn(dumped.slice(0, -1)));
    assert.deepEqual(await checkRestored(session, $end.takenAt, () => {}), { chains: 0, rows: 0, altered: [] });
  }
  await using database = await connect('folder' in target ? { dataDir: target.folder } : target);
  const scope = database.scope(organizationId ?? '', tester);
  assert.equal((await listRuns(scope, { limit: 100 })).items.length, 100);
  const { items } = await listAudit(scope, { limit: 10 });
  assert.deepEqual(
    items.map(({ entry: { sequence, action } }) => [sequence, action]),
    [[1, 'audit.begin']],
  );
});

/** A database of the kind that nobody has used. */
async function newPlace(kind: Kind, stack: AsyncDisposableStack): Promise<Place> {
  if (kind === 'postgresql') return { databaseUrl: await stack.use(await startPostgres()).createDatabase() };
  return { folder: join(stack.use(await mkdtempDisposable(join(tmpdir(), 'chainloop-upgrade-'))).path, 'database') };
}

async function* rowsIn(lines: readonly string[]): AsyncGenerator<DumpedRow> {
  for (const line of lines) {
    const [prefix = '', table = ''] = /^\{"(\w+)":/.exec(line) ?? [];
    yield { table, json: line.slice(prefix.length, -1) };
  }
}

test('what looks at every row of a table that was there before does so beside writers: IF NOT EXISTS for indexes, NOT VALID for constraints', async () => {
  const folder = new URL('migrations/', import.meta.url);
  const files = (await readdir(folder)).filter((name) => name.endsWith('.sql')).toSorted();
  const known = new Set<string>();
  const unchecked = files.flatMap((file, number) => {
    const text = readFileSync(new URL(file, folder), 'utf8');
    const checks = Array.from(
      text.matchAll(/ALTER TABLE "(?:runs|run_materials|evidence)" ADD CONSTRAINT "(\w+)" (?:CHECK|FOREIGN KEY) .*/g),
    );
    return checks.flatMap(([statement, name]) => (number >= released && !statement.includes('NOT VALID') ? [`${file}: ${name}`] : []));
  });
  assert.deepEqual(unchecked, [], 'validateConstraints (db/prebuild.ts) checks the rows of the large tables that were there before');
  const blocking = files.flatMap((file, number) => {
    const text = readFileSync(new URL(file, folder), 'utf8');
    const before = new Set(known);
    for (const [, table = ''] of text.matchAll(/CREATE TABLE "(\w+)"/g)) known.add(table);
    const made = Array.from(text.matchAll(/CREATE (?:UNIQUE )?INDEX (IF NOT EXISTS )?"(\w+)" ON "(\w+)"/g));
    return made.flatMap(([, asked, index, table = '']) =>
      number >= released && before.has(table) && asked === undefined ? [`${file}: ${index}`] : [],
    );
  });
  assert.deepEqual(blocking, [], 'db/prebuild.ts builds what says CREATE INDEX IF NOT EXISTS');
});
