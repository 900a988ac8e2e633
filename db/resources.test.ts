import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { digestOf } from '../core/digest.ts';
import { type ErrorCode, isChainloopError } from '../core/errors.ts';
import { forEachDatabase, newOrganization, tester } from '../test/databases.ts';
import {
  createCasBackend,
  describeCasBackend,
  listCasBackends,
  type NewCasBackend,
  recordCheck,
  removeCasBackend,
  setDefaultCasBackend,
} from './cas-backends.ts';
import { addRevision, createContract, describeContract, listContracts, removeContract } from './contracts.ts';
import { findEvidence, hasEvidenceOfSize, listUses, recordEvidence } from './evidence.ts';
import { newWorkflow, openedRun, someAttested, someContent } from './fixtures.ts';
import { createKey, listKeys, removeKey, trustedKeys } from './keys.ts';
import { countRunners, countRuns } from './metrics.ts';
import { createOrganization, describeOrganization, findOrganization, listOrganizations } from './organizations.ts';
import { listProjects } from './projects.ts';
import { endRun, openRun, pushRun } from './run-states.ts';
import { describeRun, listRuns } from './runs.ts';
import { findSetting, settle } from './settings.ts';
import { createOwnerToken, createToken, findToken, hasOwnerToken, listTokens, revokeToken, touchToken } from './tokens.ts';
import { createWorkflow, describeWorkflow, findWorkflow, listWorkflows, removeWorkflow, updateWorkflow } from './workflows.ts';

const now = new Date('2026-11-23T10:00:00.000Z');
const page = { limit: 50 };

function refuses(code: ErrorCode, promise: Promise<unknown>): Promise<void> {
  return assert.rejects(promise, (error) => isChainloopError(error, code));
}

forEachDatabase('an organization begins with a default CAS backend, and its name is taken once', async (_, database) => {
  const { id, name, scope } = await newOrganization(database);
  assert.deepEqual(await findOrganization(database.system, name), await describeOrganization(scope));
  assert.equal((await listOrganizations(database.system, { limit: 1 })).items[0]?.id, id);
  assert.deepEqual(
    (await listCasBackends(scope)).map((backend) => [backend.name, backend.isDefault, backend.status]),
    [['default', true, 'ok']],
  );
  await refuses('ALREADY_EXISTS', createOrganization(database.system, { name, backend: { name: 'b', provider: 'layout', location: 'x' } }));
  assert.equal(await findOrganization(database.system, 'nobody'), undefined);
  await refuses('NOT_FOUND', describeOrganization(database.scope(randomUUID(), tester)));
});

forEachDatabase('a revision is added only when the content differs', async (_, database) => {
  const { scope } = await newOrganization(database);
  await createContract(scope, 'release', someContent('one'));
  await refuses('ALREADY_EXISTS', createContract(scope, 'release', someContent('one')));
  const same = await addRevision(scope, 'release', { ...someContent('one'), body: 'one # with a comment' });
  assert.deepEqual([same.changed, same.revision, same.body], [false, 1, 'one']);
  const next = await addRevision(scope, 'release', someContent('two'));
  assert.deepEqual([next.changed, next.revision, next.latestRevision, next.body], [true, 2, 2, 'two']);
  assert.equal((await describeContract(scope, 'release', 1)).body, 'one');
  assert.equal((await describeContract(scope, 'release')).body, 'two');
  await refuses('NOT_FOUND', describeContract(scope, 'release', 3));
  await refuses('NOT_FOUND', addRevision(scope, 'absent', someContent('x')));
});

forEachDatabase('revisions added at once get numbers one after the other', async (_, database) => {
  const { scope } = await newOrganization(database);
  await createContract(scope, 'release', someContent('0'));
  const added = await Promise.all(Array.from({ length: 8 }, (_one, index) => addRevision(scope, 'release', someContent(`${index + 1}`))));
  assert.deepEqual(added.map(({ revision }) => revision).sort(), [2, 3, 4, 5, 6, 7, 8, 9]);
});

forEachDatabase('a contract in use is not removed; a removed one frees its name', async (_, database) => {
  const { scope } = await newOrganization(database);
  const workflow = await newWorkflow(scope, 'release', 'bedrock');
  assert.deepEqual(
    (await listContracts(scope, page)).items.map(({ name, workflows }) => [name, workflows]),
    [['release', ['bedrock/release']]],
  );
  await assert.rejects(
    removeContract(scope, 'release'),
    (error) => isChainloopError(error, 'CONFLICT') && error.message.includes('bedrock/release'),
  );
  await removeWorkflow(scope, workflow, now);
  await removeContract(scope, 'release');
  await refuses('NOT_FOUND', removeContract(scope, 'release'));
  await refuses('NOT_FOUND', describeContract(scope, 'release'));
  await createContract(scope, 'release', someContent('again'));
});

forEachDatabase('a workflow makes its project and its contract, and reuses those that are there', async (_, database) => {
  const { scope } = await newOrganization(database);
  const one = await newWorkflow(scope, 'release', 'bedrock');
  assert.deepEqual([one.project, one.contractName, one.contractRevision, one.runsCount, one.lastRunId], ['bedrock', 'release', 1, 0, null]);
  const two = await createWorkflow(scope, { name: 'nightly', project: 'bedrock', team: '', contract: 'release' });
  assert.deepEqual([two.projectId, two.contractId], [one.projectId, one.contractId]);
  const other = await newWorkflow(scope, 'release', 'docs');
  assert.equal(other.contractId, one.contractId);
  await refuses('ALREADY_EXISTS', newWorkflow(scope, 'release', 'bedrock'));
  await refuses('NOT_FOUND', createWorkflow(scope, { name: 'x', project: 'bedrock', team: '', contract: 'absent' }));
  assert.deepEqual(
    (await listProjects(scope, page)).items.map(({ name }) => name),
    ['docs', 'bedrock'],
  );
  assert.deepEqual(
    (await listWorkflows(scope, page)).items.map(({ id }) => id),
    [other.id, two.id, one.id],
  );
  assert.partialDeepStrictEqual([other], (await listWorkflows(scope, { ...page, project: 'docs' })).items);
});

forEachDatabase('workflows made at once share one new project', async (_, database) => {
  const { scope } = await newOrganization(database);
  await createContract(scope, 'release', someContent());
  await Promise.all(
    Array.from({ length: 8 }, (_one, index) =>
      createWorkflow(scope, { name: `w${index}`, project: 'bedrock', team: '', contract: 'release' }),
    ),
  );
  assert.equal((await listProjects(scope, page)).items.length, 1);
});

forEachDatabase('a change of contract is for runs to come', async (_, database) => {
  const { scope } = await newOrganization(database);
  const workflow = await newWorkflow(scope, 'release', 'bedrock');
  const before = await openedRun(scope, workflow.id);
  await createContract(scope, 'strict', someContent('strict'));
  const changed = await updateWorkflow(scope, workflow, { contract: 'strict' });
  assert.deepEqual([changed.contractName, changed.team], ['strict', 'core']);
  assert.equal((await updateWorkflow(scope, workflow, { team: 'sre' })).team, 'sre');
  assert.equal((await describeRun(scope, before.id)).contractName, 'release');
  assert.equal((await openedRun(scope, workflow.id)).contractName, 'strict');
  await refuses('NOT_FOUND', updateWorkflow(scope, workflow, { contract: 'absent' }));
  await refuses('NOT_FOUND', updateWorkflow(scope, { name: 'absent', project: 'bedrock' }, { team: 'x' }));
});

forEachDatabase('a removed workflow is hidden, opens no run and ends its tokens; its runs stay', async (_, database) => {
  const { scope } = await newOrganization(database);
  const workflow = await newWorkflow(scope, 'release', 'bedrock');
  const run = await openedRun(scope, workflow.id);
  const hash = digestOf(randomUUID());
  await createToken(scope, { name: 'ci', hash, expiresAt: null, workflowId: workflow.id });
  await removeWorkflow(scope, workflow, now);
  await refuses('NOT_FOUND', describeWorkflow(scope, workflow));
  await refuses('NOT_FOUND', openedRun(scope, workflow.id));
  assert.deepEqual((await listWorkflows(scope, page)).items, []);
  assert.deepEqual((await findWorkflow(scope, workflow.id))?.deletedAt, now);
  assert.deepEqual(
    (await listRuns(scope, page)).items.map(({ id }) => id),
    [run.id],
  );
  assert.deepEqual((await findToken(database.system, hash))?.revokedAt, now);
  assert.notEqual((await newWorkflow(scope, 'release', 'bedrock')).id, workflow.id);
});

forEachDatabase('runs are listed by workflow, project and state', async (_, database) => {
  const { scope } = await newOrganization(database);
  const [release, docs] = [await newWorkflow(scope, 'release', 'bedrock'), await newWorkflow(scope, 'release', 'docs')];
  const failed = await openedRun(scope, release.id);
  await endRun(scope, failed.id, { state: 'failed', reason: 'x', now });
  const open = await openedRun(scope, release.id);
  const other = await openedRun(scope, docs.id);
  const ids = async (filter: Parameters<typeof listRuns>[1]) => (await listRuns(scope, filter)).items.map(({ id }) => id);
  assert.deepEqual(await ids(page), [other.id, open.id, failed.id]);
  assert.deepEqual(await ids({ ...page, workflowId: release.id }), [open.id, failed.id]);
  assert.deepEqual(await ids({ ...page, project: 'docs' }), [other.id]);
  assert.deepEqual(await ids({ ...page, project: 'bedrock', state: 'failed' }), [failed.id]);
  assert.deepEqual(await ids({ ...page, workflowId: docs.id, state: 'failed' }), []);
  assert.deepEqual(await ids({ ...page, project: 'absent' }), []);
});

forEachDatabase('a token is found by its hash, whoever it belongs to, and by nothing else', async (_, database) => {
  const { id, name, scope } = await newOrganization(database);
  const workflow = await newWorkflow(scope, 'release', 'bedrock');
  const [api, account] = [digestOf(randomUUID()), digestOf(randomUUID())];
  await createToken(scope, { name: 'ops', hash: api, expiresAt: now, role: 'admin' });
  const made = await createToken(scope, { name: 'ci', hash: account, expiresAt: null, workflowId: workflow.id });
  assert.deepEqual([made.kind, made.workflow, made.project, made.lastUsedAt], ['service-account', 'release', 'bedrock', null]);
  const found = await findToken(database.system, api);
  assert.deepEqual(
    [found?.organizationId, found?.organization, found?.kind, found?.expiresAt, found?.workflow],
    [id, name, 'api', now, null],
  );
  assert.deepEqual(await findToken(database.system, account), { ...made, organization: name });
  assert.equal(await findToken(database.system, digestOf('unknown')), undefined);
  assert.deepEqual((await listTokens(scope, 'service-account', page)).items, [made]);
  await refuses(
    'NOT_FOUND',
    createToken((await newOrganization(database)).scope, { name: 'ci', hash: digestOf('t'), expiresAt: null, workflowId: workflow.id }),
  );
});

forEachDatabase('a revoked token stays revoked, and frees its name', async (_, database) => {
  const { scope } = await newOrganization(database);
  const token = await createToken(scope, { name: 'ops', hash: digestOf(randomUUID()), expiresAt: null, role: 'admin' });
  await refuses('ALREADY_EXISTS', createToken(scope, { name: 'ops', hash: digestOf(randomUUID()), expiresAt: null, role: 'admin' }));
  assert.deepEqual((await revokeToken(scope, 'api', token.id, now)).revokedAt, now);
  assert.deepEqual((await revokeToken(scope, 'api', token.id, new Date())).revokedAt, now);
  await createToken(scope, { name: 'ops', hash: digestOf(randomUUID()), expiresAt: null, role: 'admin' });
  await refuses('NOT_FOUND', revokeToken(scope, 'service-account', token.id, now));
  await refuses('NOT_FOUND', revokeToken((await newOrganization(database)).scope, 'api', token.id, now));
});

forEachDatabase('the use of a token is noted once a minute', async (_, database) => {
  const { scope } = await newOrganization(database);
  const hash = digestOf(randomUUID());
  const { id } = await createToken(scope, { name: 'ops', hash, expiresAt: null, role: 'admin' });
  const used = async (at: string) => {
    await touchToken(database.system, id, new Date(at));
    return (await findToken(database.system, hash))?.lastUsedAt?.toISOString();
  };
  assert.equal(await used('2026-11-23T10:00:00.000Z'), '2026-11-23T10:00:00.000Z');
  assert.equal(await used('2026-11-23T10:00:59.000Z'), '2026-11-23T10:00:00.000Z');
  assert.equal(await used('2026-11-23T10:01:01.000Z'), '2026-11-23T10:01:01.000Z');
});

forEachDatabase('the owner token is of no organization', async (_, database) => {
  const hash = digestOf(randomUUID());
  await createOwnerToken(database.system, { name: 'owner', hash, expiresAt: null });
  assert.equal(await hasOwnerToken(database.system), true);
  const owner = await findToken(database.system, hash);
  assert.deepEqual([owner?.kind, owner?.organizationId, owner?.organization], ['owner', null, null]);
  await refuses('ALREADY_EXISTS', createOwnerToken(database.system, { name: 'owner', hash, expiresAt: null }));
});

forEachDatabase('a key is trusted once, under one name', async (_, database) => {
  const { scope } = await newOrganization(database);
  const key = await createKey(scope, { name: 'release', hint: 'h1', type: 'P-256', pem: 'pem' });
  await refuses('ALREADY_EXISTS', createKey(scope, { name: 'release', hint: 'h2', type: 'P-256', pem: 'pem' }));
  await refuses('ALREADY_EXISTS', createKey(scope, { name: 'other', hint: 'h1', type: 'P-256', pem: 'pem' }));
  assert.deepEqual(await trustedKeys(scope), [key]);
  assert.deepEqual(await trustedKeys((await newOrganization(database)).scope), []);
  assert.deepEqual((await listKeys(scope, page)).items, [key]);
  await removeKey(scope, 'release');
  assert.deepEqual(await trustedKeys(scope), []);
  await refuses('NOT_FOUND', removeKey(scope, 'release'));
});

forEachDatabase('there is always exactly one default CAS backend', async (_, database) => {
  const { scope } = await newOrganization(database);
  const backend: NewCasBackend = {
    name: 'ghcr',
    provider: 'oci',
    location: 'ghcr.io/acme/evidence',
    insecure: false,
    credentials: Buffer.from('ciphertext'),
    isDefault: true,
  };
  const added = await createCasBackend(scope, backend, now);
  assert.deepEqual(await describeCasBackend(scope, 'default'), added);
  assert.deepEqual(Buffer.from(added.credentials ?? []).toString(), 'ciphertext');
  await refuses('ALREADY_EXISTS', createCasBackend(scope, backend, now));
  await refuses('CONFLICT', removeCasBackend(scope, 'ghcr'));
  await refuses('NOT_FOUND', setDefaultCasBackend(scope, 'absent'));
  assert.equal((await describeCasBackend(scope, 'default')).name, 'ghcr');
  await setDefaultCasBackend(scope, 'default');
  assert.equal((await describeCasBackend(scope, 'default')).name, 'default');
  assert.deepEqual((await recordCheck(scope, 'ghcr', 'answers 401', now)).problem, 'answers 401');
  assert.deepEqual((await recordCheck(scope, 'ghcr', null, now)).status, 'ok');
  await recordEvidence(scope, { digest: digestOf('e'), casBackendId: added.id, sizeBytes: 1 });
  await refuses('CONFLICT', removeCasBackend(scope, 'ghcr'));
  assert.equal((await describeCasBackend(scope, { id: added.id })).name, 'ghcr');
  await refuses('NOT_FOUND', describeCasBackend((await newOrganization(database)).scope, { id: added.id }));
});

forEachDatabase('evidence is one row per organization and digest, whatever arrives first', async (_, database) => {
  const { scope } = await newOrganization(database);
  const casBackendId = (await describeCasBackend(scope, 'default')).id;
  const [digest, manifestDigest] = [digestOf('blob'), digestOf('manifest')];
  await recordEvidence(scope, { digest, casBackendId, sizeBytes: 4, mediaType: 'text/plain', fileName: 'a.txt', manifestDigest });
  await recordEvidence(scope, { digest, casBackendId, sizeBytes: 4 });
  const [row, ...more] = await findEvidence(scope, [digest, digestOf('absent')]);
  assert.deepEqual(more, []);
  assert.deepEqual([row?.mediaType, row?.fileName, row?.manifestDigest, row?.sizeBytes], ['text/plain', 'a.txt', manifestDigest, 4]);
  await recordEvidence(scope, { digest, casBackendId, sizeBytes: 4, mediaType: 'text/evil', fileName: 'evil.txt', manifestDigest });
  const [again] = await findEvidence(scope, [digest]);
  assert.deepEqual([again?.mediaType, again?.fileName], ['text/plain', 'a.txt']);
  await recordEvidence(scope, { digest: digestOf('late'), casBackendId, sizeBytes: 4 });
  await recordEvidence(scope, { digest: digestOf('late'), casBackendId, sizeBytes: 4, mediaType: 'text/plain', fileName: 'a.txt' });
  const [late] = await findEvidence(scope, [digestOf('late')]);
  assert.deepEqual([late?.mediaType, late?.fileName], ['text/plain', 'a.txt']);
  assert.deepEqual(await findEvidence(scope, []), []);
  assert.deepEqual(await findEvidence((await newOrganization(database)).scope, [digest]), []);
});

forEachDatabase('large evidence is known by its size, in its organization and its backend only', async (_, database) => {
  const { scope } = await newOrganization(database);
  const casBackendId = (await describeCasBackend(scope, 'default')).id;
  const elsewhere = (await newOrganization(database)).scope;
  const large = 9 * 1024 * 1024;
  await recordEvidence(scope, { digest: digestOf('large'), casBackendId, sizeBytes: large });
  await recordEvidence(scope, { digest: digestOf('small'), casBackendId, sizeBytes: 5 });
  const known = (of: typeof scope, backend: string, sizeBytes: number) => hasEvidenceOfSize(of, backend, sizeBytes);
  assert.equal(await known(scope, casBackendId, large), true);
  assert.equal(await known(scope, casBackendId, large + 1), false);
  assert.equal(await known(scope, casBackendId, 5), false, 'what is small is hashed before it is sent');
  assert.equal(await known(scope, randomUUID(), large), false);
  assert.equal(await known(elsewhere, casBackendId, large), false);
});

forEachDatabase('a digest leads to the runs that brought it, of this organization only', async (_, database) => {
  const [one, two] = [await newOrganization(database), await newOrganization(database)];
  const artifact = digestOf(randomUUID());
  const runs: string[] = [];
  for (const { scope } of [one, one, two]) {
    const run = await openedRun(scope, (await newWorkflow(scope)).id);
    await pushRun(scope, run.id, someAttested(run.id, artifact), now);
    runs.unshift(run.id);
  }
  assert.deepEqual(
    (await listUses(one.scope, artifact, page)).items.map(({ id, material }) => [id, material]),
    [
      [runs[1], 'server'],
      [runs[2], 'server'],
    ],
  );
});

forEachDatabase('metrics are the counters, of all organizations', async (_, database) => {
  const { name, scope } = await newOrganization(database);
  const workflow = await newWorkflow(scope, 'release', 'bedrock');
  const run = await openRun(scope, {
    workflowId: workflow.id,
    runner: { type: 'GITHUB_ACTION', authenticated: false },
    idempotencyKey: randomUUID(),
    expiresAt: new Date('2099-01-01'),
  });
  await pushRun(scope, run.id, someAttested('m'), now);
  await openedRun(scope, workflow.id);
  const of = <T extends { readonly organization: string }>(rows: readonly T[]) => rows.filter((row) => row.organization === name);
  assert.deepEqual(of(await countRuns(database.system, 1000)), [
    { organization: name, project: 'bedrock', workflow: 'release', initialized: 1, success: 1, failed: 0, cancelled: 0, expired: 0 },
  ]);
  assert.deepEqual(
    of(await countRunners(database.system, 100)).sort((a, b) => a.runnerType.localeCompare(b.runnerType)),
    [
      { organization: name, runnerType: '', runs: 1 },
      { organization: name, runnerType: 'GITHUB_ACTION', runs: 1 },
    ],
  );
});

forEachDatabase('a setting is what the first one said', async (_, database) => {
  const key = randomUUID();
  assert.equal(await findSetting(database.system, key), undefined);
  const values = await Promise.all(['a', 'b', 'c'].map((value) => settle(database.system, key, value)));
  assert.equal(new Set(values).size, 1);
  assert.equal(await findSetting(database.system, key), values[0]);
});

forEachDatabase('text that no database can keep is refused as what it is', async (_, database) => {
  const { scope } = await newOrganization(database);
  const run = await openedRun(scope, (await newWorkflow(scope)).id);
  await refuses('USAGE', endRun(scope, run.id, { state: 'failed', reason: 'nul \u0000 byte', now }));
});
