import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  addAll,
  aJob,
  binary,
  builderId,
  fails,
  jobContract,
  otherSigner,
  ready,
  signer,
  statementIn,
} from '../../test/fakes/crafting-job.ts';
import { push } from '../attestation.ts';
import { verifyBundle } from '../verify.ts';

test('a required material that is missing stops push, and the attestation goes on', async () => {
  const job = aJob();
  await job.init();
  await fails(job.push(), 'CONTRACT_NOT_SATISFIED', /3 problems/);
  await addAll(job);
  await job.push();
  assert.deepEqual(job.plane.states(), ['success']);
});

test('a push without a key is refused before anything is sent', async () => {
  const job = await ready();
  await fails(push({ ...job.ports, signer: undefined }, { builderId }), 'USAGE', /--key/);
  assert.equal((await job.status()).sealed, false);
});

test('a way to sign that the contract does not accept is refused before anything is signed', async () => {
  for (const [way, other, advice] of [
    ['key', 'keyless', /signed keyless, and the contract accepts only: key; .*--key FILE/],
    ['keyless', 'key', /signed with a key, and the contract accepts only: keyless; .*--signing keyless/],
  ] as const) {
    const job = aJob({ contract: { ...jobContract, signing: [way] } });
    await job.init();
    await addAll(job);
    let asked = false;
    const wrong = {
      way: other,
      sign: async (bytes: Uint8Array) => {
        asked = true;
        return signer.sign(bytes);
      },
    };
    await fails(job.push({ signer: wrong }), 'CONTRACT_NOT_SATISFIED', advice);
    assert.deepEqual([asked, (await job.status()).sealed], [false, false]);
    await job.push({ signer: { ...signer, way } });
  }
});

for (const when of ['before', 'after'] as const) {
  test(`a push that breaks ${when} its effect is repeated with the same bytes, and ends in one success`, async () => {
    const job = await ready();
    job.plane.breakNext('push', when);
    await fails(job.push(), 'CONTROL_PLANE_UNREACHABLE', /the same bytes are sent/);
    const kept = await job.store.sealed();
    assert.ok(kept !== undefined);
    assert.equal((await job.status()).sealed, true);
    await fails(job.add('commit', 'other'), 'CRAFTING_SEALED', /attestation push/);
    // The key is not needed again.
    const pushed = await push({ ...job.ports, signer: undefined }, { builderId });
    assert.ok(pushed.type === 'pushed');
    assert.equal(pushed.bundle, kept);
    assert.deepEqual(job.plane.states(), ['success']);
    await fails(job.status(), 'NO_CRAFTING');
  });
}

test('a push that is killed after the answer finds its work done', async () => {
  const job = await ready();
  // As if the process had ended before it could forget the crafting.
  const remembered = { ...job.store, remove: async () => undefined };
  await job.push({ store: remembered });
  assert.equal((await job.push()).type, 'pushed');
  assert.deepEqual(job.plane.states(), ['success']);
});

test('a push by a key that nobody trusts is refused, and can be signed again by another', async () => {
  const job = await ready();
  await fails(job.push({ signer: otherSigner }), 'SIGNER_UNTRUSTED', /nothing was recorded; .*chainloop key trust/);
  assert.equal((await job.status()).sealed, false);
  await job.push();
  assert.deepEqual(job.plane.states(), ['success']);
});

test('where no key is trusted yet, what to do about it is said once', async () => {
  const job = await ready();
  const push = async ({ bundle }: { readonly bundle: string }) => {
    verifyBundle(bundle, { type: 'keys', keys: [] });
    throw new Error('a bundle was believed');
  };
  await fails(
    job.push({ controlPlane: { ...job.plane.controlPlane, push } }),
    'SIGNER_UNTRUSTED',
    /^(?!.*key trust.*key trust).*key trust/,
  );
});

test('a push whose evidence has gone from storage can be mended by adding it again', async () => {
  const job = await ready();
  job.plane.evidence.clear();
  await fails(job.push(), 'EVIDENCE_MISSING');
  await job.add('binary', binary);
  await job.push();
  assert.deepEqual(job.plane.states(), ['success']);
});

for (const code of ['TOKEN_EXPIRED', 'RATE_LIMITED', 'INTERNAL', 'STORAGE_UNAVAILABLE'] as const) {
  test(`a push that fails with ${code} keeps the signed bytes: an earlier one may have arrived`, async () => {
    const job = await ready();
    job.plane.breakNext('push', 'after');
    await fails(job.push(), 'CONTROL_PLANE_UNREACHABLE');
    job.plane.breakNext('push', 'before', code);
    await fails(job.push(), code);
    await job.push();
    assert.deepEqual(job.plane.states(), ['success']);
  });
}

for (const code of ['CONFLICT', 'TIMESTAMP_INVALID'] as const) {
  test(`a push that is refused with ${code} is signed anew the next time`, async () => {
    const job = await ready();
    job.plane.breakNext('push', 'before', code);
    await fails(job.push(), code, /nothing was recorded/);
    assert.equal(await job.store.sealed(), undefined);
    await job.push();
    assert.deepEqual(job.plane.states(), ['success']);
  });
}

test('where jobs share the attestation, a push that another job overtook seals again at once', async () => {
  const job = await ready();
  job.plane.breakNext('push', 'before', 'CONFLICT');
  assert.equal((await job.push({ store: { ...job.store, shared: true } })).type, 'pushed');
  assert.deepEqual(job.plane.states(), ['success']);
});

test('a push to a run that has expired says so, and reset forgets it', async () => {
  const job = await ready();
  job.plane.expire();
  await fails(job.push(), 'RUN_EXPIRED', /attestation reset/);
  assert.equal((await job.reset()).ended, false);
  await job.init();
  assert.deepEqual(job.plane.states(), ['expired', 'initialized']);
});

test('a signer that signs something else is found out before anything is sent', async () => {
  const job = await ready();
  const liar = { sign: async () => signer.sign(Buffer.from('something else')) };
  await fails(job.push({ signer: liar }), 'SIGNATURE_INVALID');
  assert.equal(await job.store.sealed(), undefined);
  assert.deepEqual(job.plane.states(), ['initialized']);
});

test('a material that is added while push signs is in the attestation, or is refused', async () => {
  const job = await ready();
  let once = true;
  const slow = {
    sign: async (bytes: Uint8Array) => {
      if (once) await job.add('notes', binary);
      once = false;
      return signer.sign(bytes);
    },
  };
  const pushed = await job.push({ signer: slow });
  assert.ok(pushed.type === 'pushed');
  const statement = statementIn(pushed.bundle);
  assert.equal(statement.predicate.materials.length, 4);
});
