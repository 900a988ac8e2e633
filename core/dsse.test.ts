import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { test } from 'node:test';
import { pae } from './dsse.ts';

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

test('an Ed25519 signature over our encoding is the published one', () => {
  // testvectors/vectors.json, single-signature: the key is TEST 1 of RFC 8032, section 7.1; Ed25519 is deterministic.
  const seed = Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex');
  const key = createPrivateKey({
    key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]),
    format: 'der',
    type: 'pkcs8',
  });
  const message = pae('application/vnd.in-toto+json', Buffer.from('{"_type":"https://in-toto.io/Statement/v1"}'));
  assert.equal(
    sign(null, message, key).toString('base64'),
    '2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA==',
  );
});

test('type and payload cannot run into one another', () => {
  assert.notEqual(hex(pae('a', Buffer.from('1 b'))), hex(pae('a 3 1', Buffer.from('b'))));
});
