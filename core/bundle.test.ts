import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { bundleFromJSON, bundleToJSON, toDSSEBundle } from '@sigstore/bundle';
import fc from 'fast-check';
import { buildBundle, bundleMediaType, formatBundle, type ParsedBundle, parseBundle } from './bundle.ts';
import { statementPayloadType } from './dsse.ts';
import { ChainloopError, isChainloopError } from './errors.ts';
import { keyHint } from './key.ts';
import { limits } from './limits.ts';

const pem = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'pem' }).toString();
const hint = keyHint(pem);
const payload = new Uint8Array(Buffer.from('{"_type":"https://in-toto.io/Statement/v1"}'));
const signature = new Uint8Array(Buffer.from('30060201010201fb', 'hex'));
const good = buildBundle({
  payload,
  payloadType: statementPayloadType,
  signature,
  verification: { type: 'publicKey', hint, publicKeyPem: pem },
});
const withKeyid = formatBundle({ ...parseBundle(good), keyid: hint });

const entry = {
  logIndex: '7',
  logId: { keyId: 'AQ==' },
  kindVersion: { kind: 'dsse', version: '0.0.1' },
  integratedTime: '1767810965',
  inclusionPromise: { signedEntryTimestamp: 'Ag==' },
  inclusionProof: {
    logIndex: '7',
    rootHash: 'Aw==',
    treeSize: '8',
    hashes: ['BA=='],
    checkpoint: { envelope: 'log\n8\nAw==\n\n— log x\n' },
  },
  canonicalizedBody: 'BQ==',
};

test('a bundle is built as @sigstore/bundle builds it, without the empty list of timestamps, and without a keyid, which cosign compares with a name of its own', () => {
  const theirs = toDSSEBundle({
    artifact: Buffer.from(payload),
    artifactType: statementPayloadType,
    signature: Buffer.from(signature),
    keyHint: hint,
  });
  const text = JSON.stringify(bundleToJSON(theirs)).replace(',"timestampVerificationData":{}', '');
  assert.equal(withKeyid, text);
  assert.equal(good, text.replace(`,"keyid":"${hint}"`, ''));
});

test('the canonical form is what the protobuf library writes, key for key', () => {
  const parsed: ParsedBundle = {
    ...parseBundle(good),
    transparencyLogEntries: [entry],
    timestamps: [new Uint8Array([1, 2])],
  };
  const text = formatBundle(parsed);
  assert.equal(text, JSON.stringify(bundleToJSON(bundleFromJSON(JSON.parse(text)))));
  assert.deepEqual(parseBundle(text, { canonical: true }), parsed);
});

test('a bundle with keys in another order, or white space, is read but not kept', () => {
  const value = JSON.parse(good);
  const { dsseEnvelope, mediaType, verificationMaterial } = value;
  for (const text of [
    JSON.stringify(value, null, 2),
    `${good}\n`,
    ` ${good}`,
    good.replace('":"', '": "'),
    good.replace('"mediaType"', '"media\\u0054ype"'),
    JSON.stringify({ dsseEnvelope, verificationMaterial, mediaType }),
    JSON.stringify({ mediaType, verificationMaterial: { ...verificationMaterial, tlogEntries: [] }, dsseEnvelope }),
  ]) {
    assert.deepEqual(parseBundle(text), parseBundle(good));
    assert.throws(
      () => parseBundle(text, { canonical: true }),
      (error) => isChainloopError(error, 'BUNDLE_INVALID') && /not in canonical form/.test(error.message),
    );
  }
  assert.deepEqual(parseBundle(good, { canonical: true }), parseBundle(good));
});

test('an older bundle is read, but not kept as evidence', () => {
  for (const version of ['0.1', '0.2'] as const) {
    const text = good.replace(bundleMediaType, `application/vnd.dev.sigstore.bundle+json;version=${version}`);
    assert.deepEqual(parseBundle(text), { ...parseBundle(good), version });
    assert.throws(
      () => parseBundle(text, { canonical: true }),
      (error) => isChainloopError(error, 'BUNDLE_INVALID') && /mediaType is not/.test(error.message),
    );
  }
});

test('an empty keyid, as cosign 1 wrote it, is no keyid', () => {
  assert.equal(parseBundle(withKeyid.replace(`"keyid":"${hint}"`, '"keyid":""')).keyid, undefined);
});

/** The bundle as an object, changed. */
function changed(
  change: (bundle: { mediaType: unknown; verificationMaterial: Record<string, unknown>; dsseEnvelope: Record<string, unknown> }) => void,
): string {
  const bundle = JSON.parse(good);
  change(bundle);
  return JSON.stringify(bundle);
}
const sig = Buffer.from(signature).toString('base64');
const unusual = Buffer.from([0xfb, 0xff, 0xbf, 0x3e, 0x3f]);

const refusals: Record<string, { text: string; says: RegExp }> = {
  nothing: { text: '', says: /expected a value, found the end/ },
  'a list': { text: '[]', says: /must be object/ },
  'half a bundle': { text: good.slice(0, 200), says: /not closed|expected/ },
  'a duplicate key at the top': { text: good.replace('{', '{"mediaType":"other",'), says: /'mediaType' is there twice/ },
  'a duplicate payload': { text: good.replace('"payload":', '"payload":"e30=","payload":'), says: /'payload' is there twice/ },
  'a duplicate key in another spelling': {
    text: good.replace('"payload":', '"pa\\u0079load":"e30=","payload":'),
    says: /'payload' is there twice/,
  },
  'an unknown key': { text: changed((b) => Object.assign(b, { note: 1 })), says: /unknown keys: note/ },
  'an unknown key in the envelope': {
    text: changed((b) => Object.assign(b.dsseEnvelope, { extra: 1 })),
    says: /dsseEnvelope has unknown keys: extra/,
  },
  'an unknown key that would move the cursor': {
    text: changed((b) => Object.assign(b, { '\u001b[2J': 1 })),
    says: /unknown keys: \uFFFD\[2J$/,
  },
  'a prototype': { text: good.replace('{', '{"__proto__":{"mediaType":"x"},'), says: /unknown keys: __proto__/ },
  'another version': {
    text: changed((b) => Object.assign(b, { mediaType: 'application/vnd.dev.sigstore.bundle.v0.4+json' })),
    says: /mediaType is not application\/vnd\.dev\.sigstore\.bundle\.v0\.3\+json/,
  },
  'no media type': { text: changed((b) => Object.assign(b, { mediaType: undefined })), says: /mediaType/ },
  'a bare envelope': { text: JSON.stringify(JSON.parse(good).dsseEnvelope), says: /problems/ },
  'a message signature': {
    text: JSON.stringify({ mediaType: bundleMediaType, verificationMaterial: { publicKey: { hint } }, messageSignature: {} }),
    says: /it signs the digest of a file \(messageSignature\), not an attestation/,
  },
  'a message signature beside an envelope': { text: changed((b) => Object.assign(b, { messageSignature: {} })), says: /messageSignature/ },
  'no signature': { text: changed((b) => Object.assign(b.dsseEnvelope, { signatures: [] })), says: /signatures has no signature/ },
  'two signatures': {
    text: changed((b) => Object.assign(b.dsseEnvelope, { signatures: [{ sig }, { sig }] })),
    says: /signatures has several signatures; exactly one/,
  },
  'an empty signature': {
    text: changed((b) => Object.assign(b.dsseEnvelope, { signatures: [{ sig: '' }] })),
    says: /signatures\[0\]\.sig is empty/,
  },
  'an empty payload': { text: changed((b) => Object.assign(b.dsseEnvelope, { payload: '' })), says: /payload is empty/ },
  'a payload in URL-safe base64': {
    text: changed((b) => Object.assign(b.dsseEnvelope, { payload: unusual.toString('base64url').padEnd(8, '=') })),
    says: /payload is URL-safe base64/,
  },
  'a signature in URL-safe base64': {
    text: changed((b) => Object.assign(b.dsseEnvelope, { signatures: [{ sig: '-_-_Pj8=' }] })),
    says: /sig is URL-safe base64/,
  },
  'white space inside base64': {
    text: changed((b) => Object.assign(b.dsseEnvelope, { payload: 'eyJ9\nfQ==' })),
    says: /payload has white space inside its base64/,
  },
  'base64 without its padding': {
    text: changed((b) => Object.assign(b.dsseEnvelope, { payload: 'e30' })),
    says: /payload is not standard base64/,
  },
  'base64 with bits left over': {
    text: changed((b) => Object.assign(b.dsseEnvelope, { payload: 'e31=' })),
    says: /payload is not standard base64/,
  },
  'no hint': { text: changed((b) => Object.assign(b.verificationMaterial, { publicKey: { hint: '' } })), says: /hint is not 1 to 256/ },
  'the key itself, in the place of its hint': {
    text: changed((b) => Object.assign(b.verificationMaterial, { publicKey: { hint, rawBytes: 'AA==' } })),
    says: /publicKey has unknown keys: rawBytes/,
  },
  'neither key nor certificate': { text: changed((b) => Object.assign(b, { verificationMaterial: {} })), says: /names neither or both/ },
  'key and certificate': {
    text: changed((b) => Object.assign(b.verificationMaterial, { certificate: { rawBytes: 'AA==' } })),
    says: /names neither or both/,
  },
  'a certificate chain, as in v0.2': {
    text: changed((b) => Object.assign(b, { verificationMaterial: { x509CertificateChain: { certificates: [{ rawBytes: 'AA==' }] } } })),
    says: /x509CertificateChain is of bundles v0\.1 and v0\.2/,
  },
  'an empty certificate chain': {
    text: changed((b) =>
      Object.assign(b, {
        mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.2',
        verificationMaterial: { x509CertificateChain: { certificates: [] } },
      }),
    ),
    says: /certificates is empty/,
  },
  'a log entry without a proof': {
    text: changed((b) => Object.assign(b.verificationMaterial, { tlogEntries: [{ ...entry, inclusionProof: undefined }] })),
    says: /tlogEntries\[0\] has no inclusionProof with a checkpoint/,
  },
  'a keyid that points to another key': {
    text: withKeyid.replace(`"keyid":"${hint}"`, '"keyid":"other"'),
    says: /keyid names another key/,
  },
  'a number where a text is due': {
    text: changed((b) => Object.assign(b.dsseEnvelope, { payloadType: 1 })),
    says: /payloadType must be string/,
  },
  'half a surrogate pair in the type': { text: good.replace('in-toto+json', '\\ud800'), says: /half of a surrogate pair/ },
  'a payload type of many kilobytes': { text: good.replace('in-toto+json', 'x'.repeat(9_000)), says: /payloadType/ },
  'deep nesting': { text: good.replace('{', `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)},`), says: /nested deeper/ },
};
for (const [name, { text, says }] of Object.entries(refusals)) {
  test(`refused as a bundle: ${name}`, () => {
    for (const options of [{}, { canonical: true }]) {
      assert.throws(
        () => parseBundle(text, options),
        (error) => {
          assert.ok(isChainloopError(error, 'BUNDLE_INVALID'), String(error));
          assert.match([error.message, ...error.problems.map((problem) => problem.message)].join('\n'), says);
          return true;
        },
      );
    }
  });
}

test('all problems of a bundle are reported at once', () => {
  const text = changed((bundle) => {
    Object.assign(bundle, { mediaType: 'x', note: 1 });
    Object.assign(bundle.dsseEnvelope, { payload: '!', signatures: [] });
  });
  assert.throws(
    () => parseBundle(text),
    (error) => isChainloopError(error, 'BUNDLE_INVALID') && error.problems.length === 4,
  );
});

test('a bundle beyond its size limit is refused before it is parsed', () => {
  const tooLarge = good.replace('"payload":"', `"payload":"${'A'.repeat(limits.bundleSizeBytes)}`);
  const tooMuch = changed((b) => Object.assign(b.dsseEnvelope, { payload: 'AAAA'.repeat(Math.ceil(limits.statementSizeBytes / 3) + 1) }));
  for (const text of [tooLarge, tooMuch]) {
    assert.throws(
      () => parseBundle(text),
      (error) => isChainloopError(error, 'LIMIT_EXCEEDED'),
    );
  }
});

const bytes = fc.uint8Array({ minLength: 1, maxLength: 200 });
const printable = fc.string({
  minLength: 1,
  maxLength: 64,
  unit: fc.constantFrom(...Array.from({ length: 95 }, (_, at) => String.fromCharCode(32 + at))),
});

test('what is formatted is read back as it was', () => {
  fc.assert(
    fc.property(
      bytes,
      fc.string({ minLength: 1, maxLength: 100, unit: 'grapheme' }).filter((text) => text.length <= 256),
      bytes,
      printable,
      fc.boolean(),
      (body, payloadType, signed, name, isNamed) => {
        const bundle: ParsedBundle = {
          payload: body,
          payloadType,
          signature: signed,
          keyid: isNamed ? name : undefined,
          signer: { type: 'publicKey', hint: name },
          transparencyLogEntries: [],
          timestamps: [],
        };
        assert.deepEqual(parseBundle(formatBundle(bundle), { canonical: true }), bundle);
      },
    ),
    { numRuns: 300 },
  );
});

test('the parser never throws anything but our own error', () => {
  const structured = fc.json({ maxDepth: 6 });
  const broken = fc
    .tuple(fc.nat(good.length), fc.nat(20), fc.string({ maxLength: 20 }))
    .map(([at, cut, text]) => good.slice(0, at) + text + good.slice(at + cut));
  fc.assert(
    fc.property(fc.oneof(fc.string(), structured, broken), (text) => {
      try {
        parseBundle(text);
      } catch (error) {
        assert.ok(error instanceof ChainloopError, String(error));
      }
    }),
    { numRuns: 2_000 },
  );
});
