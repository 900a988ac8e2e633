import assert from 'node:assert/strict';
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { bundleFromJSON } from '@sigstore/bundle';
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
import { createKeylessPorts } from '../client/signing.ts';
import { createKeylessSigner } from '../core/adapters/keyless.ts';
import { toBase64 } from '../core/base64.ts';
import type { CraftedMaterial } from '../core/crafting.ts';
import type { InitAnswer, Signer } from '../core/ports.ts';
import {
  acme as acmeApp,
  certifiedSigner,
  createFakeAuthority,
  github,
  logEntry,
  type Signature,
  timestamp,
} from '../test/fakes/authority.ts';
import { type ControlPlane, startControlPlane } from '../test/fakes/control-plane.ts';
import { type Job, jobContract, startJob, text } from '../test/fakes/job.ts';
import { refusedPush } from '../test/fakes/refused-push.ts';

/**
 * The referee's checks where a certificate signs: each test breaks one thing alone and sees the code of its check; the run is still
 * open afterwards. The control plane uses authorities whose keys the tests have, so that every lie is signed for real.
 */
describe('the referee, keyless', () => {
  const authority = createFakeAuthority('ours');
  const stranger = createFakeAuthority('stranger');
  const theirCi = createFakeAuthority('their CI');
  const stack = new AsyncDisposableStack();
  let plane: ControlPlane;
  let acme: Awaited<ReturnType<ControlPlane['createOrganization']>>;
  let job: Job;
  let honest: Signer;
  let san: string;
  let materials: readonly CraftedMaterial[];

  before(async () => {
    const folder = stack.use(await mkdtempDisposable(join(tmpdir(), 'chainloop-ca-')));
    for (const [name, content] of Object.entries(authority.files())) await writeFile(join(folder.path, name), content, { mode: 0o600 });
    plane = stack.use(await startControlPlane({ options: { caDir: folder.path } }));
    acme = await plane.createOrganization('acme');
    await acme.api.contract.create.mutate({ name: 'release', format: 'yaml', body: jobContract });
    const token = await plane.createServiceAccount(acme.api, { workflow: 'release', project: 'bedrock', contract: 'release' });
    job = await startJob({ url: plane.url, organization: 'acme', token, trustedBy: acme.api });
    honest = createKeylessSigner(createKeylessPorts(plane.api(token)));
    san = await sanOf(token);
    materials = [text('commit', '9a96775d'), await job.upload('binary', 'the binary')];
  });
  after(() => stack.disposeAsync());

  async function sanOf(token: string): Promise<string> {
    return (await plane.api(token).auth.whoami.query()).identity?.san ?? assert.fail('the job has no identity');
  }

  const bundleBy = (run: InitAnswer, signer: Signer) => job.bundle(run, materials, { signer });
  /** As this job would sign now, but for what is said. */
  const liar = (lie: Signature = {}, by = authority) => certifiedSigner(by, { san, issuer: plane.url, signedAt: new Date(), ...lie });
  const refused = (run: InitAnswer, bundle: string, code: string, words: RegExp): Promise<void> =>
    refusedPush({ api: acme.api, dataDir: plane.dataDir, job }, run, bundle, code, words);

  /** The same bundle with something in its JSON changed. */
  function edited(bundle: string, change: (value: { verificationMaterial: Record<string, unknown> }) => void): string {
    const value = JSON.parse(bundle);
    change(value);
    return JSON.stringify(value);
  }

  test('an honest keyless push is accepted, and sigstore-js verifies it with the exported trust root', async () => {
    for (const signer of [honest, liar()]) {
      const run = await job.init();
      const bundle = await bundleBy(run, signer);
      assert.equal((await job.push(run, bundle)).state, 'success');
      const root = toTrustMaterial(TrustedRoot.fromJSON(await acme.api.trustRoot.get.query()));
      const verifier = new Verifier(root, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 1 });
      const { identity } = verifier.verify(toSignedEntity(bundleFromJSON(JSON.parse(bundle))));
      assert.deepEqual([identity?.subjectAlternativeName, identity?.extensions?.issuer], [san, plane.url]);
    }
  });

  test('check 1: a chain of certificates, an older bundle and a damaged certificate are refused', async () => {
    const run = await job.init();
    const bundle = await bundleBy(run, honest);
    const { rawBytes } = JSON.parse(bundle).verificationMaterial.certificate;
    const withChain = edited(bundle, (value) => {
      const { certificate: _, ...rest } = value.verificationMaterial;
      value.verificationMaterial = { x509CertificateChain: { certificates: [{ rawBytes }] }, ...rest };
    });
    await refused(run, withChain, 'BUNDLE_INVALID', /v0\.3 has the certificate/);
    await refused(
      run,
      withChain.replace('bundle.v0.3+json', 'bundle+json;version=0.2'),
      'BUNDLE_INVALID',
      /mediaType is not .*which evidence is kept in/,
    );
    const damaged = toBase64(Buffer.concat([Buffer.from(rawBytes, 'base64'), Buffer.of(0)]));
    await refused(run, bundle.replace(rawBytes, damaged), 'BUNDLE_INVALID', /its certificate is refused/);
  });

  test('check 2: a certificate of another authority is refused', async () => {
    const run = await job.init();
    await refused(run, await bundleBy(run, liar({ issuing: stranger.issuing })), 'SIGNER_UNTRUSTED', /not of an authority/);
  });

  test("check 2: a certificate of another run's identity is refused, though the authority is the same", async () => {
    const run = await job.init();
    // Another account of the same workflow, one of another workflow, and a name that begins like ours.
    const token = await plane.createServiceAccount(acme.api, { workflow: 'release', project: 'bedrock' });
    const colleague = createKeylessSigner(createKeylessPorts(plane.api(token)));
    await refused(run, await bundleBy(run, colleague), 'SIGNER_UNTRUSTED', /its certificate names .*service-accounts\/job-/);
    const other = await plane.createServiceAccount(acme.api, { workflow: 'nightly', project: 'bedrock' });
    await refused(run, await bundleBy(run, liar({ san: await sanOf(other) })), 'SIGNER_UNTRUSTED', /workflows\/nightly/);
    await refused(run, await bundleBy(run, liar({ san: `${san}-evil` })), 'SIGNER_UNTRUSTED', /-evil; trusted here is/);
  });

  test('check 2: the identity of this run, vouched for by somebody else, is refused', async () => {
    const run = await job.init();
    await refused(run, await bundleBy(run, liar({ issuer: github })), 'SIGNER_UNTRUSTED', /githubusercontent\.com vouches/);
    await refused(run, await bundleBy(run, liar({ issuer: `${plane.url}/` })), 'SIGNER_UNTRUSTED', /vouches/);
  });

  test('check 2: a signature over other bytes is refused', async () => {
    const [run, another] = [await job.init(), await job.init()];
    const payload = (bundle: string): string => JSON.parse(bundle).dsseEnvelope.payload;
    const bundle = await bundleBy(run, honest);
    const forged = bundle.replace(payload(bundle), payload(await bundleBy(another, honest)));
    await refused(run, forged, 'SIGNATURE_INVALID', /signature/);
  });

  test('check 2: a log entry that nobody here can check is refused', async () => {
    const run = await job.init();
    const bundle = await bundleBy(run, honest);
    const { dsseEnvelope: envelope, verificationMaterial } = JSON.parse(bundle);
    const [payload, signature, signer] = [envelope.payload, envelope.signatures[0].sig, verificationMaterial.certificate.rawBytes].map(
      (part) => new Uint8Array(Buffer.from(String(part), 'base64')),
    );
    assert.ok(payload !== undefined && signature !== undefined && signer !== undefined);
    const withEntry = edited(bundle, (value) => {
      const { certificate, timestampVerificationData } = value.verificationMaterial;
      const tlogEntries = [logEntry(authority, { payload, signature, signer, at: new Date() })];
      value.verificationMaterial = { certificate, tlogEntries, timestampVerificationData };
    });
    await refused(run, withEntry, 'TRANSPARENCY_INVALID', /log that the trusted root does not name/);
  });

  test('check 2: a trusted identity signs too, exactly or beneath its prefix; nobody whose name begins like it', async () => {
    const name = 'release-workflows';
    const by = (identity: string) => liar({ san: identity, issuer: github });
    const run = await job.init();
    await refused(run, await bundleBy(run, by(acmeApp)), 'SIGNER_UNTRUSTED', /trusted here is/);
    await acme.api.identity.trust.mutate({ name, issuer: github, identity: { prefix: 'https://github.com/acme/app' } });
    await refused(run, await bundleBy(run, by(acmeApp.replace('/app/', '/app-evil/'))), 'SIGNER_UNTRUSTED', /app-evil/);
    await refused(run, await bundleBy(run, liar({ san: acmeApp })), 'SIGNER_UNTRUSTED', /vouches for its signer/);
    assert.equal((await job.push(run, await bundleBy(run, by(acmeApp)))).state, 'success');
    await acme.api.identity.remove.mutate({ name });

    const exactly = await job.init();
    await acme.api.identity.trust.mutate({ name, issuer: github, identity: { exact: acmeApp } });
    await refused(exactly, await bundleBy(exactly, by(`${acmeApp}.1`)), 'SIGNER_UNTRUSTED', /trusted here is/);
    assert.equal((await job.push(exactly, await bundleBy(exactly, by(acmeApp)))).state, 'success');
    await acme.api.identity.remove.mutate({ name });
    const removed = await job.init();
    await refused(removed, await bundleBy(removed, by(acmeApp)), 'SIGNER_UNTRUSTED', /trusted here is/);
  });

  test("check 2: an identity of the organization's own authority is believed of that authority alone, and only there", async () => {
    const identity = { name: 'their-ci', issuer: github, identity: { exact: acmeApp }, trustRoot: theirCi.trustRoot() };
    await acme.api.identity.trust.mutate(identity);
    const run = await job.init();
    const as = { san: acmeApp, issuer: github };
    await refused(run, await bundleBy(run, liar(as)), 'TIMESTAMP_INVALID', /not of an authority/);
    await refused(run, await bundleBy(run, liar({ ...as, stamping: theirCi.stamping })), 'SIGNER_UNTRUSTED', /not of an authority/);
    // Their authority cannot speak for our jobs.
    await refused(run, await bundleBy(run, liar({}, theirCi)), 'TIMESTAMP_INVALID', /not of an authority/);
    assert.equal((await job.push(run, await bundleBy(run, liar(as, theirCi)))).state, 'success');
    await acme.api.identity.remove.mutate({ name: identity.name });
  });

  test('check 2: an identity that only another organization trusts is refused', async () => {
    const other = await plane.createOrganization('others-identity');
    await other.api.identity.trust.mutate({ name: 'theirs', issuer: github, identity: { exact: acmeApp } });
    const run = await job.init();
    await refused(run, await bundleBy(run, liar({ san: acmeApp, issuer: github })), 'SIGNER_UNTRUSTED', /trusted here is/);
  });

  test('check 3: no timestamp, one from before or after the ten minutes, one of another signature, one by another authority', async () => {
    const run = await job.init();
    const minutesFromNow = (minutes: number): Date => new Date(Date.now() + minutes * 60_000);
    const certificate = { notBefore: minutesFromNow(-5), notAfter: minutesFromNow(5) };
    const says = /outside the validity of its certificate/;
    await refused(run, await bundleBy(run, liar({ stamped: false })), 'TIMESTAMP_INVALID', /0 authorities, and 1/);
    await refused(run, await bundleBy(run, liar({ ...certificate, signedAt: minutesFromNow(6) })), 'TIMESTAMP_INVALID', says);
    await refused(run, await bundleBy(run, liar({ ...certificate, signedAt: minutesFromNow(-6) })), 'TIMESTAMP_INVALID', says);
    await refused(run, await bundleBy(run, liar({ stamping: stranger.stamping })), 'TIMESTAMP_INVALID', /not of an authority/);
    await refused(run, await bundleBy(run, liar({ stamping: authority.issuing })), 'TIMESTAMP_INVALID', /not of an authority/);
    const stamped = (bytes: Uint8Array) => async (): Promise<string> =>
      edited(await bundleBy(run, honest), (value) => {
        const signedTimestamp = toBase64(timestamp(authority.stamping, bytes, new Date()));
        value.verificationMaterial.timestampVerificationData = { rfc3161Timestamps: [{ signedTimestamp }] };
      });
    await refused(run, await stamped(Buffer.from('another signature'))(), 'TIMESTAMP_INVALID', /could not be verified/);
    assert.equal((await job.push(run, await bundleBy(run, liar(certificate)))).state, 'success');
  });

  test('check 6: the contract says how it may be signed', async () => {
    const sign = async (ways: string): Promise<InitAnswer> => {
      await acme.api.contract.update.mutate({ name: 'release', format: 'yaml', body: `${jobContract}signing: [${ways}]\n` });
      return job.init();
    };
    const byKey = await sign('key');
    await refused(byKey, await bundleBy(byKey, honest), 'CONTRACT_NOT_SATISFIED', /signed with a certificate.*accepts only: key/);
    assert.equal((await job.push(byKey, await bundleBy(byKey, job.signer))).state, 'success');
    const keyless = await sign('keyless');
    await refused(keyless, await bundleBy(keyless, job.signer), 'CONTRACT_NOT_SATISFIED', /signed with a key.*accepts only: keyless/);
    // Relaxed after init, it is still the pinned revision that counts.
    const both = await sign('key, keyless');
    await refused(keyless, await bundleBy(keyless, job.signer), 'CONTRACT_NOT_SATISFIED', /accepts only: keyless/);
    assert.equal((await job.push(keyless, await bundleBy(keyless, honest))).state, 'success');
    assert.equal((await job.push(both, await bundleBy(both, job.signer))).state, 'success');
    await acme.api.contract.update.mutate({ name: 'release', format: 'yaml', body: jobContract });
  });
});
