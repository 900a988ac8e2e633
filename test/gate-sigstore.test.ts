import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { delimiter } from 'node:path';
import { after, before, test } from 'node:test';
import { createSigstoreSigner } from '../core/adapters/sigstore/signer.ts';
import { certifiedSigner, createFakeAuthority } from './fakes/authority.ts';
import { type GateScene, san, startGateScene } from './fakes/gate.ts';
import { type Sigstore, startSigstore } from './fakes/sigstore/server.ts';

// Several trusted roots in one question: the first is of the control plane, and others certify signers.

const stranger = createFakeAuthority('stranger');
let scene: GateScene;
let sigstore: Sigstore;
let roots: { readonly plane: string; readonly sigstore: string; readonly stranger: string };
before(async () => {
  scene = await startGateScene('pglite');
  sigstore = await startSigstore();
  roots = {
    plane: scene.root,
    sigstore: await scene.write('sigstore-root.json', sigstore.trustRoot()),
    stranger: await scene.write('stranger-root.json', stranger.trustRoot()),
  };
  const identity = { name: 'sigstore', issuer: scene.github.issuer, identity: { exact: san }, trustRoot: sigstore.trustRoot() };
  await scene.api.identity.trust.mutate(identity);
});
after(async () => {
  await sigstore?.[Symbol.asyncDispose]();
  await scene?.[Symbol.asyncDispose]();
});

const signer = () =>
  createSigstoreSigner({
    instance: async () => ({ trustRoot: sigstore.trustRoot(), signingConfig: sigstore.signingConfig() }),
    token: () => scene.github.github({ audience: 'sigstore' }),
    now: () => new Date(),
  });
const under = (...paths: readonly string[]): readonly string[] => paths.flatMap((path) => ['--trust-root', path]);

/** How the gate ends: the code and the fix of what failed first. */
async function asked(args: readonly string[], options: Parameters<GateScene['verify']>[1] = {}) {
  const { answer, stderr } = await scene.verify(args, options);
  assert.ok(answer, stderr);
  return { code: answer.code, fix: answer.checks.find(({ ok }) => !ok)?.fix ?? null };
}
const passes = { code: null, fix: null };

test('what Sigstore signed and the control plane vouches for passes in one command, each under its own root', async () => {
  const made = await scene.attest({ signer: signer() });
  const base = [made.artifact, '--workflow', 'bedrock/release', '--vsa'];
  const files = [...base, '--bundle', made.bundle, '--bundle', await scene.vsa(made), '--organization', 'acme'];
  const offline = [...files, '--verifier', `${scene.plane.url}/verifier`];
  for (const [args, options] of [
    [base, scene],
    [offline, {}],
    [[...offline, '--identity', san, '--identity-issuer', scene.github.issuer], {}],
  ] as const) {
    assert.deepEqual(await asked([...args, ...under(roots.plane, roots.sigstore)], options), passes);
    const named = (...paths: readonly string[]) => asked(args, { ...options, env: { CHAINLOOP_TRUST_ROOT: paths.join(delimiter) } });
    assert.deepEqual(await named(roots.plane, roots.sigstore), passes);
    assert.equal((await named(roots.sigstore, roots.plane)).code, 'TRUST_ROOT_MISMATCH');
    // One of them is not enough, and the fix says which is missing.
    const withoutSigstore = await asked([...args, ...under(roots.plane)], options);
    assert.deepEqual(
      [withoutSigstore.code, /Sigstore.*one more --trust-root FILE/.test(withoutSigstore.fix ?? '')],
      ['TRUST_ROOT_MISMATCH', true],
    );
    for (const paths of [[roots.sigstore], [roots.sigstore, roots.plane]]) {
      const { code, fix } = await asked([...args, ...under(...paths)], options);
      assert.equal(code, 'TRUST_ROOT_MISMATCH');
      assert.match(fix ?? '', /that control plane, before any other: --trust-root FILE, from: chainloop trust-root export/);
      assert.deepEqual(await asked([...args, ...under(roots.plane, ...paths)], options), passes);
    }
  }
  // What the control plane certified needs no other, and is not disturbed by one.
  const keyless = await scene.attest();
  const both = under(roots.plane, roots.sigstore);
  assert.deepEqual(await asked([keyless.artifact, '--bundle', keyless.bundle, '--identity', san, ...both]), passes);
  assert.deepEqual(await asked([keyless.artifact, '--vsa', ...both], scene), passes);
});

test('a summary is believed under the first root alone, whatever the others certify', async () => {
  const made = await scene.attest();
  const forged = await scene.vsa(made, { authority: stranger });
  const files = [
    made.artifact,
    '--bundle',
    made.bundle,
    '--bundle',
    forged,
    '--vsa',
    '--organization',
    'acme',
    '--workflow',
    'bedrock/release',
  ];
  const args = [...files, '--verifier', `${scene.plane.url}/verifier`];
  assert.equal((await asked([...args, ...under(roots.plane, roots.stranger)])).code, 'TRUST_ROOT_MISMATCH');
  // It is a summary like any other where somebody says that the stranger is the control plane.
  assert.deepEqual(await asked([...args, ...under(roots.stranger, roots.plane)]), passes);
});

test('a signature holds under one root as a whole: a certificate of one and a time of another are nothing', async () => {
  const then = 'leave';
  const mixed = certifiedSigner(scene.authority, { san, signedAt: new Date(), stamping: stranger.stamping });
  const made = await scene.attest({ ...{ signer: mixed, then } });
  const args = [made.artifact, '--bundle', made.bundle, '--identity', san];
  assert.equal((await asked([...args, ...under(roots.plane, roots.stranger)])).code, 'TRUST_ROOT_MISMATCH');
  // Where one of them has its authorities, and it was altered, that is said.
  const good = await scene.attest({ signer: signer() });
  const altered = (await readFile(good.bundle, 'utf8')).replace(/"sig":"(.)/, (_, first: string) => `"sig":"${first === 'A' ? 'B' : 'A'}`);
  const path = await scene.write('altered.json', altered);
  const of = [good.artifact, '--bundle', path, '--identity', san];
  for (const order of [under(roots.plane, roots.sigstore), under(roots.sigstore, roots.plane)])
    assert.equal((await asked([...of, ...order])).code, 'ATTESTATION_INVALID');
});

test('roots that say nothing, or are too many, are refused', async () => {
  const { artifact, bundle } = await scene.attest();
  const args = [artifact, '--bundle', bundle, '--identity', san];
  const many = await scene.verify([...args, ...under(...Array.from({ length: 11 }, () => roots.plane))]);
  assert.match(many.stderr, /and at most 10 are taken/);
  const keyed = await scene.verify([artifact, '--bundle', bundle, '--key', bundle, ...under(roots.plane, roots.sigstore)]);
  assert.deepEqual([keyed.code, /beside --key there is one/.test(keyed.stderr)], [2, true], keyed.stderr);
});
