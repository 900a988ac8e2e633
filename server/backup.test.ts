import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { copyFile, cp, mkdir, mkdtempDisposable, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import pg from 'pg';
import { createKeylessPorts } from '../client/signing.ts';
import { createKeylessSigner } from '../core/adapters/keyless.ts';
import { formatHead } from '../core/audit.ts';
import { statementPayloadType } from '../core/dsse.ts';
import { isChainloopError } from '../core/errors.ts';
import { loadTrustRoot } from '../core/trust-root.ts';
import { verifyBundle } from '../core/verify.ts';
import type { DatabaseOptions } from '../db/client.ts';
import { databaseKinds, type Kind } from '../test/databases.ts';
import { commandLine } from '../test/fakes/command-line.ts';
import { type ControlPlane, startControlPlane } from '../test/fakes/control-plane.ts';
import { type Job, signBundle, startJob, text } from '../test/fakes/job.ts';
import { startPostgres } from '../test/fakes/postgres.ts';
import { needs } from '../test/needs.ts';
import { backup, restore } from './backup.ts';
import { instanceMark } from './data-directory.ts';

const contract = 'schemaVersion: v1\nmaterials:\n  - { type: STRING, name: commit }\n  - { type: ARTIFACT, name: binary, output: true }\n';
// The same before and after: the identities of service accounts name it.
const publicUrl = 'https://chainloop.example.com';
const ask = (): never => {
  throw new Error('no server is asked');
};
const report = (): void => {};
const anyone = { runner: { authenticated: false }, env: {}, annotations: {} };

type Home = { readonly dataDir: string; readonly database: DatabaseOptions; readonly env: NodeJS.ProcessEnv };

/** A data directory, and a database of the kind that nobody has used. */
async function home(kind: Kind, stack: AsyncDisposableStack): Promise<Home> {
  const dataDir = join(stack.use(await mkdtempDisposable(join(tmpdir(), 'chainloop-backup-'))).path, 'data');
  await mkdir(dataDir);
  if (kind === 'pglite') return { dataDir, database: { dataDir: join(dataDir, 'database') }, env: {} };
  const databaseUrl = await stack.use(await startPostgres()).createDatabase();
  return { dataDir, database: { databaseUrl }, env: { DATABASE_URL: databaseUrl } };
}

const start = ({ dataDir, database }: Home): Promise<ControlPlane> => startControlPlane({ dataDir, database, options: { publicUrl } });

async function attest(job: Job, content: string): Promise<string> {
  const run = await job.init({ runner: anyone.runner });
  await job.push(run, await job.bundle(run, [text('commit', content), await job.upload('binary', content)], { start: anyone }));
  return run.runId;
}

for (const kind of databaseKinds) {
  const other = kind === 'pglite' ? 'postgresql' : 'pglite';
  test(`what is backed up under load in ${kind} is, restored in ${other}, the same instance: attestations, counters, tokens, authorities`, async (t) => {
    if (!needs(t, 'postgresql')) return;
    await using stack = new AsyncDisposableStack();
    const source = await home(kind, stack);
    const target = await home(other, stack);
    const folder = join(source.dataDir, '..', 'backup');
    const plane = await start(source);
    stack.defer(() => plane.close());
    const acme = await plane.createOrganization('acme');
    await acme.api.contract.create.mutate({ name: 'release', format: 'yaml', body: contract });
    const token = await plane.createServiceAccount(acme.api, { workflow: 'release', project: 'bedrock', contract: 'release' });
    const job = await startJob({ url: plane.url, organization: 'acme', token, trustedBy: acme.api, retryBudgetMs: 60_000 });
    const keyless = createKeylessSigner(createKeylessPorts(plane.api(token)));
    const payload = new Uint8Array(Buffer.from('{}'));
    const signedBefore = await signBundle(payload, statementPayloadType, keyless);
    const root = await acme.api.trustRoot.get.query();

    const acknowledged = [await attest(job, 'before the backup')];
    let backedUp = false;
    const load = (async () => {
      for (let i = 0; !backedUp; i++) await attest(job, `during the backup, ${i}`);
    })();
    await using cli = await commandLine({ CHAINLOOP_URL: plane.url });
    const program = async (args: readonly string[], { dataDir, env }: Home): Promise<string> => {
      const { code, stderr } = await cli.run(['server', ...args, '--data-dir', dataDir], { env });
      assert.equal(code, 0, stderr);
      return stderr;
    };
    // Once as users do it, and once without starting the command line.
    // A head from before the backup, as an auditor keeps it.
    const kept = formatHead(await acme.api.audit.head.query());
    if (kind === 'pglite') await program(['backup', '--output', folder], source);
    else await backup({ dataDir: source.dataDir, env: source.env, report, output: folder, evidence: true, version: '1', ask });
    backedUp = true;
    await load;
    await plane.close();

    await copyFile(join(source.dataDir, 'master-key'), join(target.dataDir, 'master-key'));
    await copyFile(join(source.dataDir, 'owner-token'), join(target.dataDir, 'owner-token'));
    if (kind === 'pglite') assert.match(await program(['restore', '--input', folder], target), /audit log verified.*2.*rows/);
    else {
      const { audit } = await restore({ dataDir: target.dataDir, env: target.env, report, input: folder });
      assert.deepEqual([audit.chains, audit.altered, audit.rows > 0], [2, [], true]);
    }
    const again = await start(target);
    stack.defer(() => again.close());
    const [was, is] = await Promise.all([source, target].map(({ dataDir }) => readFile(instanceMark(dataDir), 'utf8')));
    assert.notEqual(was, is, 'in storage that both see it is told from the one that it is a copy of');
    const api = again.api(acme.token);
    const operator = { CHAINLOOP_URL: again.url, CHAINLOOP_TOKEN: acme.token };
    const verified = await cli.run(['audit', 'verify', '--head', kept], { env: operator });
    assert.equal(verified.code, 0, verified.stderr);
    const { items: restored } = await api.audit.list.query({ action: 'backup.restore' });
    assert.deepEqual(
      restored.map(({ entry }) => [entry.actor.name, entry.resource.name, Object.keys(entry.details)]),
      [['restore', 'database', ['takenAt']]],
    );
    const { items: made } = await again.api(again.ownerToken).instanceAudit.list.query({ action: 'backup.make' });
    assert.equal(made.length, kind === 'pglite' ? 1 : 0, 'what a server gives away is in the log, and in the backup itself');
    const { items: runs } = await api.run.list.query({ limit: 100 });
    const done = runs.filter(({ state }) => state === 'success').map(({ id }) => id);
    assert.ok(
      acknowledged.every((id) => done.includes(id)),
      'what was acknowledged before is there',
    );
    for (const id of done) {
      const { attestation } = await api.run.describe.query({ id });
      assert.deepEqual([attestation?.verified, attestation?.verificationError], [true, null]);
      verifyBundle(JSON.stringify(attestation?.bundle), { type: 'keys', keys: [{ name: 'release', pem: job.publicKeyPem }] });
    }
    const [workflow] = (await api.workflow.list.query({})).items;
    assert.equal(workflow?.runsCount, runs.length);

    assert.deepEqual(await api.trustRoot.get.query(), root);
    const newJob = await startJob({ url: again.url, organization: 'acme', token, trustedBy: api });
    assert.ok(await attest(newJob, 'after the restore'));
    const { identity } = await again.api(token).auth.whoami.query();
    const policy = {
      type: 'identity',
      trustRoot: await loadTrustRoot(JSON.stringify(root)),
      identity: { exact: identity?.san ?? '' },
      issuer: publicUrl,
      strict: true,
    } as const;
    const signer = createKeylessSigner(createKeylessPorts(again.api(token)));
    for (const bundle of [signedBefore, await signBundle(payload, statementPayloadType, signer)]) verifyBundle(bundle, policy);
    assert.equal((await again.api(again.ownerToken).organization.list.query({})).items.length, 1, 'the owner token works');
  });
}

test('an audit log that was altered before the backup is restored as it was, and the organization and the row are named', async (t) => {
  if (!needs(t, 'postgresql')) return;
  await using stack = new AsyncDisposableStack();
  const [source, target] = [await home('postgresql', stack), await home('pglite', stack)];
  const plane = await start(source);
  const { api } = await plane.createOrganization('acme');
  await plane.createOrganization('umbrella');
  await api.contract.create.mutate({ name: 'release', format: 'yaml', body: contract });
  await plane.close();
  const client = new pg.Client({ connectionString: source.env.DATABASE_URL });
  await client.connect();
  await client.query(`begin; alter table audit_log disable trigger user, no force row level security;
    update audit_log set actor_name = 'somebody else' where action = 'contract.create';
    alter table audit_log enable trigger user, force row level security; commit`);
  await client.end();
  const folder = join(source.dataDir, '..', 'backup');
  await backup({ dataDir: source.dataDir, env: source.env, report, output: folder, evidence: true, version: '1', ask });
  await copyFile(join(source.dataDir, 'master-key'), join(target.dataDir, 'master-key'));
  const { audit } = await restore({ dataDir: target.dataDir, env: target.env, report, input: folder });
  assert.equal(audit.chains, 3);
  assert.deepEqual(
    audit.altered.map(({ chain }) => chain),
    ['acme'],
  );
  assert.match(audit.altered[0]?.problem ?? '', /row \d+ was altered.*contract\.create release/);
});

test('a backup that was cut off, changed or is of another instance restores nothing, and says why', async (t) => {
  if (!needs(t, 'postgresql')) return;
  await using stack = new AsyncDisposableStack();
  const source = await home('postgresql', stack);
  const target = await home('postgresql', stack);
  const plane = await start(source);
  const acme = await plane.createOrganization('acme');
  await acme.api.contract.create.mutate({ name: 'release', format: 'yaml', body: contract });
  const token = await plane.createServiceAccount(acme.api, { workflow: 'release', project: 'bedrock', contract: 'release' });
  await attest(await startJob({ url: plane.url, organization: 'acme', token, trustedBy: acme.api }), 'evidence');
  await plane.close();
  const whole = join(source.dataDir, '..', 'whole');
  const settings = { dataDir: source.dataDir, env: source.env, report };
  await backup({ ...settings, output: whole, evidence: true, version: '1', ask });
  await assert.rejects(backup({ ...settings, output: whole, evidence: true, version: '1', ask }), { code: 'CONFLICT' });
  // What somebody puts there while a backup runs stays.
  const taken = `${whole}-taken`;
  const put = (): void => {
    mkdirSync(taken, { recursive: true });
    writeFileSync(join(taken, 'precious'), '');
  };
  await assert.rejects(backup({ ...settings, report: put, output: taken, evidence: true, version: '1', ask }), { code: 'CONFLICT' });
  assert.deepEqual(await readdir(taken), ['precious']);
  await copyFile(join(source.dataDir, 'master-key'), join(target.dataDir, 'master-key'));

  const database = 'database.jsonl.gz';
  const edit = async (path: string, change: (content: Buffer) => Buffer): Promise<void> => writeFile(path, change(await readFile(path)));
  const inText = (from: RegExp, to: string) => (content: Buffer) => Buffer.from(content.toString().replace(from, to));
  const blobs = 'storage/acme/blobs/sha256';
  const rows: readonly (readonly [string, (folder: string) => Promise<unknown>, { readonly code: string; readonly message: RegExp }])[] = [
    [
      'cut off',
      (folder) => truncate(join(folder, database), 900),
      { code: 'DIGEST_MISMATCH', message: /database\.jsonl\.gz is cut off or was changed/ },
    ],
    [
      'another row',
      (folder) => edit(join(folder, database), (content) => gzipSync(inText(/"release"/, '"malware"')(gunzipSync(content)))),
      { code: 'DIGEST_MISMATCH', message: /database\.jsonl\.gz/ },
    ],
    [
      'another count',
      (folder) => edit(join(folder, 'backup.json'), inText(/"rows": 1/, '"rows": 2')),
      { code: 'DIGEST_MISMATCH', message: /backup\.json/ },
    ],
    ['without seal', (folder) => rm(join(folder, 'backup.seal')), { code: 'USAGE', message: /not a whole one: backup\.seal is missing/ }],
    ['another list', (folder) => rm(join(folder, 'evidence.jsonl.gz')), { code: 'DIGEST_MISMATCH', message: /evidence\.jsonl\.gz/ }],
    [
      'other evidence',
      async (folder) => {
        const [name = ''] = await readdir(join(folder, blobs));
        await edit(join(folder, blobs, name), (content) => Buffer.concat([content, Buffer.from('x')]));
      },
      { code: 'DIGEST_MISMATCH', message: /blobs\/sha256\/[0-9a-f]{64} is cut off or was changed: these are other bytes/ },
    ],
  ];
  const attempt = { dataDir: target.dataDir, env: target.env, report };
  for (const [name, damage, expected] of rows) {
    const folder = join(source.dataDir, '..', name);
    await cp(whole, folder, { recursive: true });
    await damage(folder);
    await assert.rejects(restore({ ...attempt, input: folder }), (error) => {
      assert.ok(isChainloopError(error), `${name}: ${String(error)}`);
      assert.deepEqual([error.code, expected.message.test(error.message) || error.message], [expected.code, true], name);
      return true;
    });
  }
  const otherKey = { ...attempt, env: { ...target.env, CHAINLOOP_MASTER_KEY: Buffer.alloc(32, 7).toString('hex') } };
  await assert.rejects(restore({ ...otherKey, input: whole }), {
    code: 'USAGE',
    message:
      /^master key: .* is of an instance with master key [0-9a-f]{8}, and this one is [0-9a-f]{8}; put the file master-key of that instance/,
  });
  await assert.rejects(
    backup({ ...settings, ...otherKey, env: { ...otherKey.env, ...source.env }, output: `${whole}-2`, evidence: true, version: '1', ask }),
    {
      code: 'USAGE',
      message: /is not that of this instance/,
    },
  );
  assert.deepEqual(await readdir(target.dataDir), ['master-key'], 'nothing was left by any of these');
  await restore({ ...attempt, input: whole });
  await assert.rejects(restore({ ...attempt, input: whole }), { code: 'CONFLICT' });
});

test('only the owner of the instance gets a backup from a server, and only of an embedded database', async () => {
  await using plane = await startControlPlane();
  const { token } = await plane.createOrganization('acme');
  const get = (authorization?: string) =>
    fetch(`${plane.url}/backup`, { headers: authorization === undefined ? {} : { authorization: `Bearer ${authorization}` } });
  assert.equal((await get()).status, 401);
  assert.equal((await get(token)).status, 404);
  const answer = await get(plane.ownerToken);
  assert.equal(answer.status, 200);
  const lines = gunzipSync(Buffer.from(await answer.arrayBuffer()))
    .toString()
    .trimEnd()
    .split('\n');
  assert.ok(lines.some((line) => line.startsWith('{"organizations":')));
  assert.match(lines.at(-1) ?? '', /^\{"\$end":/);
});
