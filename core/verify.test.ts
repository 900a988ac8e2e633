import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { bundleFromJSON, bundleToJSON, toDSSEBundle } from '@sigstore/bundle';
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
import fc from 'fast-check';
import { acme, certifiedBundle, createFakeAuthority, github, logEntry, minutes, noon, timestamp } from '../test/fakes/authority.ts';
import { buildBundle, type ParsedBundle, parseBundle } from './bundle.ts';
import { digestOf } from './digest.ts';
import { pae, statementPayloadType } from './dsse.ts';
import { type ErrorCode, isChainloopError } from './errors.ts';
import { hashOf, parsePublicKey } from './key.ts';
import { loadTrustRoot } from './trust-root.ts';
import { type Policy, verifyArtifacts, verifyBundle } from './verify.ts';

const payload = new Uint8Array(Buffer.from('{"_type":"https://in-toto.io/Statement/v1"}'));

function keyPair(name: string, type: 'P-256' | 'Ed25519') {
  const { privateKey, publicKey } = type === 'P-256' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('ed25519');
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  return { privateKey, publicKey, trusted: { name, pem }, key: parsePublicKey(pem) };
}
const release = keyPair('release', 'P-256');
const nightly = keyPair('nightly', 'Ed25519');

function signed(by: typeof release, bytes = payload, payloadType = statementPayloadType, hint = by.key.hint): string {
  const signature = new Uint8Array(sign(hashOf(by.key.type), pae(payloadType, bytes), by.privateKey));
  return buildBundle({ payload: bytes, payloadType, signature, verification: { type: 'publicKey', hint, publicKeyPem: by.key.pem } });
}

const refuses = (code: ErrorCode, says: RegExp) => (error: unknown) => {
  assert.ok(isChainloopError(error, code), String(error));
  assert.match(error.message, says);
  return true;
};

// The classic hole, which four verifiers have shipped: everything in the bundle is genuine, but an entry or a timestamp in it is not of
// this artifact, this key and this signature. Each row changes one of them, and the bundle is good without the change.
test('the classic hole', async (t) => {
  const authority = createFakeAuthority();
  const trustRoot = await loadTrustRoot(authority.trustRoot({ log: true }));
  const identity: Policy = { type: 'identity', trustRoot, identity: { exact: acme }, issuer: github };
  const { bundle, key } = certifiedBundle(authority, payload);
  const der = ({ signer }: ParsedBundle): Uint8Array | string => (signer.type === 'certificate' ? signer.der : release.key.pem);
  const other = new Uint8Array(Buffer.from('{"another":"artifact"}'));
  const again = (bytes: Uint8Array) => new Uint8Array(sign('sha256', pae(statementPayloadType, bytes), key));
  const stranger = certifiedBundle(authority, payload).bundle;
  const good = { payload, signature: bundle.signature, signer: der(bundle) };
  const byKey = parseBundle(signed(release));
  const keys: Policy = { type: 'keys', keys: [release.trusted], trustRoot };

  const accepts = (of: ParsedBundle, entry: Parameters<typeof logEntry>[1], policy: Policy, timestamps = of.timestamps) =>
    verifyBundle({ ...of, timestamps, transparencyLogEntries: [logEntry(authority, entry)] }, policy).signer.name;
  assert.equal(accepts(bundle, good, identity), acme);
  assert.equal(accepts(byKey, { payload, signature: byKey.signature, signer: release.key.pem }, keys), 'release');

  const hole = (name: string, code: ErrorCode, says: RegExp, attack: () => unknown) =>
    t.test(name, () => assert.throws(attack, refuses(code, says)));
  await hole('CVE-2022-36056: a log entry of another signature', 'TRANSPARENCY_INVALID', /signature mismatch/, () =>
    accepts(bundle, { ...good, signature: again(payload) }, identity),
  );
  await hole('CVE-2024-51746: a log entry of the same certificate, of another artifact', 'TRANSPARENCY_INVALID', /hash mismatch/, () =>
    accepts(bundle, { ...good, payload: other }, identity),
  );
  await hole('CVE-2024-53267: a log entry of something else altogether', 'TRANSPARENCY_INVALID', /another key or certificate/, () =>
    accepts(bundle, { payload: other, signature: stranger.signature, signer: der(stranger) }, identity),
  );
  await hole('CVE-2026-22703: a log entry of another certificate', 'TRANSPARENCY_INVALID', /another key or certificate/, () =>
    accepts(bundle, { ...good, signer: der(stranger) }, identity),
  );
  await hole('CVE-2026-22703, with keys: a log entry of another key', 'TRANSPARENCY_INVALID', /another key or certificate/, () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    return accepts(byKey, { payload, signature: byKey.signature, signer: publicKey.export({ type: 'spki', format: 'pem' }) }, keys);
  });
  for (const [what, stamp] of [
    ['of another signature by the same key', timestamp(authority.stamping, again(payload), noon)],
    ['of another bundle', stranger.timestamps[0] ?? new Uint8Array()],
    ['of the payload in place of the signature', timestamp(authority.stamping, payload, noon)],
  ] as const) {
    await hole(`a timestamp ${what}`, 'TIMESTAMP_INVALID', /timestamp could not be verified/, () =>
      accepts(bundle, good, identity, [stamp]),
    );
  }
  await hole('a second timestamp of another signature, beside a good one', 'TIMESTAMP_INVALID', /could not be verified/, () =>
    accepts(bundle, good, identity, [...bundle.timestamps, timestamp(authority.stamping, again(payload), minutes(1))]),
  );
});

test('a signature by a trusted key proves the payload, its type and who signed, for both key types', () => {
  for (const signer of [release, nightly]) {
    const verified = verifyBundle(signed(signer), { type: 'keys', keys: [nightly.trusted, release.trusted] });
    assert.deepEqual(verified, {
      payload,
      payloadType: statementPayloadType,
      signer: { type: 'key', name: signer.trusted.name, hint: signer.key.hint },
    });
  }
});

test('whatever is signed is what comes out, byte for byte', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 2_000 }), (bytes) => {
      assert.deepEqual(verifyBundle(signed(release, bytes), { type: 'keys', keys: [release.trusted] }).payload, bytes);
    }),
    { numRuns: 50 },
  );
});

test('a parsed bundle verifies as its text does', () => {
  const text = signed(release);
  const policy = { type: 'keys', keys: [release.trusted] } as const;
  assert.deepEqual(verifyBundle(parseBundle(text), policy), verifyBundle(text, policy));
});

test('without a trusted key nothing is accepted, and the message says how to trust one', () => {
  assert.throws(
    () => verifyBundle(signed(release), { type: 'keys', keys: [] }),
    refuses('SIGNER_UNTRUSTED', /chainloop key trust --name NAME/),
  );
});

test('a key that is not trusted is not believed, and the trusted ones are named', () => {
  assert.throws(
    () => verifyBundle(signed(release), { type: 'keys', keys: [nightly.trusted] }),
    refuses('SIGNER_UNTRUSTED', /trusted: 'nightly'/),
  );
});

test('a hint to another trusted key is refused: no other key is tried', () => {
  const text = signed(release, payload, statementPayloadType, nightly.key.hint);
  assert.throws(
    () => verifyBundle(text, { type: 'keys', keys: [release.trusted, nightly.trusted] }),
    refuses('SIGNATURE_INVALID', /not by key 'nightly' over this payload/),
  );
});

test('a trusted key that is unusable is an error of the policy, not of the bundle', () => {
  const keys = [{ name: 'broken', pem: 'x' }, release.trusted];
  assert.throws(() => verifyBundle(signed(release), { type: 'keys', keys }), refuses('KEY_INVALID', /no PEM block/));
});

test('our bundles verify with @sigstore/verify, which shares no code with ours', () => {
  const root = TrustedRoot.fromJSON({ mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1' });
  const keys = new Map<string, KeyObject>([release, nightly].map((pair) => [pair.key.hint, pair.publicKey]));
  const material = toTrustMaterial(root, (hint) => {
    const publicKey = keys.get(hint);
    assert.ok(publicKey);
    return { publicKey, validFor: () => true };
  });
  const verifier = new Verifier(material, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 });
  for (const pair of [release, nightly]) {
    const bundle = bundleFromJSON(JSON.parse(signed(pair)));
    assert.equal(verifier.verify(toSignedEntity(bundle)).key, pair.publicKey);
    const altered = bundleFromJSON(JSON.parse(signed(pair, new Uint8Array([1])).replace('"AQ=="', '"Ag=="')));
    assert.throws(() => verifier.verify(toSignedEntity(altered)), /signature verification failed/);
  }
});

test('a bundle by another tool, of a predicate that is not ours, verifies as a bundle', async () => {
  const provenance = Buffer.from(
    JSON.stringify({
      _type: 'https://in-toto.io/Statement/v1',
      predicateType: 'https://slsa.dev/provenance/v1',
      subject: [],
      predicate: {},
    }),
  );
  const content = pae(statementPayloadType, provenance);
  const authority = createFakeAuthority();
  const certified = certifiedBundle(authority, new Uint8Array(provenance));
  assert.ok(certified.bundle.signer.type === 'certificate');
  const textOf = (signer: { keyHint: string } | { certificate: Buffer }, key: KeyObject) => {
    const made = toDSSEBundle({
      ...signer,
      artifact: provenance,
      artifactType: statementPayloadType,
      signature: sign('sha256', content, key),
    });
    const stamps = [timestamp(authority.stamping, Buffer.from(made.content.dsseEnvelope.signatures[0]?.sig ?? []), noon)];
    made.verificationMaterial.timestampVerificationData = {
      rfc3161Timestamps: 'certificate' in signer ? stamps.map((stamp) => ({ signedTimestamp: Buffer.from(stamp) })) : [],
    };
    return JSON.stringify(bundleToJSON(made), null, 2);
  };
  const byKey = textOf({ keyHint: release.key.hint }, release.privateKey);
  assert.deepEqual(Buffer.from(verifyBundle(byKey, { type: 'keys', keys: [release.trusted] }).payload), provenance);
  const trustRoot = await loadTrustRoot(authority.trustRoot());
  const keyless = textOf({ certificate: Buffer.from(certified.bundle.signer.der) }, certified.key);
  const verified = verifyBundle(keyless, { type: 'identity', trustRoot, identity: { exact: acme }, issuer: github });
  assert.deepEqual(Buffer.from(verified.payload), provenance);
});

const digest = digestOf('server');
const subject = (name: string, sha256: string) => ({ name, digest: { sha256 } });

test('an artifact is compared with the subjects by digest, whatever it is called', () => {
  const statement = { subject: [subject('git', '0'.repeat(64)), subject('server.tar', digest.slice(7))] };
  assert.deepEqual(verifyArtifacts(statement, [{ name: './renamed.tar', digest }]), [
    { name: './renamed.tar', digest, subject: 'server.tar' },
  ]);
  assert.deepEqual(verifyArtifacts(statement, []), []);
});

test('every artifact that is no subject is named, and one that is does not excuse it', () => {
  const statement = { subject: [subject('server.tar', digest.slice(7)), { name: 'git.head', digest: { sha1: '0'.repeat(40) } }] };
  const others = ['a', 'b'].map((name) => ({ name, digest: digestOf(name) }));
  assert.throws(
    () => verifyArtifacts(statement, [{ name: 'server.tar', digest }, ...others]),
    (error) => {
      assert.ok(isChainloopError(error, 'ARTIFACT_MISMATCH'));
      assert.match(error.message, /2 of 3 artifacts are not among its 2 subjects/);
      assert.deepEqual(
        error.problems.map((problem) => problem.message),
        others.map((other) => `${other.name} (${other.digest}) is not a subject of the attestation`),
      );
      return true;
    },
  );
});

test('a statement without a subject matches no artifact, and none at all', () => {
  assert.throws(() => verifyArtifacts({ subject: [] }, []), refuses('SUBJECT_MISMATCH', /no subject/));
});

test('a digest of another algorithm is never taken for a SHA-256', () => {
  const statement = { subject: [{ name: 'x', digest: { sha512: digest.slice(7), 'sha256 ': digest.slice(7) } }] };
  assert.throws(
    () => verifyArtifacts(statement, [{ name: 'x', digest }]),
    refuses('ARTIFACT_MISMATCH', /none of them has a sha256 digest/),
  );
});

// The vectors of sigstore-conformance that concern keys without a certificate. They sign a file, not an attestation, so the verifier
// of attestations refuses them; what they prove here is that hint, key and signature mean to us what they mean to cosign.
const vectors = new URL('../../shared/vectors/sigstore-conformance/', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, vectors), 'utf8');

test('sigstore-conformance, managed-key-and-trusted-root', (t) => {
  if (!existsSync(vectors)) return t.skip(`no vectors at ../shared/vectors/sigstore-conformance; put them there to run this test`);
  const key = parsePublicKey(read('managed-key-and-trusted-root/key.pub'));
  const text = read('managed-key-and-trusted-root/bundle.sigstore.json');
  const { verificationMaterial, messageSignature } = JSON.parse(text);
  assert.equal(verificationMaterial.publicKey.hint, key.hint);
  const signature = Buffer.from(messageSignature.signature, 'base64');
  assert.equal(verify(hashOf(key.type), Buffer.from(read('a.txt')), key.key, signature), true);
  // Decided: under a policy of keys nothing is half checked. A message signature is no attestation; and an envelope with the same log
  // entry is refused, because the policy names no log.
  assert.throws(
    () => verifyBundle(text, { type: 'keys', keys: [{ name: 'key.pub', pem: key.pem }] }),
    refuses('BUNDLE_INVALID', /messageSignature/),
  );
  const withEntry = JSON.stringify({
    ...JSON.parse(signed(release)),
    verificationMaterial: { ...verificationMaterial, publicKey: { hint: release.key.hint } },
  });
  assert.throws(
    () => verifyBundle(withEntry, { type: 'keys', keys: [release.trusted] }),
    refuses('BUNDLE_INVALID', /transparency log entries or timestamps, which cannot be checked with public keys alone/),
  );
});

test('sigstore-conformance, managed-key-wrong-key_fail', (t) => {
  if (!existsSync(vectors)) return t.skip(`no vectors at ../shared/vectors/sigstore-conformance; put them there to run this test`);
  const keys = [{ name: 'key.pub', pem: read('managed-key-wrong-key_fail/key.pub') }];
  assert.throws(() => parsePublicKey(keys[0]?.pem ?? ''), refuses('KEY_INVALID', /cannot be decoded, or is not a point of its curve/));
  assert.throws(
    () => verifyBundle(read('managed-key-wrong-key_fail/bundle.sigstore.json'), { type: 'keys', keys }),
    refuses('BUNDLE_INVALID', /./),
  );
  assert.throws(() => verifyBundle(signed(release), { type: 'keys', keys }), refuses('KEY_INVALID', /./));
});

test('every sigstore-conformance bundle is refused by a policy of keys, with one of our errors', (t) => {
  if (!existsSync(vectors)) return t.skip(`no vectors at ../shared/vectors/sigstore-conformance; put them there to run this test`);
  for (const name of ['happy-path-v0.2', 'bundle-malformed-json_fail', 'rekor2-dsse-happy-path', 'dsse-mismatch-sig_fail']) {
    assert.throws(
      () => verifyBundle(read(`${name}/bundle.sigstore.json`), { type: 'keys', keys: [release.trusted] }),
      (error) => isChainloopError(error, 'BUNDLE_INVALID') || isChainloopError(error, 'SIGNER_UNTRUSTED'),
    );
  }
});
