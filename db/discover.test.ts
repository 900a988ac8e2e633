import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Contract } from '../core/contract.ts';
import { type Digest, digestOf, hexOf } from '../core/digest.ts';
import { isChainloopError } from '../core/errors.ts';
import { forEachDatabase, newOrganization } from '../test/databases.ts';
import { addRevision, createContract } from './contracts.ts';
import { identify, listEvidenceOf, listTouching } from './discover.ts';
import { newWorkflow, openedRun, someAttested, someClaims, someContent } from './fixtures.ts';
import type { RunFilter } from './run-filter.ts';
import { endRun, openRun, pushRun } from './run-states.ts';
import { type ListedRun, listRuns } from './runs.ts';
import { updateWorkflow } from './workflows.ts';

const now = new Date('2026-11-23T10:00:00.000Z');
const commits = ['a'.repeat(40), 'b'.repeat(64)] as const;

forEachDatabase('a list by any filters together has exactly the runs that fit, page by page, newest first', async (_, database) => {
  const { scope } = await newOrganization(database);
  const one = await newWorkflow(scope, 'one', 'bedrock');
  const two = await newWorkflow(scope, 'two', 'bedrock');
  const three = await newWorkflow(scope, 'three', 'docs');
  const runners = ['GITHUB_ACTION', 'JENKINS_JOB', undefined] as const;
  const known: ListedRun[] = [];
  for (let index = 0; index < 45; index += 1) {
    // Between them a contract gets a revision, and a workflow another contract.
    if (index === 15) await addRevision(scope, 'one', someContent('a second revision'));
    if (index === 30) await updateWorkflow(scope, { name: 'two', project: 'bedrock' }, { contract: 'one' });
    const workflow = [one, two, three][index % 3];
    assert.ok(workflow);
    const type = runners[Math.floor(index / 3) % 3];
    const runner = { authenticated: false, ...(type !== undefined && { type }) };
    const run = await openRun(scope, { workflowId: workflow.id, runner, idempotencyKey: randomUUID(), expiresAt: new Date('2099-01-01') });
    if (index % 4 === 0) await endRun(scope, run.id, { state: 'failed', reason: 'x', now });
    if (index % 4 === 1) await pushRun(scope, run.id, { ...someAttested(run.id), commit: commits[index % 2] }, now);
  }
  for (const row of (await listRuns(scope, { limit: 100 })).items) known.push(row);
  assert.equal(known.length, 45);
  const [since, until] = [known[30]?.createdAt.toISOString(), known[10]?.createdAt.toISOString()];
  const fits = (row: ListedRun, filter: RunFilter): boolean =>
    [
      filter.workflowId === undefined || row.workflowId === filter.workflowId,
      filter.project === undefined || row.project === filter.project,
      filter.contract === undefined || !('name' in filter.contract) || row.contractName === filter.contract.name,
      filter.state === undefined || row.state === filter.state,
      filter.runner === undefined || (row.runnerType ?? '') === filter.runner,
      filter.commit === undefined || row.headCommit === filter.commit,
      filter.since === undefined || row.createdAt.toISOString() >= filter.since,
      filter.until === undefined || row.createdAt.toISOString() < filter.until,
    ].every(Boolean);
  const pick = <T>(values: readonly T[], turn: number): T | undefined => values[turn % (values.length + 1)];
  for (let turn = 0; turn < 45; turn += 1) {
    const contract = pick(['one', 'three', 'absent'], Math.floor(turn / 3));
    const filter: RunFilter = {
      ...[{}, { workflowId: one.id }, { workflowId: two.id }, { project: 'bedrock' }, { project: 'docs' }][turn % 5],
      contract: contract === undefined ? undefined : { name: contract },
      state: pick(['failed', 'success', 'initialized'] as const, Math.floor(turn / 5)),
      runner: pick(['GITHUB_ACTION', ''] as const, Math.floor(turn / 7)),
      commit: turn % 11 === 0 ? commits[1] : undefined,
      ...(turn % 3 === 0 && { since, until }),
    };
    const expected = known.filter((row) => fits(row, filter)).map(({ id }) => id);
    const found: string[] = [];
    for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
      const page = await listRuns(scope, { ...filter, limit: 7, cursor });
      found.push(...page.items.map(({ id }) => id));
      cursor = page.nextCursor;
    }
    assert.deepEqual(found, expected, JSON.stringify(filter));
  }
});

forEachDatabase('a run is of the commit that its CI system proved from its beginning, of any other after its push', async (_, database) => {
  const { scope } = await newOrganization(database);
  const workflow = await newWorkflow(scope);
  const federated = { claims: someClaims, naturalKey: randomUUID(), attempt: 1 };
  const proven = await openRun(scope, {
    workflowId: workflow.id,
    runner: { authenticated: true, type: 'GITLAB_PIPELINE' },
    idempotencyKey: randomUUID(),
    expiresAt: new Date('2099-01-01'),
    federated,
  });
  const said = await openedRun(scope, workflow.id);
  const silent = await openedRun(scope, workflow.id);
  const ofCommit = async (commit: string) => (await listRuns(scope, { limit: 10, commit })).items.map(({ id }) => id);
  assert.deepEqual(await ofCommit(someClaims.commit), [proven.id]);
  await pushRun(scope, proven.id, someAttested('proven'), now);
  await pushRun(scope, said.id, { ...someAttested('said'), commit: someClaims.commit }, now);
  await pushRun(scope, silent.id, someAttested('silent'), now);
  assert.deepEqual(await ofCommit(someClaims.commit), [said.id, proven.id]);
  assert.deepEqual(await ofCommit('0'.repeat(40)), []);
});

forEachDatabase('a digest leads to the runs that brought it and to the one whose attestation it is, page by page', async (_, database) => {
  const [mine, theirs] = [await newOrganization(database), await newOrganization(database)];
  const bytes = digestOf(randomUUID());
  const expected: string[] = [];
  for (const { scope } of [mine, mine, theirs, mine, mine]) {
    const workflow = await newWorkflow(scope);
    const run = await openedRun(scope, workflow.id);
    // The third is the run whose attestation the others brought.
    const own = expected.length === 2 ? { ...someAttested(run.id), bundleDigest: bytes } : someAttested(run.id, bytes);
    await pushRun(scope, run.id, own, now);
    if (scope === mine.scope) expected.unshift(run.id);
  }
  const found: string[] = [];
  for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
    const page = await listTouching(mine.scope, bytes, { limit: 1, cursor });
    found.push(...page.items.map(({ id }) => id));
    cursor = page.nextCursor;
  }
  assert.deepEqual(found, expected);
  await assert.rejects(listTouching(mine.scope, bytes, { limit: 1, cursor: 'x' }), (error) => isChainloopError(error, 'USAGE'));
});

forEachDatabase(
  'the evidence of runs: what was asked for first, then outputs, then by name, and how much there is',
  async (_, database) => {
    const { scope } = await newOrganization(database);
    const material = (name: string, output: boolean) =>
      ({
        name,
        type: 'ARTIFACT' as const,
        optional: true,
        output,
        skipUpload: false,
        annotations: [],
      }) satisfies Contract['materials'][number];
    const materials = [material('a', false), material('b', true), material('c', false)];
    await createContract(scope, 'release', { ...someContent(randomUUID()), content: { materials, envAllowList: [], annotations: [] } });
    const workflow = await newWorkflow(scope, 'release-it', 'bedrock', 'release');
    const run = await openedRun(scope, workflow.id);
    const brought = (name: string) =>
      ({ name, type: 'ARTIFACT', digest: digestOf(name), fileName: name, sizeBytes: 1, uploaded: true, annotations: {} }) as const;
    const string = { name: 'text', type: 'STRING', value: 'x'.repeat(1000), uploaded: false, annotations: {} } as const;
    await pushRun(scope, run.id, { ...someAttested('x'), materials: [string, brought('a'), brought('b'), brought('c')] }, now);
    const shown = async (digest: Digest | undefined, most: number) =>
      (await listEvidenceOf(scope, [run.id], { digest, most, textLength: 10 })).map((one) => [one.name, one.output, one.total, one.value]);
    assert.deepEqual(await shown(digestOf('c'), 9), [
      ['c', false, 4, null],
      ['b', true, 4, null],
      ['a', false, 4, null],
      ['text', false, 4, 'x'.repeat(10)],
    ]);
    assert.deepEqual(await shown(undefined, 1), [['b', true, 4, null]]);
  },
);

forEachDatabase('64 hex digits may be a commit, or what a contract says, of this organization alone', async (_, database) => {
  const [mine, theirs] = [await newOrganization(database), await newOrganization(database)];
  const workflow = await newWorkflow(mine.scope, 'release', 'bedrock');
  const run = await openedRun(mine.scope, workflow.id);
  const commit = digestOf(randomUUID());
  await pushRun(mine.scope, run.id, { ...someAttested('x'), commit: hexOf(commit) }, now);
  const said = someContent(randomUUID());
  await addRevision(mine.scope, 'release', said);
  assert.deepEqual(await identify(mine.scope, commit), { commit: hexOf(commit), contracts: [] });
  assert.deepEqual(await identify(mine.scope, said.contentDigest), { commit: undefined, contracts: [{ name: 'release', revision: 2 }] });
  for (const digest of [commit, said.contentDigest]) {
    assert.deepEqual(await identify(theirs.scope, digest), { commit: undefined, contracts: [] });
  }
  assert.deepEqual((await listRuns(mine.scope, { limit: 1, contract: { digest: said.contentDigest } })).items, []);
  const later = await openedRun(mine.scope, workflow.id);
  const judged = (await listRuns(mine.scope, { limit: 5, contract: { digest: said.contentDigest } })).items;
  assert.deepEqual(
    judged.map(({ id, contractRevision }) => [id, contractRevision]),
    [[later.id, 2]],
  );
});
