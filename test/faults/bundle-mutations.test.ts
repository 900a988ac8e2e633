import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bundleFromJSON, isBundleWithDsseEnvelope } from '@sigstore/bundle';
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
import { digestOf, hexOf } from '../../core/digest.ts';
import { ChainloopError } from '../../core/errors.ts';
import { verifyBundle } from '../../core/verify.ts';
import { artifact, ingest, keyPair, signed, statementText } from './signed-statement.ts';

// faults.md, S1: whatever happens to the bytes of a bundle, a verifier sees the signed payload or nothing, and ingest keeps nothing.

// Forty thousand errors are made here, and nobody reads where they come from.
Error.stackTraceLimit = 0;

const statement = statementText(hexOf(digestOf(artifact)));

/** Every single-bit flip, every byte deleted, every byte doubled, every truncation. */
function* mutants(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[at] = (bytes[at] ?? 0) ^ (1 << bit);
      yield flipped;
    }
    yield Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]);
    yield Buffer.concat([bytes.subarray(0, at + 1), bytes.subarray(at)]);
    yield bytes.subarray(0, at);
  }
}

for (const type of ['P-256', 'Ed25519'] as const) {
  test(`no mutant of a bundle changes what was signed, and none is kept (${type})`, (t) => {
    const signer = keyPair('release', type);
    const keys = [signer.trusted, keyPair('other').trusted];
    const original = signed(statement, signer);
    assert.ok(ingest(original, keys));

    const count = { mutants: 0, verified: 0, changed: 0, kept: 0, otherErrors: 0 };
    const attempt = <T>(action: () => T): T | undefined => {
      try {
        return action();
      } catch (error) {
        if (!(error instanceof ChainloopError)) count.otherErrors++;
        return undefined;
      }
    };
    for (const mutant of mutants(Buffer.from(original))) {
      const text = mutant.toString('utf8');
      count.mutants++;
      const verified = attempt(() => verifyBundle(text, { type: 'keys', keys }));
      if (verified !== undefined) {
        count.verified++;
        const same =
          Buffer.from(verified.payload).equals(Buffer.from(statement)) &&
          verified.payloadType === 'application/vnd.in-toto+json' &&
          verified.signer.name === 'release';
        if (!same) count.changed++;
      }
      if (attempt(() => ingest(text, keys)) !== undefined) count.kept++;
    }
    t.diagnostic(`S1 ${type}: ${JSON.stringify(count)} of a bundle of ${original.length} bytes`);
    assert.deepEqual({ ...count, mutants: 0, verified: 0 }, { mutants: 0, verified: 0, changed: 0, kept: 0, otherErrors: 0 });
  });
}

test('the same holds for a bundle that a person has formatted, except that ingest does not keep even the original', (t) => {
  const signer = keyPair('release');
  const keys = [signer.trusted];
  const original = JSON.stringify(JSON.parse(signed(statement, signer)), null, 2);
  const count = { mutants: 0, verified: 0, changed: 0, kept: 0 };
  const holds = (action: () => unknown): boolean => {
    try {
      action();
      return true;
    } catch (error) {
      assert.ok(error instanceof ChainloopError, String(error));
      return false;
    }
  };
  for (const mutant of mutants(Buffer.from(original))) {
    const text = mutant.toString('utf8');
    count.mutants++;
    if (holds(() => ingest(text, keys))) count.kept++;
    const verifies = holds(() => {
      const { payload } = verifyBundle(text, { type: 'keys', keys });
      if (!Buffer.from(payload).equals(Buffer.from(statement))) count.changed++;
    });
    if (verifies) count.verified++;
  }
  t.diagnostic(`S1 formatted: ${JSON.stringify(count)}`);
  assert.deepEqual([count.changed, count.kept], [0, 0]);
});

test('sigstore-js, on the same mutants: the figure to compare with', (t) => {
  const signer = keyPair('release');
  const original = signed(statement, signer);
  const material = toTrustMaterial(TrustedRoot.fromJSON({}), (hint) => {
    if (hint !== signer.publicKey.hint) throw new Error('unknown key');
    return { publicKey: signer.publicKey.key, validFor: () => true };
  });
  const verifier = new Verifier(material, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 });
  const count = { mutants: 0, verified: 0, changed: 0 };
  for (const mutant of mutants(Buffer.from(original))) {
    count.mutants++;
    try {
      const bundle = bundleFromJSON(JSON.parse(mutant.toString('utf8')));
      verifier.verify(toSignedEntity(bundle));
      count.verified++;
      if (!isBundleWithDsseEnvelope(bundle) || bundle.content.dsseEnvelope.payload.toString() !== statement) count.changed++;
    } catch {
      // Refused, one way or another.
    }
  }
  t.diagnostic(`S1 sigstore-js: ${JSON.stringify(count)}`);
  assert.equal(count.changed, 0);
});
