import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf, isDigest } from '../../core/digest.ts';
import type { DiscoverRun } from '../../core/discover.ts';
import { isChainloopError } from '../../core/errors.ts';
import { databaseKinds } from '../../test/databases.ts';
import { startControlPlane } from '../../test/fakes/control-plane.ts';
import { jobContract, startJob, text } from '../../test/fakes/job.ts';
import { needs } from '../../test/needs.ts';

for (const kind of databaseKinds) {
  test(`a digest or commit leads to the runs that touch it, with what they are of, and back (${kind})`, async (t) => {
    if (kind === 'postgresql' && !needs(t, 'postgresql')) return;
    await using plane = await startControlPlane({ database: kind });
    const { name: organization, api } = await plane.createOrganization('acme');
    const { api: strangers } = await plane.createOrganization('strangers');
    const contract = jobContract.replace('materials:', 'materials:\n  - { type: ARTIFACT, name: sbom, optional: true }');
    await api.contract.create.mutate({ name: 'release', format: 'yaml', body: contract });
    await api.workflow.create.mutate({ name: 'release', project: 'bedrock', contract: 'release' });
    const serviceAccount = await plane.createServiceAccount(api, { workflow: 'release', project: 'bedrock', contract: 'release' });
    const job = await startJob({ url: plane.url, organization, token: serviceAccount, trustedBy: api });

    const commit = 'c0ffee'.padEnd(40, '0');
    const release = async (number: number) => {
      const run = await job.init();
      const materials = [
        text('commit', 'as a text'),
        await job.upload('binary', `the binary ${number}`),
        await job.upload('sbom', 'what is in all of them'),
      ];
      const bundle = await job.bundle(run, materials, { start: { head: { commit, remotes: [] } } });
      const { digest } = await job.push(run, bundle);
      const [binary, sbom] = materials.flatMap((material) => material.digest ?? []);
      assert.ok(binary !== undefined && sbom !== undefined);
      return { runId: run.runId, attestation: digest, binary, sbom };
    };
    const [first, second] = [await release(1), await release(2)];
    const open = await job.init();
    let failed = '';
    const brief = ({ run, touches }: DiscoverRun) => [run.id, touches];

    await t.test('of an SBOM: all releases that contain it, the newest first, and what they are', async () => {
      const found = await api.discover.find.query({ digest: first.sbom });
      assert.deepEqual(found.subject, { type: 'digest', value: first.sbom });
      assert.equal(found.stored?.fileName, 'sbom.txt');
      const touches = [{ role: 'material', name: 'sbom', type: 'ARTIFACT' }];
      assert.deepEqual(found.items.map(brief), [
        [second.runId, touches],
        [first.runId, touches],
      ]);
      const [newest] = found.items;
      assert.deepEqual(
        newest?.subjects.map(({ name, digest }) => [name, digest]),
        [['binary', second.binary]],
      );
      assert.deepEqual(
        newest?.materials.map(({ name }) => name),
        ['sbom', 'commit'],
      );
      assert.deepEqual([newest?.attestation?.digest, newest?.more], [second.attestation, 0]);
      assert.deepEqual([newest?.run.commit, newest?.run.commitAuthenticated, newest?.run.contractName], [commit, false, 'release']);
    });

    await t.test('page by page', async () => {
      const page = await api.discover.find.query({ digest: first.sbom, limit: 1 });
      const next = await api.discover.find.query({ digest: first.sbom, limit: 1, cursor: page.nextCursor });
      assert.deepEqual(
        [...page.items, ...next.items].map(({ run }) => run.id),
        [second.runId, first.runId],
      );
      assert.equal(next.nextCursor, undefined);
    });

    await t.test('of an output: the run whose subject it is', async () => {
      const { items } = await api.discover.find.query({ digest: first.binary });
      assert.deepEqual(items.map(brief), [[first.runId, [{ role: 'subject', name: 'binary', type: 'ARTIFACT' }]]]);
    });

    await t.test('of what was brought to a run that failed: that run, and no subject, since nothing attests it', async () => {
      const jobs = plane.api(serviceAccount);
      const { runId } = await job.init();
      failed = runId;
      for (const { annotations: _, layout: __, ...brought } of [
        await job.upload('binary', 'a broken binary'),
        await job.upload('sbom', 'what is in all of them'),
      ])
        await jobs.attestation.collect.mutate({ runId, material: { ...brought, annotations: {} }, job: 'build' });
      await jobs.attestation.end.mutate({ runId, state: 'failed', reason: 'the tests failed' });
      const { items } = await api.discover.find.query({ digest: digestOf('a broken binary') });
      assert.deepEqual(items.map(brief), [[runId, [{ role: 'material', name: 'binary', type: 'ARTIFACT' }]]]);
      const [found] = items;
      assert.deepEqual([found?.run.state, found?.attestation, found?.subjects], ['failed', null, []]);
      assert.deepEqual(
        found?.materials.map(({ name }) => name),
        ['binary', 'sbom'],
      );
      const shared = await api.discover.find.query({ digest: first.sbom, limit: 2 });
      assert.deepEqual(
        shared.items.map(({ run }) => run.id),
        [runId, second.runId],
      );
      assert.deepEqual((await strangers.discover.find.query({ digest: digestOf('a broken binary') })).items, []);
    });

    await t.test('of an attestation: its run', async () => {
      const { items, stored } = await api.discover.find.query({ digest: first.attestation });
      assert.deepEqual([items.map(brief), stored], [[[first.runId, [{ role: 'attestation' }]]], null]);
    });

    await t.test('of what the control plane signed about a run: that run', async () => {
      const { vsa } = await api.verdict.describe.query({ runId: second.runId });
      assert.ok(isDigest(vsa?.digest));
      const { items } = await api.discover.find.query({ digest: vsa.digest });
      assert.deepEqual([items.map(brief), items[0]?.vsa], [[[second.runId, [{ role: 'vsa' }]]], vsa.digest]);
    });

    await t.test('of a commit: the runs that were pushed of it', async () => {
      const { subject, items } = await api.discover.find.query({ commit });
      assert.deepEqual(subject, { type: 'commit', value: commit });
      assert.deepEqual(items.map(brief), [
        [second.runId, [{ role: 'commit' }]],
        [first.runId, [{ role: 'commit' }]],
      ]);
      assert.deepEqual(
        (await api.run.list.query({ commit, limit: 1 })).items.map(({ id }) => id),
        [second.runId],
      );
    });

    await t.test('of what a contract says: the runs that were judged by it, open ones too', async () => {
      const { digest } = await api.contract.describe.query({ name: 'release' });
      assert.ok(isDigest(digest));
      const { subject, contracts, items } = await api.discover.find.query({ digest });
      assert.deepEqual([subject.type, contracts], ['contract', [{ name: 'release', revision: 1 }]]);
      assert.deepEqual(
        items.map(({ run }) => run.id),
        [failed, open.runId, second.runId, first.runId],
      );
      assert.deepEqual(items[0]?.touches, [{ role: 'contract' }]);
    });

    await t.test('of a run: itself, whole', async () => {
      const { items } = await api.discover.find.query({ runId: first.runId });
      assert.deepEqual(items.map(brief), [[first.runId, [{ role: 'run' }]]]);
      assert.equal(items[0]?.materials.length, 2);
    });

    await t.test('another organization finds none of it', async () => {
      for (const asked of [{ digest: first.sbom }, { digest: first.attestation }, { commit }] as const) {
        const { items, stored, contracts } = await strangers.discover.find.query(asked);
        assert.deepEqual([items, stored, contracts], [[], null, []]);
      }
      await assert.rejects(strangers.discover.find.query({ runId: first.runId }), (error) => isChainloopError(error, 'NOT_FOUND'));
    });
  });
}
