import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { formatBundle, parseBundle } from '../../core/bundle.ts';
import { type Digest, digestOf, hexOf } from '../../core/digest.ts';
import { pae, statementPayloadType } from '../../core/dsse.ts';
import { ChainloopError, type ErrorCode } from '../../core/errors.ts';
import { type TrustedKey, verifyArtifacts } from '../../core/verify.ts';
import { artifact, ingest, keyPair, signed, statementText } from './signed-statement.ts';

// faults.md, S2 and the rows of S3 that apply to keys: every confusion is refused, with the code of its own cause.

const ours = keyPair('release');
const second = keyPair('nightly', 'Ed25519');
const foreign = keyPair('another organization');
const keys = [ours.trusted, second.trusted];

const statement = statementText(hexOf(digestOf(artifact)));
const good = signed(statement, ours);
const sig = Buffer.from(parseBundle(good).signature).toString('base64');
const otherSig = Buffer.from(parseBundle(signed(statement, second)).signature).toString('base64');

/** The good bundle with its envelope, verification material or top level changed, in the form that it would have been sent in. */
function bundle(change: { envelope?: object; material?: object; top?: object }): string {
  const { mediaType, verificationMaterial, dsseEnvelope } = JSON.parse(good);
  return JSON.stringify({
    mediaType,
    verificationMaterial: { ...verificationMaterial, ...change.material },
    dsseEnvelope: { ...dsseEnvelope, ...change.envelope },
    ...change.top,
  });
}

/** A statement with something changed, signed by a trusted key: only the statement is wrong. */
function about(change: (statement: Record<string, unknown>) => object): string {
  return signed(JSON.stringify(change(JSON.parse(statement))), ours);
}

type Row = {
  readonly attack: string;
  readonly text: string;
  readonly code: ErrorCode;
  readonly says: RegExp;
  readonly file?: Digest;
  readonly trusted?: readonly TrustedKey[];
};

const payload = JSON.parse(good).dsseEnvelope.payload;
const wider = `${statement.slice(0, -1)},"x":"\u00bf\u00ff>>>???"}`;

const rows: readonly Row[] = [
  {
    attack: 'the payload type is swapped',
    text: bundle({ envelope: { payloadType: 'application/vnd.example.other+json' } }),
    code: 'SIGNATURE_INVALID',
    says: /not by key 'release' over this payload/,
  },
  {
    attack: 'another payload type, signed by a trusted key',
    text: signed(statement, ours, { payloadType: 'application/vnd.example.other+json' }),
    code: 'STATEMENT_INVALID',
    says: /not an in-toto statement/,
  },
  {
    attack: 'the payload type in capitals, signed by a trusted key',
    text: signed(statement, ours, { payloadType: statementPayloadType.toUpperCase() }),
    code: 'STATEMENT_INVALID',
    says: /not an in-toto statement/,
  },
  {
    attack: 'two signatures, one of them valid',
    text: bundle({ envelope: { signatures: [{ sig: otherSig }, { sig }] } }),
    code: 'BUNDLE_INVALID',
    says: /several signatures/,
  },
  {
    attack: 'two valid signatures',
    text: bundle({ envelope: { signatures: [{ sig }, { sig }] } }),
    code: 'BUNDLE_INVALID',
    says: /several signatures/,
  },
  { attack: 'no signature', text: bundle({ envelope: { signatures: [] } }), code: 'BUNDLE_INVALID', says: /has no signature/ },
  { attack: 'an empty signature', text: bundle({ envelope: { signatures: [{ sig: '' }] } }), code: 'BUNDLE_INVALID', says: /sig is empty/ },
  {
    attack: 'a signature of other bytes by the same key',
    text: bundle({ envelope: { signatures: [{ sig: Buffer.from(parseBundle(signed('{}', ours)).signature).toString('base64') }] } }),
    code: 'SIGNATURE_INVALID',
    says: /altered, or signed by another key/,
  },
  {
    attack: 'the payload is signed without its pre-authentication encoding',
    text: bundle({ envelope: { signatures: [{ sig: sign('sha256', Buffer.from(statement), ours.privateKey).toString('base64') }] } }),
    code: 'SIGNATURE_INVALID',
    says: /altered, or signed by another key/,
  },
  {
    attack: 'the raw form of an ECDSA signature',
    text: bundle({
      envelope: {
        signatures: [
          {
            sig: sign('sha256', pae(statementPayloadType, Buffer.from(statement)), {
              key: ours.privateKey,
              dsaEncoding: 'ieee-p1363',
            }).toString('base64'),
          },
        ],
      },
    }),
    code: 'SIGNATURE_INVALID',
    says: /altered, or signed by another key/,
  },
  {
    attack: 'the keyid points to another trusted key',
    text: bundle({ envelope: { signatures: [{ sig, keyid: second.publicKey.hint }] } }),
    code: 'BUNDLE_INVALID',
    says: /keyid names another key/,
  },
  {
    attack: 'hint and keyid point to another trusted key',
    text: signed(statement, ours, { hint: second.publicKey.hint }),
    code: 'SIGNATURE_INVALID',
    says: /not by key 'nightly'/,
  },
  {
    attack: 'the hint points to a key that is not trusted',
    text: signed(statement, ours, { hint: foreign.publicKey.hint }),
    code: 'SIGNER_UNTRUSTED',
    says: /which is not trusted here/,
  },
  {
    attack: 'the hint is the name of the key',
    text: signed(statement, ours, { hint: 'release' }),
    code: 'SIGNER_UNTRUSTED',
    says: /not trusted/,
  },
  { attack: "another organization's key", text: signed(statement, foreign), code: 'SIGNER_UNTRUSTED', says: /not trusted/ },
  { attack: 'a key that was removed', text: good, trusted: [second.trusted], code: 'SIGNER_UNTRUSTED', says: /not trusted/ },
  {
    attack: 'the public key comes along in the bundle',
    text: bundle({ material: { publicKey: { hint: foreign.publicKey.hint, rawBytes: 'AAAA' } } }),
    code: 'BUNDLE_INVALID',
    says: /unknown keys: rawBytes/,
  },
  {
    attack: 'a certificate for the same key, made by the signer',
    text: formatBundle({ ...parseBundle(good), keyid: undefined, signer: { type: 'certificate', der: new Uint8Array([0x30, 0]) } }),
    code: 'SIGNER_UNTRUSTED',
    says: /signed with a certificate, and only keys are trusted/,
  },
  {
    attack: 'URL-safe base64 in the payload',
    text: signed(wider, ours).replace(
      JSON.parse(signed(wider, ours)).dsseEnvelope.payload,
      JSON.parse(signed(wider, ours)).dsseEnvelope.payload.replaceAll('+', '-').replaceAll('/', '_'),
    ),
    code: 'BUNDLE_INVALID',
    says: /payload is URL-safe base64/,
  },
  {
    attack: 'white space in the base64 of the payload',
    text: bundle({ envelope: { payload: `${payload.slice(0, 76)}\n${payload.slice(76)}` } }),
    code: 'BUNDLE_INVALID',
    says: /payload has white space inside its base64/,
  },
  {
    attack: 'white space in the base64 of the signature',
    text: bundle({ envelope: { signatures: [{ sig: `${sig} ` }] } }),
    code: 'BUNDLE_INVALID',
    says: /sig has white space inside its base64/,
  },
  {
    attack: 'a duplicate payload, the signed one last',
    text: good.replace('"payload":', '"payload":"e30=","payload":'),
    code: 'BUNDLE_INVALID',
    says: /'payload' is there twice/,
  },
  {
    attack: 'a duplicate payload, the signed one first',
    text: good.replace('"payloadType":', '"payload":"e30=","payloadType":'),
    code: 'BUNDLE_INVALID',
    says: /'payload' is there twice/,
  },
  {
    attack: 'a duplicate envelope',
    text: good.replace('"dsseEnvelope":', '"dsseEnvelope":{},"dsseEnvelope":'),
    code: 'BUNDLE_INVALID',
    says: /'dsseEnvelope' is there twice/,
  },
  {
    attack: 'a message signature where an attestation is asked',
    text: bundle({
      top: { dsseEnvelope: undefined, messageSignature: { messageDigest: { algorithm: 'SHA2_256', digest: 'AA==' }, signature: sig } },
    }),
    code: 'BUNDLE_INVALID',
    says: /signs the digest of a file \(messageSignature\)/,
  },
  {
    attack: 'a v0.1 statement',
    text: about((value) => ({ ...value, _type: 'https://in-toto.io/Statement/v0.1' })),
    code: 'STATEMENT_INVALID',
    says: /_type must be https:\/\/in-toto\.io\/Statement\/v1/,
  },
  {
    attack: 'a predicate of another type',
    text: about((value) => ({ ...value, predicateType: 'https://slsa.dev/provenance/v1' })),
    code: 'STATEMENT_INVALID',
    says: /predicateType must be/,
  },
  { attack: 'an empty subject', text: about((value) => ({ ...value, subject: [] })), code: 'STATEMENT_INVALID', says: /subject is empty/ },
  {
    attack: 'a duplicate key inside the statement',
    text: signed(statement.replace('"subject":', '"subject":[],"subject":'), ours),
    code: 'STATEMENT_INVALID',
    says: /'subject' is there twice/,
  },
  {
    attack: 'a subject digest of another file',
    text: good,
    file: digestOf('another file'),
    code: 'ARTIFACT_MISMATCH',
    says: /1 of 1 artifacts are not among its 1 subjects/,
  },
  // S3, downgrade.
  {
    attack: 'an older bundle version, which allowed more',
    text: bundle({ top: { mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.1' } }),
    code: 'BUNDLE_INVALID',
    says: /mediaType is not application\/vnd\.dev\.sigstore\.bundle\.v0\.3\+json/,
  },
  {
    attack: 'a trusted key of a type that verifiers do not agree on',
    text: good,
    trusted: [
      {
        name: 'rsa',
        pem: generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ type: 'spki', format: 'pem' }).toString(),
      },
    ],
    code: 'KEY_INVALID',
    says: /rsa keys are not supported/,
  },
  {
    attack: 'a timestamp that nobody here can check',
    text: formatBundle({ ...parseBundle(good), timestamps: [new Uint8Array([0x30, 0])] }),
    code: 'BUNDLE_INVALID',
    says: /cannot be checked with public keys alone/,
  },
  { attack: 'no trusted key at all', text: good, trusted: [], code: 'SIGNER_UNTRUSTED', says: /no key is/ },
];

test('the bundle that all of these are made from is accepted, so that each is refused for its own reason', () => {
  const { statement: parsed, signer } = ingest(good, keys);
  assert.equal(signer.name, 'release');
  assert.deepEqual(verifyArtifacts(parsed, [{ name: 'server.tar', digest: digestOf(artifact) }])[0]?.subject, 'server.tar');
});

let refused = 0;
for (const { attack, text, code, says, file, trusted = keys } of rows) {
  test(`refused with ${code}: ${attack}`, () => {
    assert.throws(
      () => {
        const { statement: parsed } = ingest(text, trusted);
        if (file !== undefined) verifyArtifacts(parsed, [{ name: 'file', digest: file }]);
      },
      (error) => {
        assert.ok(error instanceof ChainloopError, String(error));
        assert.equal(error.code, code, error.message);
        assert.match([error.message, ...error.problems.map((problem) => problem.message)].join('\n'), says);
        refused++;
        return true;
      },
    );
  });
}

test('S2 and S3: the count', (t) => {
  t.diagnostic(`refused with their own code: ${refused} / ${rows.length}`);
  assert.equal(refused, rows.length);
});
