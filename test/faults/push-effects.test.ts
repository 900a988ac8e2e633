import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { materialManifest, materialTag } from '../../core/adapters/oci/evidence-store.ts';
import { buildBundle } from '../../core/bundle.ts';
import { Contract } from '../../core/contract.ts';
import { digestOf } from '../../core/digest.ts';
import { pae, statementPayloadType } from '../../core/dsse.ts';
import { ChainloopError } from '../../core/errors.ts';
import { keyHint } from '../../core/key.ts';
import { buildStatement } from '../../core/statement.ts';
import { createCasBackend, setMirror } from '../../db/cas-backends.ts';
import type { Database, OrgScope } from '../../db/client.ts';
import { someContent } from '../../db/fixtures.ts';
import { createKey } from '../../db/keys.ts';
import { effectsOfRun } from '../../db/outbox.ts';
import { openRun } from '../../db/run-states.ts';
import { describeRun } from '../../db/runs.ts';
import { createWorkflow, describeWorkflow } from '../../db/workflows.ts';
import { createAuthority } from '../../server/ca/authority.ts';
import { effectHandlers } from '../../server/effects.ts';
import { createKindChecker } from '../../server/kind-checker.ts';
import { createLog } from '../../server/log.ts';
import { startOutbox } from '../../server/outbox.ts';
import { push } from '../../server/referee.ts';
import { createSecrets } from '../../server/sealing.ts';
import { readBundle } from '../../server/storage/attestation.ts';
import { pushBlob, type Storage } from '../../server/storage/storage.ts';
import { createStorages, type Storages } from '../../server/storages.ts';
import { createTrustRoots } from '../../server/trust-roots.ts';
import { createVerdicts } from '../../server/verdicts.ts';
import { forEachDatabase, newOrganization } from '../databases.ts';
import { newSigner } from '../fakes/job.ts';

/** Every effect that a push has, in its order; the fault is at the one with that number, before or after it took place. */
type Fault = { readonly at: number; readonly done: boolean };

const secrets = createSecrets(randomBytes(32));

const lost = () => new ChainloopError('STORAGE_UNAVAILABLE', 'storage: the connection was lost');

/** Counts the effects, and breaks one of them, once. */
function breaking(storages: Storages, scope: OrgScope, fault: Fault | undefined) {
  const seen: string[] = [];
  async function effect<T>(name: string, act: () => Promise<T>): Promise<T> {
    const at = seen.push(name) - 1;
    if (at === fault?.at && !fault.done) throw lost();
    const answer = await act();
    if (at === fault?.at) throw lost();
    return answer;
  }
  const wrapped = (storage: Storage): Storage => ({
    ...storage,
    beginUpload: () => effect('beginUpload', () => storage.beginUpload()),
    finish: (...given) => effect('finish', () => storage.finish(...given)),
    putManifest: (...given) => effect('putManifest', () => storage.putManifest(...given)),
  });
  return {
    seen,
    storages: {
      ...storages,
      current: async (of: OrgScope) => {
        const backend = await storages.current(of);
        return { ...backend, storage: wrapped(backend.storage) };
      },
      byId: async (of: OrgScope, id: string) => wrapped(await storages.byId(of, id)),
    } satisfies Storages,
    scope: {
      ...scope,
      statement: <T extends Record<string, unknown>>(...given: Parameters<OrgScope['statement']>) =>
        effect('statement', () => scope.statement<T>(...given)),
    } satisfies OrgScope,
  };
}

forEachDatabase('every effect of a push, broken before and after it: the next push ends in exactly one success', async (t, database) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-effects-'));
  const plane = await prepare(database, folder.path);
  const { scope, storages } = plane;
  const now = () => new Date();
  const kinds = createKindChecker();
  // Everything here is signed with a key.
  const authority = { trustRoot: () => Promise.reject(new Error('no certificate is expected')) };
  const deps = { kinds, now, authority, trustRoots: createTrustRoots() };
  let successes = 0;
  try {
    // The first push also stores what all attestations share; the second one has the effects of every other.
    let whole = breaking(storages, scope, undefined);
    for (; successes < 2; successes++) {
      whole = breaking(storages, scope, undefined);
      const { run, bundle } = await plane.attest();
      await push({ storages: whole.storages, ...deps }, whole.scope, run, bundle);
    }
    assert.ok(whole.seen.includes('statement') && whole.seen.includes('putManifest') && whole.seen.includes('finish'), whole.seen.join());

    for (const [at, name] of whole.seen.entries()) {
      for (const done of [false, true]) {
        const what = `${name}, effect ${at + 1} of ${whole.seen.length}, ${done ? 'done but the answer lost' : 'not done'}`;
        const { run, bundle } = await plane.attest();
        const broken = breaking(storages, scope, { at, done });
        await assert.rejects(
          push({ storages: broken.storages, ...deps }, broken.scope, run, bundle),
          { code: 'STORAGE_UNAVAILABLE' },
          what,
        );

        // Between the two pushes the run is open, or a success that is all there: never half of one.
        const between = await describeRun(scope, run.id);
        assert.equal(between.state, name === 'statement' && done ? 'success' : 'initialized', what);
        const answer = await push({ storages, ...deps }, scope, await describeRun(scope, run.id), bundle);
        successes++;
        assert.deepEqual(answer, { runId: run.id, digest: digestOf(bundle), state: 'success' }, what);
        const ended = await describeRun(scope, run.id);
        assert.equal(ended.state, 'success', what);
        const stored = await readBundle((await storages.current(scope)).storage, digestOf(bundle));
        assert.equal(Buffer.from(stored ?? []).toString(), bundle, what);
      }
    }
    const { runsSuccess, runsCount } = await plane.workflow();
    assert.deepEqual({ runsSuccess, runsCount }, { runsSuccess: successes, runsCount: successes });
    t.diagnostic(`${whole.seen.length} effects, each broken twice: ${whole.seen.join(', ')}`);
  } finally {
    await kinds.close();
    await storages.close();
  }
});

forEachDatabase('every effect after a push, broken before and after it: all are done in the end, and each once', async (t, database) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-effects-'));
  const plane = await prepare(database, folder.path);
  const { scope, storages } = plane;
  const kinds = createKindChecker();
  const authority = { trustRoot: () => Promise.reject(new Error('no certificate is expected')) };
  const deps = { kinds, now: () => new Date(), authority, trustRoots: createTrustRoots() };
  const log = createLog('silent', { write() {} });
  const origin = () => 'https://chainloop.example.com';
  const verifier = createAuthority({ database, secrets, now: deps.now, origin });
  const mirror = await plane.addMirror();
  const home = (await storages.current(scope)).storage;

  /** Pushes, and lets an outbox do the rest with this fault in it. */
  async function attested(fault: Fault | undefined): Promise<readonly string[]> {
    const { run, bundle, material, manifest } = await plane.attest();
    await push({ storages, ...deps }, scope, run, bundle);
    assert.deepEqual((await effectsOfRun(scope, run.id)).map(({ kind, casBackend }) => `${kind} ${casBackend}`).toSorted(), [
      'copy mirror',
      'link default',
      'verdict default',
    ]);
    const broken = breaking(storages, scope, fault);
    const done = Promise.withResolvers<void>();
    const outbox = startOutbox({
      database,
      log,
      handlers: effectHandlers({
        storages: broken.storages,
        verdicts: createVerdicts({ database, storages: broken.storages, authority: verifier, origin }),
      }),
      policy: { pauseMs: 1 },
      metrics: { effect: (kind, outcome) => kind === 'copy' && outcome === 'done' && done.resolve() },
    });
    await done.promise;
    await outbox.close();
    assert.deepEqual(await effectsOfRun(scope, run.id), []);
    for (const storage of [home, mirror]) {
      assert.equal((await storage.stat(material))?.sizeBytes, 64);
      assert.equal((await storage.getManifest(materialTag(material)))?.digest, manifest);
      // The attestation, and the verdict on it.
      assert.equal((await Array.fromAsync(storage.referrers(manifest))).length, 2);
      assert.equal(Buffer.from((await readBundle(storage, digestOf(bundle))) ?? []).toString(), bundle);
    }
    return broken.seen;
  }

  try {
    // The first one also brings what all share; the second one has the effects of every other.
    await attested(undefined);
    const seen = await attested(undefined);
    for (const at of seen.keys()) for (const done of [false, true]) await attested({ at, done });
    t.diagnostic(`${seen.length} effects, each broken twice: ${seen.join(', ')}`);
  } finally {
    await kinds.close();
    await storages.close();
  }
});

forEachDatabase('a run from before there were verdicts gets its own when it is asked for, once, however many ask', async (_, database) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-effects-'));
  const plane = await prepare(database, folder.path);
  const { scope, storages } = plane;
  const kinds = createKindChecker();
  const origin = () => 'https://chainloop.example.com';
  const authority = createAuthority({ database, secrets, now: () => new Date(), origin });
  const verdicts = createVerdicts({ database, storages, authority, origin });
  try {
    const { run, bundle, manifest } = await plane.attest();
    // Nobody does what the push has left to be done.
    await push({ storages, kinds, now: () => new Date(), authority, trustRoots: createTrustRoots() }, scope, run, bundle);
    const asked = await describeRun(scope, run.id);
    const [first, ...others] = await Promise.all(Array.from({ length: 3 }, () => verdicts.describe(asked)));
    assert.deepEqual([first?.result, first?.level, first?.problem], ['PASSED', 1, null]);
    assert.ok(first?.vsa !== null);
    for (const other of [...others, await verdicts.describe(asked)]) assert.deepEqual(other, first);
    const { storage } = await storages.current(scope);
    assert.equal((await Array.fromAsync(storage.referrers(manifest))).length, 1, 'what lost the race is not there');
  } finally {
    await kinds.close();
    await storages.close();
  }
});

async function prepare(database: Database, dataDir: string) {
  const { scope, name: organization } = await newOrganization(database);
  const log = createLog('silent', { write() {} });
  const storages = createStorages({ database, instanceId: 'one', secrets, dataDir, allowPrivateRegistries: true, log });
  const contract = Contract.parse({ materials: [{ type: 'ARTIFACT', name: 'binary', output: true }] });
  const { id } = await createWorkflow(scope, {
    name: 'release',
    project: 'bedrock',
    team: 'core',
    contract: { name: 'release', content: { ...someContent(), content: contract } },
  });
  const { signer, publicKeyPem } = await newSigner();
  await createKey(scope, { name: 'release', hint: keyHint(publicKeyPem), type: 'ecdsa-p256', pem: publicKeyPem });
  const { storage } = await storages.current(scope);

  /** A new run with its evidence in storage, and its signed bundle. */
  async function attest() {
    const content = randomBytes(64);
    const digest = digestOf(content);
    await pushBlob(storage, content, digest);
    const manifest = materialManifest({ digest, sizeBytes: content.length, fileName: 'binary', mediaType: 'application/octet-stream' });
    await storage.putManifest(materialTag(digest), 'application/vnd.oci.image.manifest.v1+json', manifest);
    const run = await openRun(scope, {
      workflowId: id,
      runner: { authenticated: false },
      idempotencyKey: randomUUID(),
      expiresAt: new Date('2099-01-01'),
    });
    const payload = buildStatement(
      {
        type: 'sealed',
        start: {
          version: 1,
          identity: {
            organization,
            project: 'bedrock',
            team: 'core',
            workflowId: id,
            workflowName: 'release',
            runId: run.id,
            contractName: 'release',
            contractRevision: 1,
          },
          contract,
          runner: { authenticated: false },
          env: {},
          initializedAt: run.createdAt.toISOString(),
          dryRun: false,
          controlPlane: '',
          annotations: {},
        },
        materials: [
          { name: 'binary', type: 'ARTIFACT', digest, sizeBytes: content.length, fileName: 'binary', uploaded: true, annotations: {} },
        ],
      },
      { finishedAt: new Date(), builderId: 'chainloop.dev/cli/test@sha256:00' },
    );
    const bundle = buildBundle({ payload, payloadType: statementPayloadType, ...(await signer.sign(pae(statementPayloadType, payload))) });
    return { run, bundle, material: digest, manifest: digestOf(manifest) };
  }

  /** A second folder, where everything is copied to. */
  async function addMirror(): Promise<Storage> {
    const mirror = { name: 'mirror', provider: 'layout', location: `${organization}-mirror`, insecure: false, credentials: null } as const;
    const { id: mirrorId } = await createCasBackend(scope, { ...mirror, isDefault: false }, new Date());
    await setMirror(scope, 'mirror', true);
    return storages.byId(scope, mirrorId);
  }
  return { scope, storages, attest, addMirror, workflow: () => describeWorkflow(scope, { name: 'release', project: 'bedrock' }) };
}
