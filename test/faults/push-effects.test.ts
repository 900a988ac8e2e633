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
import type { Database, OrgScope } from '../../db/client.ts';
import { someContent } from '../../db/fixtures.ts';
import { createKey } from '../../db/keys.ts';
import { openRun } from '../../db/run-states.ts';
import { describeRun, type RunContext } from '../../db/runs.ts';
import { createWorkflow, describeWorkflow } from '../../db/workflows.ts';
import { createKindChecker } from '../../server/kind-checker.ts';
import { createLog } from '../../server/log.ts';
import { push } from '../../server/referee.ts';
import { createSecrets } from '../../server/sealing.ts';
import { readBundle } from '../../server/storage/attestation.ts';
import { pushBlob, type Storage } from '../../server/storage/storage.ts';
import { createStorages, type Storages } from '../../server/storages.ts';
import { createTrustRoots } from '../../server/trust-roots.ts';
import { forEachDatabase, newOrganization } from '../databases.ts';
import { newSigner } from '../fakes/job.ts';

/** Every effect that a push has, in its order; the fault is at the one with that number, before or after it took place. */
type Fault = { readonly at: number; readonly done: boolean };

const lost = () => new ChainloopError('STORAGE_UNAVAILABLE', 'storage: the connection was lost');

/** Counts the effects, and breaks one of them. */
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

async function prepare(database: Database, dataDir: string) {
  const { scope, name: organization } = await newOrganization(database);
  const log = createLog('silent', { write() {} });
  const storages = createStorages({ database, secrets: createSecrets(randomBytes(32)), dataDir, allowPrivateRegistries: true, log });
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
  async function attest(): Promise<{ run: RunContext; bundle: string }> {
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
    return { run, bundle };
  }
  return { scope, storages, attest, workflow: () => describeWorkflow(scope, { name: 'release', project: 'bedrock' }) };
}
