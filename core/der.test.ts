import assert from 'node:assert/strict';
import { test } from 'node:test';
import { busyMs } from '../test/busy.ts';
import { parseBundle } from './bundle.ts';
import { readCertificate } from './certificate.ts';
import { derTag, oidOf, onlyDer, readDer } from './der.ts';
import { readTimestamp } from './timestamp.ts';

/** One element, in DER. */
function der(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const content = Buffer.concat(contents);
  const digits = content.length.toString(16);
  const length = Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, 'hex');
  const head = content.length < 0x80 ? [tag, content.length] : [tag, 0x80 | length.length, ...length];
  return new Uint8Array(Buffer.concat([Buffer.from(head), content]));
}

const { sequence, oid, integer, octetString, bitString, set, context } = derTag;
const small = der(integer, Buffer.from([1]));
const algorithm = der(sequence, der(oid, Buffer.from([0x2a, 3])));

/** A certificate as far as its extensions, and these. */
function certificate(...extensions: readonly Uint8Array[]): Uint8Array {
  const version = der(context(0), der(integer, Buffer.from([2])));
  const names = Array.from({ length: 4 }, () => der(sequence));
  const body = der(sequence, version, small, algorithm, ...names, der(context(3), der(sequence, ...extensions)));
  return der(sequence, body, algorithm, der(bitString, Buffer.from([0, 1])));
}

test('object identifiers are read as they are written', () => {
  const rows = [
    ['06052b06010401', '1.3.6.1.4.1'],
    ['0609608648016503040201', '2.16.840.1.101.3.4.2.1'],
    ['0603883703', '2.999.3'],
  ] as const;
  for (const [hex, text] of rows) assert.equal(oidOf(onlyDer(new Uint8Array(Buffer.from(hex, 'hex')), oid)), text);
  assert.equal(oidOf(onlyDer(der(oid, Buffer.alloc(64, 0x81).fill(1, 63)), oid))?.startsWith('2.'), true);
});

test('an object identifier without end, in a certificate or a timestamp, is refused at once', async () => {
  const endless = der(oid, Buffer.alloc(200_000, 0xff).fill(1, 199_999));
  assert.equal(oidOf(onlyDer(endless, oid)), undefined);
  const hostile = certificate(der(sequence, endless, der(octetString, Buffer.from([0]))));
  const response = der(sequence, der(sequence, der(integer, Buffer.from([0]))), der(sequence, endless, der(context(0), der(sequence))));
  const took = await busyMs(() => {
    assert.equal(typeof readCertificate(hostile), 'string');
    assert.equal(typeof readTimestamp(response), 'string');
  });
  assert.ok(took < 200, `${took} ms`);
});

test('a flood of elements is refused at once, wherever it is', async () => {
  const flood = new Uint8Array(Buffer.alloc(2_000_000, Buffer.from([5, 0])));
  const extension = der(sequence, der(oid, Buffer.from([0x55, 0x1d, 0x25])), der(octetString, der(sequence, flood)));
  const took = await busyMs(() => {
    assert.equal(readDer(flood), undefined);
    assert.equal(typeof readCertificate(certificate(flood)), 'string');
    assert.equal(typeof readCertificate(certificate(extension)), 'string');
    assert.equal(typeof readTimestamp(der(sequence, flood)), 'string');
    assert.equal(typeof readTimestamp(der(sequence, der(sequence, small), der(set, flood))), 'string');
  });
  assert.ok(took < 1_000, `${took} ms`);
  assert.equal(readDer(flood.subarray(0, 2_000))?.length, 1_000);
});

test('a bundle with an enormous certificate or timestamp is refused before either is decoded', () => {
  const bytes = Buffer.alloc(64 * 1024 + 3, 0x30).toString('base64');
  const material = (extra: unknown) =>
    JSON.stringify({
      mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
      verificationMaterial: extra,
      dsseEnvelope: { payload: 'e30=', payloadType: 'application/vnd.in-toto+json', signatures: [{ sig: 'AAAA' }] },
    });
  for (const extra of [
    { certificate: { rawBytes: bytes } },
    { publicKey: { hint: 'x' }, timestampVerificationData: { rfc3161Timestamps: [{ signedTimestamp: bytes }] } },
  ]) {
    assert.throws(() => parseBundle(material(extra)), { code: 'BUNDLE_INVALID', message: /is larger than 65536 bytes/ });
  }
});
