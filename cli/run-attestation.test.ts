import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../core/digest.ts';
import { type AttestedRun, attestationOf, bundleText } from './run-attestation.ts';
import { verifyRun } from './run-verify.ts';

const bundle = { mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json', b: 1, a: 2 };
const digest = digestOf(JSON.stringify(bundle));
const run = { id: 'r', state: 'success' } as const;
const lost = 'attestation sha256:00: it is not in storage any more';
const gone: AttestedRun = { run, attestation: { digest, verificationError: lost, statement: null, bundle: null } };

test('the bytes of a bundle are those that its digest names, whatever the order of its keys', () => {
  assert.equal(digestOf(bundleText({ bundle, digest })), digest);
});

test('a control plane that answers with another bundle is found out', () => {
  assert.throws(() => bundleText({ bundle: { ...bundle, a: 3 }, digest }), { code: 'DIGEST_MISMATCH' });
});

test('an attestation that storage has lost is an error with its reason, and no null', () => {
  assert.throws(() => attestationOf(gone), { code: 'EVIDENCE_MISSING', message: lost });
  const check = verifyRun(gone, { type: 'keys', keys: [] });
  assert.ok(check.type === 'refused');
  assert.equal(check.error.message, lost);
});

test('a run without an attestation says in which state it is', () => {
  const open: AttestedRun = { run: { id: 'r', state: 'failed' }, attestation: null };
  assert.throws(() => attestationOf(open), { code: 'NOT_FOUND', message: /its state is failed/ });
});
