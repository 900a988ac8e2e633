import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { test } from 'node:test';
import { isChainloopError } from './errors.ts';
import { keyHint, parsePublicKey } from './key.ts';

const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const ed25519 = generateKeyPairSync('ed25519');
const spki = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' }).toString();
const pem = (label: string, body: string | Uint8Array) =>
  `-----BEGIN ${label}-----\n${typeof body === 'string' ? body : Buffer.from(body).toString('base64')}\n-----END ${label}-----\n`;

test('P-256 and Ed25519 public keys are read, and their hint is the SHA-256 of the SPKI DER', () => {
  for (const [pair, type] of [
    [p256, 'ecdsa-p256'],
    [ed25519, 'ed25519'],
  ] as const) {
    const der = pair.publicKey.export({ type: 'spki', format: 'der' });
    const key = parsePublicKey(spki(pair.publicKey));
    assert.equal(key.type, type);
    assert.equal(key.hint, createHash('sha256').update(der).digest('base64'));
    assert.equal(key.hint, keyHint(spki(pair.publicKey)));
    assert.equal(key.pem, spki(pair.publicKey));
  }
});

test('one key has one text: explanations, line ends and line lengths do not matter', () => {
  const text = spki(p256.publicKey);
  const body = p256.publicKey.export({ type: 'spki', format: 'der' });
  for (const variant of [`release key of bedrock\n${text}\nkeep\n`, text.replaceAll('\n', '\r\n'), pem('PUBLIC KEY', body)]) {
    assert.equal(parsePublicKey(variant).pem, text);
  }
});

const point = p256.publicKey.export({ type: 'spki', format: 'der' });
const compressed = Buffer.concat([
  Buffer.from('3039301306072a8648ce3d020106082a8648ce3d030107032200', 'hex'),
  Buffer.from([2 + ((point[90] ?? 0) & 1)]),
  point.subarray(27, 59),
]);

const refused: Record<string, { text: string; says: RegExp }> = {
  nothing: { text: '', says: /no PEM block/ },
  words: { text: 'release.pub', says: /no PEM block/ },
  'a block without an end': { text: spki(p256.publicKey).replace('-----END', '----END'), says: /no PEM block/ },
  'a private key (Node would derive the public one from it)': {
    text: p256.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    says: /this is a private key; give the public one/,
  },
  'a SEC1 private key': { text: p256.privateKey.export({ type: 'sec1', format: 'pem' }).toString(), says: /this is a private key/ },
  'an encrypted cosign key': { text: pem('ENCRYPTED SIGSTORE PRIVATE KEY', 'e30='), says: /this is a private key/ },
  'a certificate': { text: pem('CERTIFICATE', 'AAAA'), says: /this is a certificate; take its key: openssl x509/ },
  'an SSH key': { text: 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me@host', says: /SSH public key; convert it: ssh-keygen/ },
  'a PGP key': { text: pem('PGP PUBLIC KEY BLOCK', 'AAAA'), says: /'PGP PUBLIC KEY BLOCK' is not supported/ },
  'two keys': { text: spki(p256.publicKey) + spki(ed25519.publicKey), says: /2 PEM blocks/ },
  'a public and a private key': {
    text: spki(p256.publicKey) + p256.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    says: /2 PEM blocks \(PUBLIC KEY, PRIVATE KEY\)/,
  },
  'a P-384 key, for which tools disagree on the hash': {
    text: spki(generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey),
    says: /EC secp384r1 keys are not supported; use ECDSA P-256 or Ed25519/,
  },
  'a secp256k1 key': { text: spki(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey), says: /EC secp256k1/ },
  'an RSA key': { text: spki(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey), says: /rsa keys are not supported/ },
  'an X25519 key': { text: spki(generateKeyPairSync('x25519').publicKey), says: /x25519 keys are not supported/ },
  'a compressed point, which would give the key a second hint': { text: pem('PUBLIC KEY', compressed), says: /canonical encoding/ },
  'bytes after the key, which OpenSSL ignores': {
    text: pem('PUBLIC KEY', Buffer.concat([point, Buffer.from([0])])),
    says: /canonical encoding/,
  },
  'a point that is not on the curve': {
    text: pem('PUBLIC KEY', Buffer.concat([point.subarray(0, 90), Buffer.from([(point[90] ?? 0) ^ 1])])),
    says: /cannot be decoded, or is not a point of its curve/,
  },
  'half a key': { text: pem('PUBLIC KEY', point.subarray(0, 40)), says: /cannot be decoded/ },
};
for (const [name, { text, says }] of Object.entries(refused)) {
  test(`refused as a public key: ${name}`, () => {
    assert.throws(
      () => parsePublicKey(text),
      (error) => isChainloopError(error, 'KEY_INVALID') && says.test(error.message),
    );
  });
}

test('a file that is too large to be a key is refused before it is searched', () => {
  assert.throws(
    () => parsePublicKey('-----BEGIN PUBLIC KEY-----\n'.repeat(10_000)),
    (error) => isChainloopError(error, 'LIMIT_EXCEEDED'),
  );
});

test('a key that was read before is read as it was, however many others were read since, and a refusal is never kept', () => {
  const text = spki(p256.publicKey);
  const { hint } = parsePublicKey(text);
  const hints = Array.from({ length: 300 }, () => parsePublicKey(spki(generateKeyPairSync('ed25519').publicKey)).hint);
  assert.equal(new Set(hints).size, 300);
  assert.equal(parsePublicKey(text).hint, hint);
  const damaged = pem('PUBLIC KEY', 'AAAA');
  for (const _ of [1, 2])
    assert.throws(
      () => parsePublicKey(damaged),
      (error) => isChainloopError(error, 'KEY_INVALID'),
    );
});
