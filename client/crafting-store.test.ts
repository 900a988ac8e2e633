import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createCraftingStore } from '../core/adapters/crafting-store.ts';
import { createKeylessSigner } from '../core/adapters/keyless.ts';
import { init, openShared, push, reset, status } from '../core/attestation.ts';
import type { CraftedMaterial, GitHead } from '../core/crafting.ts';
import { isChainloopError } from '../core/errors.ts';
import { startFaultProxy } from '../test/fakes/fault-proxy.ts';
import { startFederatedPlane } from '../test/fakes/federated.ts';
import { githubJob } from '../test/fakes/issuer.ts';
import { createApi } from './api.ts';
import { createControlPlane } from './control-plane.ts';
import { createSharedCraftingStore } from './crafting-store.ts';
import { createKeylessPorts } from './signing.ts';

const contract = `schemaVersion: v1
materials:
  - { type: STRING, name: commit }
  - { type: STRING, name: note, optional: true }
annotations: [{ name: by }]
envAllowList: [RELEASE]
`;
const head: GitHead = {
  commit: githubJob.sha,
  parents: [githubJob.sha],
  remotes: [{ name: 'origin', url: 'https://github.com/acme/app.git' }],
};
const text = (name: string, value: string): CraftedMaterial => ({ name, type: 'STRING', value, uploaded: false, annotations: {} });
const env = (release: string) => ({ GITHUB_ACTIONS: 'true', GITHUB_RUN_ID: '1', RELEASE: release });

test('the attestation that jobs share', async (t) => {
  await using federated = await startFederatedPlane();
  await federated.api.contract.update.mutate({ name: 'release', format: 'yaml', body: contract });
  await federated.bind('github');
  await using stack = new AsyncDisposableStack();
  let runs = 100;

  /** A job of a CI run, with a folder of its own; `url` may be another way to the control plane. */
  async function aJob(runId: string, job: string, url = federated.plane.url) {
    const { token } = await federated.exchange(
      await federated.github.github({ claims: { run_id: runId, check_run_id: job.length.toString() } }),
    );
    const folder = stack.use(await mkdtempDisposable(join(tmpdir(), 'chainloop-shared-')));
    const options = { url, token, retryBudgetMs: 3_000 };
    const api = createApi(options);
    const store = createSharedCraftingStore({ api, local: createCraftingStore(join(folder.path, 'state')), job });
    const controlPlane = createControlPlane(options);
    const ports = { store, controlPlane, git: { head: async () => head }, now: () => new Date(), newId: randomUUID };
    const from = { type: 'controlPlane', origin: url } as const;
    const signer = createKeylessSigner(createKeylessPorts(api));
    return {
      store,
      open: () => openShared(ports, { env: {} }),
      init: (by: string, release = '1') => init(ports, { from, env: env(release), directory: '.', annotations: { by } }),
      push: (change: Partial<Parameters<typeof push>[0]> = {}) =>
        push({ ...ports, signer, ...change }, { builderId: 'chainloop.dev/cli/test@sha256:00' }),
      reset: () => reset(ports, { state: 'failed', reason: 'test' }),
      status: () => status(ports),
    };
  }
  const newRun = () => String(++runs);
  const code = (expected: string) => (error: unknown) => isChainloopError(error) && error.code === expected;

  await t.test('what the first init fixes counts for all', async () => {
    const run = newRun();
    const [one, two] = [await aJob(run, 'one'), await aJob(run, 'two')];
    const first = await one.init('one');
    assert.deepEqual([first.joined, first.start.env.RELEASE, first.start.head], [false, '1', head]);
    const second = await two.init('two', '2');
    assert.equal(second.joined, true);
    assert.deepEqual(second.start, { ...first.start, controlPlane: federated.plane.url });
    assert.deepEqual((await two.status()).start.annotations, { by: 'one' });
  });

  await t.test('of jobs that begin at once, one decides', async () => {
    const run = newRun();
    const jobs = await Promise.all(Array.from({ length: 8 }, (_, index) => aJob(run, `job ${index}`)));
    const begun = await Promise.all(jobs.map((job, index) => job.init(String(index))));
    assert.equal(begun.filter(({ joined }) => !joined).length, 1);
    assert.equal(new Set(begun.map(({ start }) => start.annotations.by)).size, 1);
  });

  await t.test('what a job adds first waits for the init of another, and a push without one fixes what is fixed', async () => {
    const run = newRun();
    const [build, release] = [await aJob(run, 'build'), await aJob(run, 'release')];
    await assert.rejects(build.store.load(), code('NO_CRAFTING'));
    await build.open();
    assert.equal(await build.store.put(text('commit', 'x')), undefined);
    const there = await build.store.load();
    assert.deepEqual([there.provisional, there.start.env, there.jobs?.commit], [true, {}, "'build' (id 5, attempt 1)"]);
    await assert.rejects(release.push(), code('NO_CRAFTING'));
    const pushed = await release.push({ begin: () => release.init('release') });
    assert.equal(pushed.type, 'pushed');
  });

  await t.test('a material that comes while a push is under way is part of it', async () => {
    const run = newRun();
    const [build, release] = [await aJob(run, 'build'), await aJob(run, 'release')];
    await release.init('release');
    await build.store.put(text('commit', 'x'));
    let late = true;
    const store = {
      ...release.store,
      // Comes after sealing, before the second look.
      async load() {
        const crafting = await release.store.load();
        if (late && (await release.store.sealed()) !== undefined) {
          late = false;
          await build.store.put(text('note', 'late'));
        }
        return crafting;
      },
    };
    const pushed = await release.push({ store });
    assert.ok(pushed.type === 'pushed');
    const { attestation } = await federated.api.run.describe.query({ id: pushed.runId });
    assert.deepEqual(
      attestation?.materials.map(({ name }) => name),
      ['commit', 'note'],
    );
  });

  await t.test('a push whose answer was lost is repeated with the same bytes, also when the run has ended', async () => {
    await using proxy = await startFaultProxy({ target: federated.plane.url });
    const job = await aJob(newRun(), 'release', proxy.origin);
    await job.init('release');
    await job.store.put(text('commit', 'x'));
    proxy.inject({ path: /attestation\.push/, type: 'loseAnswer', times: 100 });
    await assert.rejects(job.push(), code('CONTROL_PLANE_UNREACHABLE'));
    const kept = await job.store.sealed();
    proxy.clear();
    const pushed = await job.push({ signer: undefined });
    assert.equal(pushed.bundle, kept);
    await assert.rejects(job.push(), code('RUN_ALREADY_FINISHED'));
  });

  await t.test('what was signed for an earlier run is not sent for this one', async () => {
    const [first, second] = [newRun(), newRun()];
    const old = await aJob(first, 'release');
    await old.init('release');
    await old.store.put(text('commit', 'x'));
    const folder = stack.use(await mkdtempDisposable(join(tmpdir(), 'chainloop-shared-')));
    const local = createCraftingStore(join(folder.path, 'state'));
    const storeOf = async (runId: string) => {
      const { token } = await federated.exchange(await federated.github.github({ claims: { run_id: runId } }));
      return createSharedCraftingStore({ api: createApi({ url: federated.plane.url, token }), local, job: 'release' });
    };
    await (await storeOf(first)).seal('signed for the first');
    await (await aJob(second, 'release')).init('release');
    assert.equal(await (await storeOf(first)).sealed(), 'signed for the first');
    assert.equal(await (await storeOf(second)).sealed(), undefined);
  });

  await t.test('reset ends it for all jobs; what has ended already is said', async () => {
    const run = newRun();
    const [one, two] = [await aJob(run, 'one'), await aJob(run, 'two')];
    await one.init('one');
    assert.equal((await two.reset()).ended, true);
    await assert.rejects(one.store.put(text('commit', 'x')), code('RUN_ALREADY_FINISHED'));
    await assert.rejects(one.status(), code('RUN_ALREADY_FINISHED'));
    assert.equal((await one.reset()).ended, false);
  });
});
