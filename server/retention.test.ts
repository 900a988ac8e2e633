import assert from 'node:assert/strict';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { sql } from 'drizzle-orm';
import { emptyConfig, materialManifest, materialTag } from '../core/adapters/oci/evidence-store.ts';
import { type Digest, digestOf } from '../core/digest.ts';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { createCasBackend, describeCasBackend } from '../db/cas-backends.ts';
import type { Database } from '../db/client.ts';
import { touchEvidence } from '../db/evidence.ts';
import { newWorkflow, someAttested } from '../db/fixtures.ts';
import { effectsOfRun } from '../db/outbox.ts';
import { describeRetention, holdRun, holdWorkflow, markDueEvidence, removeDueRuns, setRetention } from '../db/retention.ts';
import { endRun, expireRuns, openRun, type PushOutcome, pushRun } from '../db/run-states.ts';
import { describeRun, type RunContext } from '../db/runs.ts';
import { forEachDatabase, newOrganization, openDatabase } from '../test/databases.ts';
import { needs } from '../test/needs.ts';
import { until } from '../test/until.ts';
import { createAuthority } from './ca/authority.ts';
import { effectHandlers } from './effects.ts';
import { recordArrival } from './evidence.ts';
import { createLog } from './log.ts';
import { startOutbox } from './outbox.ts';
import { collectStep } from './retention.ts';
import { createSecrets } from './sealing.ts';
import { attestationTag, readBundle, storeAttestation } from './storage/attestation.ts';
import { emptyDescriptor, mediaTypes } from './storage/manifest.ts';
import { pushBlob } from './storage/storage.ts';
import { createStorages } from './storages.ts';
import { createVerdicts } from './verdicts.ts';

const secrets = createSecrets(randomBytes(32));
const dayMs = 24 * 60 * 60 * 1000;

/** An organization with its storage on disk, a clock that we move, and jobs that upload as through the gateway. */
async function opened(database: Database, folder: string) {
  const { scope, id: organizationId } = await newOrganization(database);
  const log = createLog('silent', { write() {} });
  const storages = createStorages({
    database,
    instanceId: 'one',
    secrets,
    dataDir: folder,
    allowPrivateRegistries: true,
    log,
  });
  const { id: casBackendId, storage } = await storages.current(scope);
  await pushBlob(storage, emptyConfig.bytes, emptyDescriptor.digest);
  // Runs are opened at the time of the database; the clock begins there.
  const clock = { at: Date.now() };
  const now = () => new Date(clock.at);
  const origin = () => 'https://chainloop.example.com';
  const verdicts = createVerdicts({ database, storages, authority: createAuthority({ database, secrets, now, origin }), origin });
  const outbox = startOutbox({ database, handlers: effectHandlers({ storages, verdicts }), log, policy: { pauseMs: 1 } });
  const collection = { database, storages, outbox, log, now };
  const workflow = await newWorkflow(scope);

  /** As `attestation add` does through the gateway: asks, sends when it is not there, asks for the manifest, sends that. */
  async function upload(content: string, pinned = false): Promise<Digest> {
    const bytes = Buffer.from(content);
    const digest = digestOf(bytes);
    const manifest = materialManifest({ digest, sizeBytes: bytes.length, fileName: 'f', mediaType: 'application/octet-stream' });
    for (let attempt = 1; ; attempt++) {
      try {
        const there = (await storage.stat(digest)) !== undefined && (await touchEvidence(scope, digest, { at: now(), pinned }));
        if (!there) {
          const { session } = await storage.beginUpload();
          await storage.finish(session, digest, { offset: 0, body: once(bytes) });
          await recordArrival(scope, storage, { digest, casBackendId, sizeBytes: bytes.length, pinned, at: now() });
        }
        if ((await storage.getManifest(materialTag(digest))) === undefined) {
          await storage.putManifest(materialTag(digest), mediaTypes.manifest, manifest);
          const known = { fileName: 'f', mediaType: 'application/octet-stream', manifestDigest: digestOf(manifest) };
          await recordArrival(scope, storage, { digest, casBackendId, sizeBytes: bytes.length, pinned, at: now(), ...known });
        }
        return digest;
      } catch (error) {
        // What a client is told to send again, it sends again.
        if (attempt === 50 || !(isChainloopError(error, 'STORAGE_UNAVAILABLE') || isChainloopError(error, 'NOT_FOUND'))) throw error;
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  }

  const open = (): Promise<RunContext> =>
    openRun(scope, {
      workflowId: workflow.id,
      runner: { authenticated: false },
      idempotencyKey: randomUUID(),
      expiresAt: new Date(clock.at + dayMs),
    });

  /** What the referee does once its checks have held: evidence that is there, the bundle stored, the run moved. */
  async function push(run: RunContext, digests: readonly Digest[]): Promise<PushOutcome> {
    for (const digest of digests) if ((await storage.stat(digest)) === undefined) throw new ChainloopError('EVIDENCE_MISSING', 'gone');
    const bundle = Buffer.from(`bundle of ${run.id}`);
    const materials = digests.map((digest, index) => ({
      ...{ name: `m${index}`, type: 'ARTIFACT' as const, digest, fileName: 'f', sizeBytes: 1, uploaded: true, annotations: {} },
    }));
    await storeAttestation(storage, bundle);
    const attested = { ...someAttested(run.id), bundleDigest: digestOf(bundle), bundleSizeBytes: bundle.length, materials };
    return pushRun(scope, run.id, attested, now());
  }

  async function collect(dryRun = false) {
    const attestations: string[] = [];
    const evidence: string[] = [];
    let sizeBytes = 0;
    let cursor: string | undefined;
    for (let more = true; more; ) {
      const step = await collectStep(collection, scope, { dryRun, cursor });
      attestations.push(...step.attestations.map(({ runId }) => runId));
      evidence.push(...step.evidence.map(({ digest }) => digest));
      for (const one of step.evidence) sizeBytes += one.sizeBytes;
      ({ nextCursor: cursor, more } = step);
    }
    return { attestations, evidence: evidence.toSorted(), sizeBytes };
  }

  /** Until all that attestations left to be removed is gone from storage. */
  async function settled(runIds: readonly string[]): Promise<void> {
    const done = async (id: string) => (await effectsOfRun(scope, id)).length === 0;
    for (const id of runIds) await until('all is removed', () => done(id), { everyMs: 0 });
  }

  return {
    ...{ scope, organizationId, storage, workflow, clock, now, upload, open, push, collect, settled },
    async close() {
      await outbox.close();
      await storages.close();
    },
  };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** Runs a claim with an organization of its own. */
function onEach(claim: string, fn: (plane: Awaited<ReturnType<typeof opened>>, database: Database) => Promise<void>): void {
  forEachDatabase(claim, async (_, database) => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-retention-'));
    const plane = await opened(database, folder.path);
    try {
      await fn(plane, database);
    } finally {
      await plane.close();
    }
  });
}

onEach(
  'what a job brings as evidence, and is more than that, stays: a bundle, a manifest, the configuration of all of them',
  async (plane) => {
    const { storage, clock, upload, open, push, collect } = plane;
    const run = await open();
    const kept = await upload('kept');
    await push(run, [kept]);
    const manifest = await storage.getManifest(materialTag(kept));
    assert.ok(manifest !== undefined);
    const brought = [`bundle of ${run.id}`, Buffer.from(emptyConfig.bytes).toString(), Buffer.from(manifest.bytes).toString()];
    for (const content of brought) await upload(content);
    clock.at += 30 * dayMs;
    await collect();
    for (const content of ['kept', ...brought]) assert.ok((await storage.stat(digestOf(Buffer.from(content)))) !== undefined, content);
  },
);

onEach('a hold stops a removal that was marked and not carried out', async ({ scope, clock, now, upload, open }) => {
  const run = await open();
  await upload('of a run that failed');
  clock.at += 30 * dayMs;
  const everything = { after: '', upTo: 'ff'.repeat(32) };
  assert.equal((await markDueEvidence(scope, everything, now())).length, 1);
  await holdRun(scope, run.id, { reason: 'case 17', now: now() });
  clock.at += dayMs;
  assert.deepEqual(await markDueEvidence(scope, everything, now()), []);
  await holdRun(scope, run.id, { reason: null, now: now() });
  assert.equal((await markDueEvidence(scope, everything, now())).length, 1);
});

onEach('uploads of runs that were never pushed go after their time; a dry run says what, and touches nothing', async (plane) => {
  const { scope, storage, clock } = plane;
  const run = await plane.open();
  const kept = await plane.upload('pushed');
  assert.deepEqual(await plane.push(run, [kept]), { type: 'accepted' });
  const failed = await plane.open();
  const lost = await plane.upload('never pushed');
  const stored = await plane.upload('by an operator', true);
  await endRun(scope, failed.id, { state: 'failed', reason: '', now: plane.now() });

  clock.at += 6 * dayMs;
  assert.deepEqual(await plane.collect(), { attestations: [], evidence: [], sizeBytes: 0 });
  clock.at += 2 * dayMs;
  const due = { attestations: [], evidence: [lost], sizeBytes: 'never pushed'.length };
  assert.deepEqual(await plane.collect(true), due);
  assert.ok(await storage.stat(lost));
  assert.deepEqual(await plane.collect(), due);
  assert.equal(await storage.stat(lost), undefined);
  assert.equal(await storage.getManifest(materialTag(lost)), undefined);
  assert.deepEqual(
    await storage.tags(),
    [attestationTag(digestOf(`bundle of ${run.id}`)), materialTag(kept), materialTag(stored)].toSorted(),
  );
  assert.deepEqual(await plane.collect(), { attestations: [], evidence: [], sizeBytes: 0 });

  // The same once more, as new.
  assert.equal(await plane.upload('never pushed'), lost);
  assert.ok(await storage.getManifest(materialTag(lost)));
  assert.deepEqual(await plane.push(await plane.open(), [lost]), { type: 'accepted' });
});

onEach('whoever is told that a blob is there keeps it: its time begins anew', async (plane) => {
  const digest = await plane.upload('shared');
  plane.clock.at += 6.5 * dayMs;
  await plane.upload('shared');
  plane.clock.at += 6.5 * dayMs;
  assert.deepEqual((await plane.collect()).evidence, []);
  plane.clock.at += dayMs;
  assert.deepEqual((await plane.collect()).evidence, [digest]);
});

onEach('attestations are kept for ever, unless the organization sets a time; then the record says when they went', async (plane) => {
  const { scope, storage, clock } = plane;
  assert.deepEqual(await describeRetention(scope), { unpushedDays: 7, attestationDays: null });
  const [old, shared] = [await plane.upload('old'), await plane.upload('shared')];
  const first = await plane.open();
  assert.deepEqual(await plane.push(first, [old, shared]), { type: 'accepted' });
  clock.at += 300 * dayMs;
  assert.deepEqual(await plane.collect(), { attestations: [], evidence: [], sizeBytes: 0 });
  const later = await plane.open();
  assert.deepEqual(await plane.push(later, [shared]), { type: 'accepted' });

  await setRetention(scope, { attestationDays: 100 });
  assert.deepEqual(await plane.collect(true), { attestations: [first.id], evidence: [old], sizeBytes: 3 });
  assert.deepEqual((await plane.collect()).attestations, [first.id]);
  await plane.settled([first.id]);
  assert.equal(await readBundle(storage, digestOf(`bundle of ${first.id}`)), undefined);
  await plane.collect();
  assert.equal(await storage.stat(old), undefined);
  assert.ok(await storage.stat(shared), 'another attestation speaks of it');
  const record = await describeRun(scope, first.id);
  assert.deepEqual([record.state, record.bundleDigest], ['success', digestOf(`bundle of ${first.id}`)]);
  assert.ok(record.removedAt);
  await assert.rejects(holdRun(scope, first.id, { reason: 'late', now: plane.now() }), { code: 'CONFLICT' });
});

onEach('a hold of a run or of its workflow is stronger than any time, also for what was never pushed', async (plane) => {
  const { scope, workflow, clock, now } = plane;
  await setRetention(scope, { attestationDays: 1, unpushedDays: 2 });
  const run = await plane.open();
  const digest = await plane.upload('pushed');
  await plane.push(run, [digest]);
  const failed = await plane.open();
  const lost = await plane.upload('never pushed');
  clock.at += 1000;
  await endRun(scope, failed.id, { state: 'failed', reason: '', now: now() });
  await holdRun(scope, run.id, { reason: 'case 1', now: now() });
  await holdRun(scope, failed.id, { reason: 'case 1', now: now() });
  clock.at += 100 * dayMs;
  const nothing = { attestations: [], evidence: [], sizeBytes: 0 };
  assert.deepEqual([await plane.collect(true), await plane.collect()], [nothing, nothing]);
  for (const { id } of [run, failed]) await holdRun(scope, id, { reason: null, now: now() });
  await holdWorkflow(scope, workflow.id, { reason: 'case 2', now: now() });
  assert.deepEqual([await plane.collect(true), await plane.collect()], [nothing, nothing]);
  await holdWorkflow(scope, workflow.id, { reason: null, now: now() });
  assert.deepEqual(await plane.collect(true), { attestations: [run.id], evidence: [digest, lost].toSorted(), sizeBytes: 18 });
});

onEach('a storage that another organization uses too is left alone', async (plane, database) => {
  const other = await newOrganization(database);
  const { location } = await describeCasBackend(plane.scope, 'default');
  const theirs = { name: 'theirs', provider: 'layout', location, insecure: false, region: null, credentials: null } as const;
  await createCasBackend(other.scope, { ...theirs, isDefault: false }, plane.now());
  await assert.rejects(plane.collect(), { code: 'CONFLICT' });
});

/** Reproducible: the same seed gives the same history. */
function randomOf(seed: string): (below: number) => number {
  let count = 0;
  return (below) => createHash('sha256').update(`${seed} ${count++}`).digest().readUInt32BE(0) % below;
}

const steps = Number(process.env.CHAINLOOP_RETENTION_STEPS ?? 30);

forEachDatabase(
  'whatever happens at once, all that a kept attestation speaks of stays readable, and no push in time is refused',
  async (t, database) => {
    const seed = process.env.CHAINLOOP_RETENTION_SEED ?? randomUUID();
    t.diagnostic(`CHAINLOOP_RETENTION_SEED=${seed}`);
    const random = randomOf(seed);
    await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-retention-'));
    const plane = await opened(database, folder.path);
    const { scope, storage, clock, now } = plane;
    const counts = { pushed: 0, failed: 0, collections: 0, removed: 0, given: 0, again: 0, holds: 0 };
    const successes = new Map<string, readonly Digest[]>();
    const names = 16;

    /** One job from its beginning to its end, all within a day. */
    async function job(): Promise<void> {
      const run = await plane.open();
      const contents = Array.from({ length: 1 + random(3) }, () => `content ${random(names)}`);
      const digests = [...new Set(await Promise.all(contents.map((content) => plane.upload(content))))];
      if (random(3) === 0) {
        counts.failed += 1;
        await endRun(scope, run.id, { state: 'failed', reason: '', now: now() });
        return;
      }
      const outcome = await plane.push(run, digests);
      assert.deepEqual(outcome, { type: 'accepted' }, 'what was just uploaded, or was said to be there, is there');
      successes.set(run.id, digests);
      counts.pushed += 1;
      if (random(6) === 0) {
        counts.holds += 1;
        await holdRun(scope, run.id, { reason: 'case', now: now() });
      }
    }
    async function collection(): Promise<void> {
      counts.collections += 1;
      const { attestations, evidence } = await plane.collect();
      counts.given += attestations.length;
      counts.removed += evidence.length;
    }
    /** A push that comes long after its uploads, as no job may: it may be refused, and then nothing is a success. */
    async function late(): Promise<void> {
      const contents = Array.from({ length: 2 }, () => `content ${random(names)}`);
      const digests = [...new Set(contents.map((content) => digestOf(content)))];
      const run = await plane.open();
      const outcome = await plane.push(run, digests).catch((error: unknown) => {
        assert.ok(isChainloopError(error, 'EVIDENCE_MISSING'), String(error));
        return { type: 'missing' as const };
      });
      if (outcome.type === 'accepted') successes.set(run.id, digests);
      else counts.again += 1;
    }
    async function invariant(): Promise<void> {
      for (const [id, digests] of successes) {
        const { removedAt, heldAt } = await describeRun(scope, id);
        assert.ok(removedAt === null || heldAt === null);
        if (removedAt !== null) continue;
        for (const digest of digests)
          assert.ok(await storage.getManifest(materialTag(digest)), `${digest} of kept run ${id}: its manifest`);
        for (const digest of digests) assert.ok(await readable(digest), `${digest} of kept run ${id}`);
        assert.ok(await readBundle(storage, digestOf(`bundle of ${id}`)), `the attestation of kept run ${id}`);
      }
    }
    async function readable(digest: Digest): Promise<boolean> {
      const reader = await storage.fetch(digest);
      if (reader === undefined) return false;
      const hash = createHash('sha256');
      for await (const piece of reader.body) hash.update(piece);
      return `sha256:${hash.digest('hex')}` === digest;
    }

    try {
      await setRetention(scope, { unpushedDays: 2, attestationDays: 5 });
      for (let step = 0; step < steps; step++) {
        // The clock stands while they race: everything that is due is due, and everything that is new is new.
        clock.at += random(2) === 0 ? 3 * dayMs : (dayMs / 4) * random(4);
        const acts = [collection, collection, late, ...Array.from({ length: random(4) }, () => job)];
        await Promise.all(acts.toSorted(() => random(3) - 1).map((act) => act()));
        await expireRuns(database.system, now(), 1000);
        if (step % 10 === 9) await invariant();
      }
      await plane.settled([...successes.keys()]);
      await invariant();
      t.diagnostic(JSON.stringify({ steps, ...counts }));
      assert.ok(counts.pushed > 0 && counts.removed > 0 && counts.given > 0, 'the history had something of everything');
    } finally {
      await plane.close();
    }
  },
);

test('a workflow that is put on hold while attestations are given up keeps them', async (t) => {
  // The embedded database has one transaction at a time.
  if (!needs(t, 'postgresql')) return;
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-retention-'));
  await using database = await openDatabase('postgresql');
  const { scope, workflow, clock, now, open, upload, push, close } = await opened(database, folder.path);
  try {
    await setRetention(scope, { attestationDays: 1 });
    const run = await open();
    await push(run, [await upload('pushed')]);
    clock.at += 100 * dayMs;

    let ended = false;
    const [written, holding] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const hold = scope.run(async (tx) => {
      await tx.execute(sql`update workflows set held_at = now(), hold_reason = 'case 3' where id = ${workflow.id}::uuid`);
      written.resolve();
      await holding.promise;
    });
    await written.promise;
    const waiting = sql`select from pg_locks where not granted`;
    const removing = removeDueRuns(scope, { now: now(), limit: 10 }).finally(() => {
      ended = true;
    });
    await until('the removal waits', async () => ended || (await database.system.read((tx) => tx.execute(waiting))).rows.length > 0);
    holding.resolve();
    await hold;
    assert.deepEqual(await removing, []);
    assert.equal((await describeRun(scope, run.id)).removedAt, null);
  } finally {
    await close();
  }
});
