import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { test } from 'node:test';
import { bundleMediaType } from './bundle.ts';
import { pae, readPae, statementPayloadType } from './dsse.ts';
import { type ErrorCode, isChainloopError } from './errors.ts';
import { keyHint } from './key.ts';
import { verifyBundle } from './verify.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

test('the pre-authentication encoding is the one that the DSSE specification publishes', () => {
  // https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md, section "Test Vectors".
  const encoded = pae('http://example.com/HelloWorld', Buffer.from('hello world'));
  assert.equal(Buffer.from(encoded).toString(), 'DSSEv1 29 http://example.com/HelloWorld 11 hello world');
});

test('the signature that the DSSE specification publishes verifies over our encoding', () => {
  // The same section: ECDSA P-256, signature as the raw concatenation of r and s.
  const coordinate = (decimal: string) => Buffer.from(BigInt(decimal).toString(16).padStart(64, '0'), 'hex').toString('base64url');
  const publicKey = createPublicKey({
    format: 'jwk',
    key: {
      kty: 'EC',
      crv: 'P-256',
      x: coordinate('46950820868899156662930047687818585632848591499744589407958293238635476079160'),
      y: coordinate('5640078356564379163099075877009565129882514886557779369047442380624545832820'),
    },
  });
  const signature = Buffer.from('A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==', 'base64');
  const message = pae('http://example.com/HelloWorld', Buffer.from('hello world'));
  assert.equal(verify('sha256', message, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature), true);
});

test('lengths are of UTF-8 bytes, and an empty payload leaves its space', () => {
  // https://github.com/secure-systems-lab/dsse, testvectors/vectors.json: non-ascii-payload-type, empty-payload.
  assert.equal(
    hex(pae('application/vnd.exämple+json', Buffer.from('{"_type":"https://in-toto.io/Statement/v1"}'))),
    '445353457631203239206170706c69636174696f6e2f766e642e6578c3a46d706c652b6a736f6e203433207b225f74797065223a2268747470733a2f2f696e2d746f746f2e696f2f53746174656d656e742f7631227d',
  );
  assert.equal(
    hex(pae('application/vnd.in-toto+json', new Uint8Array())),
    '445353457631203238206170706c69636174696f6e2f766e642e696e2d746f746f2b6a736f6e203020',
  );
});

// https://github.com/secure-systems-lab/dsse, testvectors/vectors.json. The keys are TEST 1 and TEST 2 of RFC 8032, section 7.1, and
// Ed25519 is deterministic: we make each envelope ourselves, and it must be the published one.
const seeds = {
  A: '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
  B: '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
};
type Vector = {
  readonly id: string;
  readonly payload: string;
  readonly payloadType?: string;
  readonly signedType?: string;
  readonly signers?: readonly (keyof typeof seeds)[];
  /** Published; of the second signer after the first. */
  readonly signatures: readonly string[];
  readonly expect: 'accept' | 'reject';
  /** Where we are stricter than the specification: a bundle has one signature, and one spelling; and what we read is a statement. */
  readonly refused?: readonly [ErrorCode, RegExp];
};
const onlyA: readonly (keyof typeof seeds)[] = ['A'];
const byA = '2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA==';
const byB = 'c1+67/aT0yqEpwx8PsVY3MLHsj9D0CZ014/Fv/QlG59P+9CobUZ7xECJ/V3USG0Ob9CiE5LjReEZUzNF2l7eBw==';
const statement = Buffer.from('{"_type":"https://in-toto.io/Statement/v1"}').toString('base64');
const several = ['BUNDLE_INVALID', /several signatures/] as const;
const vectors: readonly Vector[] = [
  { id: 'single-signature', payload: statement, signatures: [byA], expect: 'accept' },
  {
    id: 'url-safe-base64',
    payload: '-_-_Pj8=',
    signatures: ['P-_KHICeR7tI6S_YyejJTRtrXhcQyQ2LYPaL8h90KjC9qN8HU_svOQ6TuDOT1HIrsGW886DbWNWcCmX5twLrAw=='],
    expect: 'accept',
    refused: ['BUNDLE_INVALID', /URL-safe base64/],
  },
  {
    id: 'payload-type-swapped',
    payload: statement,
    payloadType: 'application/vnd.example.other+json',
    signedType: statementPayloadType,
    signatures: [byA],
    expect: 'reject',
    refused: ['SIGNATURE_INVALID', /not by key 'A' over this payload/],
  },
  {
    id: 'non-ascii-payload-type',
    payload: statement,
    payloadType: 'application/vnd.exämple+json',
    signatures: ['xmSk/ug66ysT7ayhkCIjhAq42zgZXSsEWuzUaNL7w2eGAdF/NU6/fRXPtmfN+5DNSAs5/i2lUnHjbbjPsu0tAw=='],
    expect: 'accept',
    refused: ['STATEMENT_INVALID', /not an in-toto statement/],
  },
  {
    id: 'empty-payload',
    payload: '',
    signatures: ['gSggCAaTLTYyRH6FIDBem6meyIynsYy8RTHVzwx9tnTb7Bg/1jMWnuVgI/gffqmbsC2VX5/jHfkkDqsj7CDbDg=='],
    expect: 'accept',
    refused: ['BUNDLE_INVALID', /payload is empty/],
  },
  {
    id: 'empty-payload-type',
    payload: statement,
    payloadType: '',
    signatures: ['iC3q/+3Rm0+lpAJRueDmDh15PnwCfxKmS0NAfKsbv+zgulXQC/WM9trc+j1XEqlwDIg/vf/uNfebeD6sxInrDg=='],
    expect: 'reject',
    refused: ['BUNDLE_INVALID', /payloadType is empty/],
  },
  {
    id: 'threshold-two-distinct-keys',
    payload: statement,
    signers: ['A', 'B'],
    signatures: [byA, byB],
    expect: 'accept',
    refused: several,
  },
  {
    id: 'threshold-two-one-key-twice',
    payload: statement,
    signers: ['A', 'A'],
    signatures: [byA, byA],
    expect: 'reject',
    refused: several,
  },
  {
    id: 'threshold-two-without-keyids',
    payload: statement,
    signers: ['A', 'B'],
    signatures: [byA, byB],
    expect: 'accept',
    refused: several,
  },
];

for (const {
  id,
  payload,
  payloadType = statementPayloadType,
  signedType = payloadType,
  signers = onlyA,
  signatures,
  expect,
  refused,
} of vectors) {
  test(`DSSE test vector ${id}: ${expect}${expect === 'accept' && refused !== undefined ? ', and refused here' : ''}`, () => {
    const message = pae(signedType, Buffer.from(payload, 'base64url'));
    signers.forEach((name, index) => {
      const prefix = Buffer.from('302e020100300506032b657004220420', 'hex');
      const key = createPrivateKey({ key: Buffer.concat([prefix, Buffer.from(seeds[name], 'hex')]), format: 'der', type: 'pkcs8' });
      assert.deepEqual(sign(null, message, key), Buffer.from(signatures[index] ?? '', 'base64url'));
    });
    const publicKey = createPublicKey({
      key: Buffer.concat([
        Buffer.from('302a300506032b6570032100', 'hex'),
        Buffer.from('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a', 'hex'),
      ]),
      format: 'der',
      type: 'spki',
    });
    const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
    const bundle = JSON.stringify({
      mediaType: bundleMediaType,
      verificationMaterial: { publicKey: { hint: keyHint(pem) } },
      dsseEnvelope: { payload, payloadType, signatures: signatures.map((sig) => ({ sig })) },
    });
    const judge = () => verifyBundle(bundle, { type: 'keys', keys: [{ name: 'A', pem }] });
    if (refused === undefined) {
      assert.deepEqual(Buffer.from(judge().payload), Buffer.from(payload, 'base64'));
      return;
    }
    assert.throws(judge, (error) => {
      assert.ok(isChainloopError(error, refused[0]), String(error));
      assert.match([error, ...error.problems].map(({ message }) => message).join('\n'), refused[1]);
      return true;
    });
  });
}

test('type and payload cannot run into one another', () => {
  assert.notEqual(hex(pae('a', Buffer.from('1 b'))), hex(pae('a 3 1', Buffer.from('b'))));
});

test('what was encoded is read back, whatever it looks like; bytes that were not are no such thing', () => {
  const types = [statementPayloadType, '', 'DSSEv1 1 a 1 b', 'ä 5 ', '0', ' 3 '];
  const payloads = ['', '{}', '12 345 6', ' 7 DSSEv1 ', '\u0000\u0001', 'ä'.repeat(9)].map((text) => new Uint8Array(Buffer.from(text)));
  for (const payloadType of types)
    for (const payload of payloads) assert.deepEqual(readPae(pae(payloadType, payload)), { payloadType, payload });
  for (const text of ['', 'DSSEv1', 'DSSEv1 3 abc 4 abc', 'DSSEv1 03 abc 3 abc', 'DSSEv2 3 abc 3 abc', 'DSSEv1 999 a 1 b'])
    assert.throws(() => readPae(new Uint8Array(Buffer.from(text))), /no pre-authentication encoding/);
});
