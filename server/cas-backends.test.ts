import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestOf, hexOf } from '../core/digest.ts';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import {
  createCasBackend,
  describeCurrentCasBackend,
  recordCheck,
  setDefaultCasBackend,
  setFallbackCasBackend,
  takeDueCasBackends,
} from '../db/cas-backends.ts';
import { forEachDatabase, newOrganization } from '../test/databases.ts';
import { commandLine } from '../test/fakes/command-line.ts';
import { startControlPlane } from '../test/fakes/control-plane.ts';
import { startRegistry } from '../test/fakes/docker-registry.ts';
import { jobContract, startJob, text } from '../test/fakes/job.ts';
import { type FakeS3, startS3 } from '../test/fakes/s3.ts';
import { startTinyRegistry } from '../test/fakes/tiny-registry.ts';
import { refused, succeeded } from '../test/fakes/workplace.ts';
import { needs } from '../test/needs.ts';
import { createLog } from './log.ts';
import { validateDue } from './validation.ts';

function bucketOf({ bucket, region, origin, credentials }: FakeS3) {
  return { provider: 's3', bucket, region, endpoint: origin, ...credentials } as const;
}

async function onThePlane() {
  const stack = new AsyncDisposableStack();
  const s3 = stack.use(await startS3());
  const plane = stack.use(await startControlPlane());
  const { api, token, name } = await plane.createOrganization('acme');
  const line = stack.use(await commandLine({ CHAINLOOP_URL: plane.url, CHAINLOOP_TOKEN: token }));
  return { s3, plane, api, token, name, line, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

test('evidence and attestations of a job lie in a bucket, verify, and are downloaded; no secret is shown or logged', async () => {
  await using at = await onThePlane();
  const { s3, api, line } = at;
  const { accessKeyId, secretAccessKey } = s3.credentials;
  const place = ['--bucket', s3.bucket, '--prefix', 'acme/evidence', '--region', s3.region, '--endpoint', s3.origin];
  const added = await line.run(['cas-backend', 'add', 's3', '--name', 'bucket', ...place, '--access-key-id', accessKeyId], {
    env: { CHAINLOOP_S3_SECRET_ACCESS_KEY: secretAccessKey },
  });
  succeeded(added);
  assert.match(added.stdout, /bucket +│ s3 +│ http:\/\/127\.0\.0\.1:\d+\/evidence\/acme\/evidence │ default +│ ok/);

  await api.contract.create.mutate({ name: 'release', format: 'yaml', body: jobContract });
  const token = await at.plane.createServiceAccount(api, { workflow: 'release', project: 'bedrock', contract: 'release' });
  const job = await startJob({ url: at.plane.url, organization: at.name, token, trustedBy: api });
  const run = await job.init();
  const binary = await job.upload('binary', 'the binary');
  await job.push(run, await job.bundle(run, [text('commit', 'x'), binary]));
  const { attestation } = await api.run.describe.query({ id: run.runId });
  assert.deepEqual([attestation?.verified, attestation?.verificationError], [true, null]);
  const hex = hexOf(digestOf('the binary'));
  assert.equal(s3.content(`acme/evidence/blobs/sha256/${hex}`)?.toString(), 'the binary');
  assert.ok(s3.objects.has(`acme/evidence/tags/material-${hex}`));
  assert.ok([...s3.objects.keys()].every((key) => /^acme\/evidence\/(blobs|tags|referrers)\//.test(key)));

  const blob = await fetch(`${at.plane.url}/v2/acme/blobs/sha256:${hex}`, { headers: { authorization: `Bearer ${at.token}` } });
  assert.equal(await blob.text(), 'the binary');
  assert.ok(![at.plane.log.join(''), added.stdout, added.stderr].join('').includes('CANARY'));
});

test('a check of a bucket looks at everything, in order, and leaves nothing behind', async () => {
  await using at = await onThePlane();
  await at.api.casBackend.add.mutate({ name: 'bucket', ...bucketOf(at.s3) });
  const before = [...at.s3.objects.keys()].toSorted();
  const { findings = [], status } = await at.api.casBackend.check.mutate({ name: 'bucket' });
  assert.equal(status, 'ok');
  assert.deepEqual(
    findings.map(({ check, status }) => `${check} ${status}`),
    [
      'address ok',
      'tls note',
      'clock ok',
      'credentials ok',
      'blob ok',
      'manifest ok',
      'pull ok',
      'referrers ok',
      'keeper ok',
      'limits ok',
      'delete ok',
    ],
  );
  const tag = 'tags/chainloop-check';
  assert.deepEqual(
    [...at.s3.objects.keys()].toSorted(),
    before.filter((key) => key !== tag),
  );
  assert.equal(at.s3.multiparts.size, 0);
});

type Broken = readonly [string, Partial<Pick<FakeS3, 'skewMs' | 'secretAccessKey'>>, string | undefined, readonly string[], RegExp];
/** What is wrong, with the fake or with one of its operations; some lines of the answer; what it says to do. */
const broken: readonly Broken[] = [
  ['the secret', { secretAccessKey: 'another' }, undefined, ['credentials failed', 'blob skipped'], /check the credentials/],
  ['writing', {}, 'PutObject', ['credentials ok', 'blob failed'], /s3:PutObject/],
  ['parts', {}, 'UploadPart', ['referrers ok', 'limits failed'], /may not/],
  ['lists', {}, 'ListObjectsV2', ['pull ok', 'referrers failed'], /s3:ListBucket/],
  ['the clock', { skewMs: 16 * 60_000 }, undefined, ['clock failed'], /clock of this server is 9[56]\d s behind/],
];

test('each thing that is broken about a bucket is named, fails the command, and says what to do', async (t) => {
  await using at = await onThePlane();
  await at.api.casBackend.add.mutate({ name: 'bucket', ...bucketOf(at.s3) });
  const { secretAccessKey, skewMs } = at.s3;
  for (const [name, change, operation, lines, advice] of broken) {
    await t.test(name, async () => {
      Object.assign(at.s3, change);
      if (operation !== undefined) at.s3.inject({ operation, code: 'AccessDenied', status: 403, times: 99 });
      const ended = await at.line.run(['cas-backend', 'check', '--name', 'bucket', '--output', 'json']);
      at.s3.clear();
      Object.assign(at.s3, { secretAccessKey, skewMs });
      assert.notEqual(ended.code, 0);
      const { findings, status } = JSON.parse(ended.stdout);
      assert.equal(status, 'invalid');
      const found = findings.map((finding: { check: string; status: string }) => `${finding.check} ${finding.status}`);
      for (const line of lines) assert.ok(found.includes(line), `${line}: ${found}`);
      assert.match(findings.find((finding: { status: string }) => finding.status === 'failed').detail, advice);
    });
  }
});

test('one bucket for two organizations is noticed, whatever it is called and whoever added it, and nothing is removed from it', async () => {
  await using at = await onThePlane();
  await using elsewhere = await startControlPlane();
  const theirs = (await elsewhere.createOrganization('acme')).api;
  const second = (await at.plane.createOrganization('umbrella')).api;
  const bucket = { name: 'bucket', ...bucketOf(at.s3) };
  const byAnotherName = { ...bucket, endpoint: bucket.endpoint.replace('127.0.0.1', 'localhost') };
  await at.api.casBackend.add.mutate(bucket);
  const before = [...at.s3.objects.keys()].toSorted();
  const isRefused = (added: Promise<unknown>, whose: RegExp) => assert.rejects(added, { code: 'CONFLICT', message: whose });
  await isRefused(second.casBackend.add.mutate(byAnotherName), /another organization of this control plane .*--take-over/);
  await isRefused(theirs.casBackend.add.mutate(bucket), /another organization of another control plane .*--take-over/);
  assert.deepEqual(
    [...at.s3.objects.keys()].toSorted().filter((key) => key.startsWith('tags/')),
    before.filter((key) => key.startsWith('tags/')),
  );

  // Taken over while the other one is still there: its next check says so to both.
  await theirs.casBackend.add.mutate({ ...bucket, takeOver: true });
  const keeperOf = async (api: typeof theirs) =>
    (await api.casBackend.check.mutate({ name: 'bucket' })).findings?.find(({ check }) => check === 'keeper');
  for (const api of [at.api, theirs]) {
    const finding = await keeperOf(api);
    assert.equal(finding?.status, 'note');
    assert.match(finding?.detail ?? '', /retention removes nothing, .*chainloop cas-backend take-over --name bucket/);
    await isRefused(api.retention.collect.mutate({ dryRun: false }), /CAS backend 'bucket': nothing is removed from it/);
  }
  await at.api.casBackend.setDefault.mutate({ name: 'default' });
  await at.api.casBackend.remove.mutate({ name: 'bucket' });
  assert.deepEqual(await keeperOf(theirs), { check: 'keeper', status: 'ok', detail: 'nobody else keeps evidence there' });
  assert.equal((await theirs.retention.collect.mutate({ dryRun: false })).failed, 0);
});

test('a registry that lets nothing be removed can be given to a new control plane, when the old one is gone', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry({ delete: false });
  const backend = { name: 'registry', repo: `${registry.host}/evidence`, insecure: true };
  for (const takeOver of [false, true]) {
    await using plane = await startControlPlane();
    const { api } = await plane.createOrganization('acme');
    if (takeOver) await assert.rejects(api.casBackend.add.mutate(backend), { code: 'CONFLICT' });
    assert.equal((await api.casBackend.add.mutate({ ...backend, takeOver })).status, 'ok');
  }
});

test('evidence that nothing speaks for leaves a registry, also when it is no JSON', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry();
  let skewMs = 0;
  await using plane = await startControlPlane({ now: () => new Date(Date.now() + skewMs) });
  const { api, name } = await plane.createOrganization('acme');
  await api.casBackend.add.mutate({ name: 'registry', repo: `${registry.host}/evidence`, insecure: true });
  await api.contract.create.mutate({ name: 'release', format: 'yaml', body: jobContract });
  const token = await plane.createServiceAccount(api, { workflow: 'release', project: 'bedrock', contract: 'release' });
  const { digest } = await (await startJob({ url: plane.url, organization: name, token })).upload('binary', 'never pushed');
  skewMs = 8 * 24 * 60 * 60 * 1000;
  const { evidence, failed } = await api.retention.collect.mutate({ dryRun: false, cursor: 'e:' });
  assert.deepEqual([evidence.map((one) => one.digest), failed], [[digest], 0]);
  const tagged = await fetch(`${registry.origin}/v2/evidence/manifests/material-${digest?.slice('sha256:'.length)}`);
  assert.equal(tagged.status, 404);
});

test('a check of a registry says how referrers are kept, and that deleting is not allowed', async () => {
  for (const referrers of [true, false]) {
    await using registry = await startTinyRegistry({ referrers });
    await using plane = await startControlPlane();
    const { api } = await plane.createOrganization('acme');
    await api.casBackend.add.mutate({ name: 'registry', repo: `${registry.host}/evidence`, insecure: true });
    const { findings = [] } = await api.casBackend.check.mutate({ name: 'registry' });
    const detail = (check: string) => findings.find((finding) => finding.check === check)?.detail ?? '';
    assert.match(detail('referrers'), referrers ? /lists them itself/ : /fallback tag/);
    assert.deepEqual(
      findings.filter(({ status }) => status === 'failed'),
      [],
    );
  }
});

test('new evidence goes to the fallback while the default backend is invalid, each stays readable, and both are told', async () => {
  await using at = await onThePlane();
  await using other = await startS3();
  const { api, line } = at;
  await writeFile(join(line.folder, 'one'), 'one');
  await writeFile(join(line.folder, 'two'), 'two');
  const upload = (file: string) => line.run(['artifact', 'upload', '-f', file]);
  const has = (s3: FakeS3, content: string) => s3.objects.has(`blobs/sha256/${hexOf(digestOf(content))}`);
  await api.casBackend.add.mutate({ name: 'bucket', ...bucketOf(at.s3) });
  await api.casBackend.add.mutate({ name: 'other', ...bucketOf(other), default: false });
  at.s3.inject({ operation: 'PutObject', code: 'AccessDenied', status: 403, times: 999 });
  await api.casBackend.check.mutate({ name: 'bucket' });
  // Nobody named a fallback.
  refused(await upload('one'), 5, /control plane/);
  refused(await line.run(['cas-backend', 'set-fallback', '--name', 'bucket']), 6, /is the default/);
  succeeded(await line.run(['cas-backend', 'set-fallback', '--name', 'other']));
  succeeded(await upload('one'));
  assert.ok(has(other, 'one') && !has(at.s3, 'one'));
  const list = (await line.run(['cas-backend', 'ls'])).stdout;
  assert.match(list, /default \(not in use\) +│ invalid/);
  assert.match(list, /fallback \(in use\) +│ ok/);

  at.s3.clear();
  await api.casBackend.check.mutate({ name: 'bucket' });
  succeeded(await upload('two'));
  assert.ok(has(at.s3, 'two') && !has(other, 'two'));
  for (const content of ['one', 'two']) {
    const blob = await fetch(`${at.plane.url}/v2/acme/blobs/${digestOf(content)}`, { headers: { authorization: `Bearer ${at.token}` } });
    assert.equal(await blob.text(), content);
  }
  refused(await line.run(['cas-backend', 'rm', '--name', 'other']), 6, /holds evidence/);
  const logged = at.plane.log.filter((entry) => entry.includes('newEvidenceGoesTo')).map((entry) => JSON.parse(entry));
  assert.deepEqual(
    logged.map(({ backend, newEvidenceGoesTo }) => [backend, newEvidenceGoesTo]),
    [
      ['bucket', 'bucket'],
      ['bucket', 'bucket'],
    ],
  );
  const metrics = await (await fetch(`${at.plane.url}/metrics`)).text();
  assert.match(metrics, /chainloop_cas_backends\{provider="s3",status="ok"\} 2/);
  assert.match(metrics, /chainloop_cas_backend_oldest_check_timestamp_seconds\{provider="s3",status="ok"\} \d+/);
});

test('a job goes through while the default backend is gone and the disk must not hold evidence', async () => {
  await using at = await onThePlane();
  const { api } = at;
  const { credentials: login, ...gone } = await startS3();
  await api.casBackend.add.mutate({ name: 'gone', ...bucketOf({ ...gone, credentials: login }) });
  await api.casBackend.add.mutate({ name: 'other', ...bucketOf(at.s3), default: false });
  await api.casBackend.setFallback.mutate({ name: 'other' });
  await gone[Symbol.asyncDispose]();
  assert.equal((await api.casBackend.check.mutate({ name: 'gone' })).status, 'invalid');
  // As deploy/kubernetes has it: nothing can be made there.
  await writeFile(join(at.plane.dataDir, 'storage'), '');

  await api.contract.create.mutate({ name: 'release', format: 'yaml', body: jobContract });
  const token = await at.plane.createServiceAccount(api, { workflow: 'release', project: 'bedrock', contract: 'release' });
  const job = await startJob({ url: at.plane.url, organization: at.name, token, trustedBy: api });
  const run = await job.init();
  await job.push(run, await job.bundle(run, [text('commit', 'x'), await job.upload('binary', 'the binary')]));
  assert.equal((await api.run.describe.query({ id: run.runId })).attestation?.verified, true);

  // The folder that cannot be made is no other place to look in.
  await api.casBackend.setDefault.mutate({ name: 'other' });
  await api.casBackend.remove.mutate({ name: 'gone' });
  const headers = { authorization: `Bearer ${at.token}` };
  assert.equal((await fetch(`${at.plane.url}/v2/acme/manifests/absent`, { headers })).status, 404);
  assert.equal((await api.retention.collect.mutate({ dryRun: false, cursor: 'e:' })).failed, 0);
});

forEachDatabase('the fallback counts only while the default is invalid and it is fine itself', async (_, database) => {
  const { scope } = await newOrganization(database);
  const now = new Date();
  const backend = { provider: 'oci', location: 'ghcr.io/acme', insecure: false, credentials: null, isDefault: false } as const;
  await createCasBackend(scope, { ...backend, name: 'other' }, now);
  const current = async () => (await describeCurrentCasBackend(scope)).name;
  await setFallbackCasBackend(scope, 'other');
  assert.equal(await current(), 'default');
  await recordCheck(scope, 'default', 'broken', now);
  assert.equal(await current(), 'other');
  await recordCheck(scope, 'other', 'broken, too', now);
  assert.equal(await current(), 'default');
  await assert.rejects(setFallbackCasBackend(scope, 'absent'), (error) => isChainloopError(error, 'NOT_FOUND'));
  await recordCheck(scope, 'other', null, now);
  assert.equal(await current(), 'other');
  await setDefaultCasBackend(scope, 'other');
  assert.deepEqual([await current(), (await describeCurrentCasBackend(scope)).isFallback], ['other', false]);
});

forEachDatabase('two servers that look for backends to check at once share them', async (_, database) => {
  const { scope } = await newOrganization(database);
  const made = new Date('2001-01-01');
  const backend = { provider: 'oci', location: 'ghcr.io/acme', insecure: false, credentials: null, isDefault: false } as const;
  for (const name of ['a', 'b', 'c', 'd']) await createCasBackend(scope, { ...backend, name }, made);
  const [at, later] = [new Date('2001-01-02'), new Date('2001-01-03')];
  const taken = await Promise.all([1, 2, 3].map(() => takeDueCasBackends(database.system, at, later, 2)));
  const names = taken.flat().map(({ name }) => name);
  assert.deepEqual(names.toSorted(), [...new Set(names)].toSorted());
  const rest = await takeDueCasBackends(database.system, at, later, 9);
  assert.deepEqual([...names, ...rest.map(({ name }) => name)].toSorted(), ['a', 'b', 'c', 'd']);
  assert.deepEqual(await takeDueCasBackends(database.system, at, later, 9), []);
});

forEachDatabase('what is due is checked, kept, and due again sooner when it is broken', async (_, database) => {
  const { scope } = await newOrganization(database);
  const made = new Date('2000-02-01T00:00:00Z');
  const backend = { provider: 'oci', location: 'ghcr.io/acme', insecure: false, credentials: null, isDefault: false } as const;
  await createCasBackend(scope, { ...backend, name: 'works' }, made);
  await createCasBackend(scope, { ...backend, name: 'fails' }, made);
  const lines: string[] = [];
  let at = made;
  const checked: string[] = [];
  const pass = async (minutes: number): Promise<string[]> => {
    at = new Date(made.getTime() + minutes * 60_000);
    checked.length = 0;
    const log = createLog('debug', { write: (line: string) => void lines.push(line) });
    const check = async ({ name }: { readonly name: string }) => {
      checked.push(name);
      return name === 'fails' ? problem : null;
    };
    await validateDue({ database, storages: { check }, log, now: () => at });
    return checked.toSorted();
  };
  const problem = new ChainloopError('REGISTRY_UNAVAILABLE', 'nobody answers');
  assert.deepEqual(await pass(1), []);
  assert.deepEqual(await pass(6), ['fails', 'works']);
  assert.deepEqual(await pass(6.5), []);
  assert.deepEqual(await pass(7.5), ['fails']);
  assert.equal(lines.filter((line) => line.includes('does not work')).length, 1);
});
