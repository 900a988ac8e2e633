import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createKeylessPorts } from '../client/signing.ts';
import { createKeylessSigner } from '../core/adapters/keyless.ts';
import { createSigstoreSigner } from '../core/adapters/sigstore/signer.ts';
import type { CraftedMaterial } from '../core/crafting.ts';
import type { InitAnswer, Signer } from '../core/ports.ts';
import { createFakeAuthority } from '../test/fakes/authority.ts';
import { type ControlPlane, startControlPlane } from '../test/fakes/control-plane.ts';
import { type Issuer, startIssuer } from '../test/fakes/issuer.ts';
import { type Job, jobContract, startJob, text } from '../test/fakes/job.ts';
import { refusedPush } from '../test/fakes/refused-push.ts';
import { type Sigstore, startSigstore } from '../test/fakes/sigstore/server.ts';

const release = 'https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main';

/**
 * The referee where Sigstore signs, and the organization trusts an identity under its trusted root. The signers of these tests do not verify
 * their own work under that root, so that the referee is the first who looks.
 */
describe('the referee, Sigstore', () => {
  const stack = new AsyncDisposableStack();
  let sigstore: Sigstore;
  let withoutSct: Sigstore;
  let issuer: Issuer;
  let plane: ControlPlane;
  let acme: Awaited<ReturnType<ControlPlane['createOrganization']>>;
  let job: Job;
  let keyless: Signer;
  let materials: readonly CraftedMaterial[];

  before(async () => {
    sigstore = stack.use(await startSigstore());
    withoutSct = stack.use(await startSigstore());
    withoutSct.withoutSct();
    issuer = stack.use(await startIssuer({ audience: 'sigstore' }));
    plane = stack.use(await startControlPlane());
    acme = await plane.createOrganization('acme');
    await acme.api.contract.create.mutate({ name: 'release', format: 'yaml', body: jobContract });
    const token = await plane.createServiceAccount(acme.api, { workflow: 'release', project: 'bedrock', contract: 'release' });
    job = await startJob({ url: plane.url, organization: 'acme', token, trustedBy: acme.api });
    keyless = createKeylessSigner(createKeylessPorts(plane.api(token)));
    materials = [text('commit', '9a96775d'), await job.upload('binary', 'the binary')];
    await trust(sigstore.trustRoot());
  });
  after(() => stack.disposeAsync());

  async function trust(trustRoot: string, name = 'sigstore'): Promise<void> {
    await acme.api.identity.remove.mutate({ name }).catch(() => undefined);
    await acme.api.identity.trust.mutate({ name, issuer: issuer.issuer, identity: { exact: release }, trustRoot });
  }

  type Way = { readonly by?: Sigstore; readonly rekor?: readonly (1 | 2)[]; readonly own?: string; readonly token?: () => Promise<string> };

  function signer({ by = sigstore, rekor = [2], own = by.trustRoot(), token = () => issuer.github() }: Way = {}): Signer {
    const instance = async () => ({ trustRoot: own, signingConfig: by.signingConfig({ rekor }) });
    return createSigstoreSigner({ instance, token, now: () => new Date() });
  }

  const signed = (run: InitAnswer, way?: Way): Promise<string> => job.bundle(run, materials, { signer: signer(way) });

  const refused = (run: InitAnswer, bundle: string, code: string, words: RegExp): Promise<void> =>
    refusedPush({ api: acme.api, dataDir: plane.dataDir, job }, run, bundle, code, words);

  function edited(bundle: string, change: (material: Record<string, unknown>) => void): string {
    const value = JSON.parse(bundle);
    change(value.verificationMaterial);
    return JSON.stringify(value);
  }

  test('a push that Sigstore signed is accepted and stays verified: Rekor v1, Rekor v2, and both', async () => {
    for (const rekor of [[1], [2], [1, 2]] as const) {
      const run = await job.init();
      assert.equal((await job.push(run, await signed(run, { rekor }))).state, 'success');
      const { attestation } = await acme.api.run.describe.query({ id: run.runId });
      assert.deepEqual([attestation?.verified, attestation?.signer], [true, release]);
    }
  });

  test('an identity that nobody trusts is refused: another workflow, another issuer', async () => {
    const run = await job.init();
    const claims = { job_workflow_ref: 'acme/app-evil/.github/workflows/release.yml@refs/heads/main' };
    await refused(run, await signed(run, { token: () => issuer.github({ claims }) }), 'SIGNER_UNTRUSTED', /app-evil/);
    await using other = await startIssuer({ audience: 'sigstore' });
    await refused(run, await signed(run, { token: () => other.github() }), 'SIGNER_UNTRUSTED', /vouches for its signer/);
  });

  test('another Sigstore is another authority, whatever its certificates say', async () => {
    await using stranger = await startSigstore();
    const run = await job.init();
    await refused(run, await signed(run, { by: stranger }), 'TIMESTAMP_INVALID', /not of an authority/);
  });

  test('the reason is that of the authority that knows the certificate, not of another that is trusted for the same name', async () => {
    await trust(createFakeAuthority('another').trustRoot(), 'another');
    const run = await job.init();
    const bundle = edited(await signed(run), (material) => {
      delete material.tlogEntries;
    });
    await refused(run, bundle, 'TRANSPARENCY_INVALID', /0 transparency logs, and 1 are needed/);
    await acme.api.identity.remove.mutate({ name: 'another' });
  });

  test('S3, downgrade: the log entry is taken away', async () => {
    for (const rekor of [[1], [2]] as const) {
      const run = await job.init();
      const bundle = edited(await signed(run, { rekor }), (material) => {
        delete material.tlogEntries;
      });
      await refused(run, bundle, 'TRANSPARENCY_INVALID', /0 transparency logs, and 1 are needed/);
    }
  });

  test('S3, downgrade: the log entry is of another attestation, though it is of the same signer and log', async () => {
    const [run, other] = [await job.init(), await job.init()];
    const entries: unknown = JSON.parse(await signed(other)).verificationMaterial.tlogEntries;
    const bundle = edited(await signed(run), (material) => {
      material.tlogEntries = entries;
    });
    await refused(run, bundle, 'TRANSPARENCY_INVALID', /another key or certificate/);
  });

  test('S3, downgrade: the timestamp is taken away, where the log says no time', async () => {
    const run = await job.init();
    const bundle = edited(await signed(run), (material) => {
      delete material.timestampVerificationData;
    });
    await refused(run, bundle, 'TIMESTAMP_INVALID', /0 authorities, and 1 are needed/);
  });

  test('S3, downgrade: a certificate without the promise of a CT log, though the root names one', async () => {
    await trust(withoutSct.trustRoot());
    const run = await job.init();
    const own = withoutSct.trustRoot({ without: ['ctlogs'] });
    await refused(run, await signed(run, { by: withoutSct, own }), 'SIGNER_UNTRUSTED', /SCT/);
    await trust(sigstore.trustRoot());
  });

  test('S3, rollback and freeze: a trusted root from before the log, and one whose log is over', async () => {
    const run = await job.init();
    await trust(sigstore.trustRoot({ without: ['tlogs'] }));
    await refused(run, await signed(run), 'TRANSPARENCY_INVALID', /log that the trusted root does not name/);
    await trust(sigstore.trustRoot({ tlogs: { start: '2026-01-01T00:00:00Z', end: '2026-01-02T00:00:00Z' } }));
    await refused(run, await signed(run), 'TRANSPARENCY_INVALID', /outside the period/);
    await trust(sigstore.trustRoot());
    assert.equal((await job.push(run, await signed(run))).state, 'success');
  });

  test('the contract says that it must be Sigstore; keyless includes it, key does not', async () => {
    const sign = async (ways: string): Promise<InitAnswer> => {
      await acme.api.contract.update.mutate({ name: 'release', format: 'yaml', body: `${jobContract}signing: [${ways}]\n` });
      return job.init();
    };
    const accepted = async (run: InitAnswer, by: Signer): Promise<void> => {
      assert.equal((await job.push(run, await job.bundle(run, materials, { signer: by }))).state, 'success');
    };
    const only = await sign('sigstore');
    await refused(
      only,
      await job.bundle(only, materials, { signer: keyless }),
      'CONTRACT_NOT_SATISFIED',
      /signed with a certificate of this control plane, and the contract accepts only: sigstore/,
    );
    await refused(only, await job.bundle(only, materials), 'CONTRACT_NOT_SATISFIED', /signed with a key.*accepts only: sigstore/);
    await accepted(only, signer());
    await accepted(await sign('keyless'), signer());
    await accepted(await sign('key, sigstore'), job.signer);
    const byKey = await sign('key');
    await refused(byKey, await signed(byKey), 'CONTRACT_NOT_SATISFIED', /with a certificate of another authority.*accepts only: key/);
  });
});
