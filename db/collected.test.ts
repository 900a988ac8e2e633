import assert from 'node:assert/strict';
import type { CraftedMaterial, CraftingStart } from '../core/crafting.ts';
import { digestOf } from '../core/digest.ts';
import { forEachDatabase, newOrganization } from '../test/databases.ts';
import type { OrgScope } from './client.ts';
import { collect, keepStart, listCollected, listUnattested, startOf } from './collected.ts';
import type { RevisionContent } from './contracts.ts';
import { newWorkflow, openedRun, someAttested, someContent } from './fixtures.ts';
import { endRun, pushRun } from './run-states.ts';
import { createWorkflow } from './workflows.ts';

const now = new Date('2026-11-23T09:00:00Z');
const text = (name: string, value = name): CraftedMaterial => ({ name, type: 'STRING', value, uploaded: false, annotations: {} });
const file = (name: string, content: string): CraftedMaterial => ({
  ...{ name, type: 'ARTIFACT', digest: digestOf(content), fileName: `${name} "ä".tar`, sizeBytes: 5 * 2 ** 40, uploaded: true },
  annotations: { tier: 'gold, "quoted", \\back' },
});
const by = (job: string, material: CraftedMaterial) => ({ job, material });

forEachDatabase('what a job brought is kept as it was brought, by name', async (_, database) => {
  const { scope } = await newOrganization(database);
  const { id } = await openedRun(scope, (await newWorkflow(scope)).id);
  const image: CraftedMaterial = { ...file('image', 'i'), type: 'CONTAINER_IMAGE', tag: 'v1', uploaded: false };
  for (const material of [text('note', 'é \u0001 "q" {b}'), file('binary', 'b'), image])
    assert.deepEqual(await collect(scope, id, by('build', material), now), { type: 'added' });
  assert.deepEqual(
    await listCollected(scope, id),
    [file('binary', 'b'), image, text('note', 'é \u0001 "q" {b}')].map((material) => by('build', material)),
  );
});

forEachDatabase(
  'the same content under the same name is there already; other content is a conflict that names the job',
  async (_, database) => {
    const { scope } = await newOrganization(database);
    const { id } = await openedRun(scope, (await newWorkflow(scope)).id);
    await collect(scope, id, by('build', file('binary', 'one')), now);
    assert.deepEqual(await collect(scope, id, by('test', file('binary', 'one')), now), {
      type: 'existed',
      there: by('build', file('binary', 'one')),
    });
    for (const other of [file('binary', 'two'), text('binary'), { ...file('binary', 'one'), type: 'EVIDENCE' as const }]) {
      assert.deepEqual(await collect(scope, id, by('test', other), now), { type: 'conflict', there: by('build', file('binary', 'one')) });
    }
    assert.equal((await listCollected(scope, id)).length, 1);
  },
);

forEachDatabase('twenty jobs that add at once lose nothing', async (_, database) => {
  const { scope } = await newOrganization(database);
  const { id } = await openedRun(scope, (await newWorkflow(scope)).id);
  const names = Array.from({ length: 20 }, (_, index) => `m${String(index).padStart(2, '0')}`);
  const outcomes = await Promise.all(names.map((name) => collect(scope, id, by(name, text(name)), now)));
  assert.ok(outcomes.every(({ type }) => type === 'added'));
  const rows = await listCollected(scope, id);
  assert.deepEqual(
    rows.map(({ material }) => material.name),
    names,
  );
});

forEachDatabase('of twenty jobs that add one name at once, one wins, and those with the same content agree', async (_, database) => {
  const { scope } = await newOrganization(database);
  const { id } = await openedRun(scope, (await newWorkflow(scope)).id);
  const outcomes = await Promise.all(
    Array.from({ length: 20 }, (_, index) => collect(scope, id, by(`job ${index}`, text('commit', String(index % 2))), now)),
  );
  const count = (type: string) => outcomes.filter((outcome) => outcome.type === type).length;
  assert.deepEqual([count('added'), count('existed'), count('conflict')], [1, 9, 10]);
});

forEachDatabase('nothing is added to a run that is over, expired, absent or of another organization', async (_, database) => {
  const { scope } = await newOrganization(database);
  const { scope: evil } = await newOrganization(database);
  const workflow = await newWorkflow(scope);
  const ended = await openedRun(scope, workflow.id);
  await endRun(scope, ended.id, { state: 'cancelled', reason: '', now });
  const late = await openedRun(scope, workflow.id, now);
  const open = await openedRun(scope, workflow.id);
  for (const [where, id] of [
    [scope, ended.id],
    [scope, late.id],
    [scope, '00000000-0000-4000-8000-000000000000'],
    [evil, open.id],
  ] as const)
    assert.deepEqual(await collect(where, id, by('build', text('commit')), now), { type: 'closed' });
  await collect(scope, open.id, by('build', text('commit')), now);
  assert.deepEqual(await listCollected(evil, open.id), []);
});

forEachDatabase('a push that leaves out what a job brought is incomplete, and changes nothing', async (_, database) => {
  const { scope } = await newOrganization(database);
  const { id } = await openedRun(scope, (await newWorkflow(scope)).id);
  const attested = { ...someAttested('shared'), collected: true };
  for (const material of attested.materials) await collect(scope, id, by('build', material), now);
  await collect(scope, id, by('late', text('late')), now);
  assert.deepEqual(await pushRun(scope, id, attested, now), { type: 'incomplete', missing: ['late'] });
  const complete = { ...attested, materials: [...attested.materials, text('late', 'other')] };
  assert.deepEqual(await pushRun(scope, id, complete, now), { type: 'incomplete', missing: ['late'] });
  const right = { ...attested, materials: [...attested.materials, text('late')] };
  assert.deepEqual(await pushRun(scope, id, right, now), { type: 'accepted' });
  assert.deepEqual(await pushRun(scope, id, right, now), { type: 'same' });
});

forEachDatabase('a material that is added while the run is pushed is refused, or is in the bundle', async (_, database) => {
  const { scope } = await newOrganization(database);
  const workflow = await newWorkflow(scope);
  for (let round = 0; round < 10; round++) {
    const { id } = await openedRun(scope, workflow.id);
    const attested = { ...someAttested(`race ${id}`), collected: true };
    const [added, pushed] = await Promise.all([collect(scope, id, by('late', text('late')), now), pushRun(scope, id, attested, now)]);
    assert.ok(added.type === 'closed' ? pushed.type === 'accepted' : pushed.type === 'incomplete', `${added.type}, ${pushed.type}`);
  }
});

forEachDatabase('of eight inits at once, one decides what the run starts from', async (_, database) => {
  const { scope } = await newOrganization(database);
  const run = await openedRun(scope, (await newWorkflow(scope)).id);
  const start = (commit: string): CraftingStart => ({
    version: 1,
    identity: {
      ...{ organization: 'acme', project: 'p', team: '', workflowId: run.workflowId, workflowName: 'w' },
      runId: run.id,
      contractName: 'c',
      contractRevision: 1,
    },
    contract: run.contract,
    runner: { authenticated: true },
    env: { COMMIT: commit },
    initializedAt: run.createdAt.toISOString(),
    dryRun: false,
    controlPlane: '',
    annotations: {},
  });
  assert.equal(await startOf(scope, run.id), null);
  const kept = await Promise.all(Array.from({ length: 8 }, (_, index) => keepStart(scope, run.id, start(String(index)))));
  assert.equal(kept.filter(Boolean).length, 1);
  assert.deepEqual(await startOf(scope, run.id), start(String(kept.indexOf(true))));
  assert.equal(await keepStart(scope, run.id, start('later')), false);
});

forEachDatabase(
  'an artifact leads to the runs that should have attested it and did not, newest first, of this organization',
  async (_, database) => {
    const [{ scope }, { scope: others }] = [await newOrganization(database), await newOrganization(database)];
    const outputs = (name: string): RevisionContent => ({
      ...someContent(name),
      content: {
        materials: ['binary', 'lockfile'].map((called) => ({
          ...{ name: called, type: 'ARTIFACT', optional: true, output: called === 'binary', skipUpload: false, annotations: [] },
        })),
        envAllowList: [],
        annotations: [],
      },
    });
    const workflow = async (own: OrgScope) =>
      (await createWorkflow(own, { name: 'build', project: 'bedrock', team: '', contract: { name: 'build', content: outputs('build') } }))
        .id;
    const [workflowId, theirs] = [await workflow(scope), await workflow(others)];
    const brought = async (own: OrgScope, id: string, name = 'binary'): Promise<string> => {
      const run = await openedRun(own, id);
      await collect(own, run.id, by('build', file(name, 'the program')), now);
      return run.id;
    };
    const [failed, cancelled, open] = [
      await brought(scope, workflowId),
      await brought(scope, workflowId),
      await brought(scope, workflowId),
    ];
    await brought(scope, workflowId, 'lockfile');
    await brought(others, theirs);
    const success = await brought(scope, workflowId);
    await pushRun(scope, success, someAttested(success), now);
    await endRun(scope, failed, { state: 'failed', reason: 'the tests failed', now });
    await endRun(scope, cancelled, { state: 'cancelled', reason: 'stopped', now });
    const found = await listUnattested(scope, digestOf('the program'), { now, limit: 10, among: 10 });
    assert.deepEqual(
      found.map(({ id, state, reason, project, workflow: name }) => [id, state, reason, project, name]),
      [
        [open, 'initialized', null, 'bedrock', 'build'],
        [cancelled, 'cancelled', 'stopped', 'bedrock', 'build'],
        [failed, 'failed', 'the tests failed', 'bedrock', 'build'],
      ],
    );
    const later = await listUnattested(scope, digestOf('the program'), { now: new Date('2199-01-01'), limit: 1, among: 10 });
    assert.deepEqual(
      later.map(({ id, state }) => [id, state]),
      [[open, 'expired']],
    );
    assert.deepEqual(await listUnattested(scope, digestOf('another program'), { now, limit: 10, among: 10 }), []);
  },
);
