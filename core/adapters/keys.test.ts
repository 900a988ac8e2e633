import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, scryptSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js';
import { buildBundle } from '../bundle.ts';
import { pae, statementPayloadType } from '../dsse.ts';
import { ChainloopError, type ErrorCode } from '../errors.ts';
import { parsePublicKey } from '../key.ts';
import { limits } from '../limits.ts';
import { verifyBundle } from '../verify.ts';
import { type Env, generateKeyPair, loadSigner, readPassword } from './keys.ts';

const password = 'correct horse battery staple';
const payload = Buffer.from('{"_type":"https://in-toto.io/Statement/v1"}');
const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const ed25519 = generateKeyPairSync('ed25519');

const spki = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' }).toString();
const pkcs8 = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' }).toString();
const encrypted = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: password }).toString();
const pem = (label: string, body: Uint8Array | string) => {
  const lines =
    Buffer.from(body)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
};

/** A key as `cosign generate-key-pair` writes it (go-securesystemslib, encrypted: scrypt, then NaCl secretbox, in JSON). */
function cosignKey(
  key: KeyObject,
  options: { label?: string; N?: number; secret?: string; change?: (value: Record<string, unknown>) => unknown } = {},
): string {
  const { label = 'ENCRYPTED SIGSTORE PRIVATE KEY', N = 32_768, secret = password, change = (value) => value } = options;
  const salt = randomBytes(32);
  const nonce = randomBytes(24);
  const box = xsalsa20poly1305(scryptSync(secret, salt, 32, { N, r: 8, p: 1, maxmem: 256 * 1024 * 1024 }), nonce);
  const ciphertext = box.encrypt(key.export({ type: 'pkcs8', format: 'der' }));
  const value = {
    kdf: { name: 'scrypt', params: { N, r: 8, p: 1 }, salt: salt.toString('base64') },
    cipher: { name: 'nacl/secretbox', nonce: nonce.toString('base64') },
    ciphertext: Buffer.from(ciphertext).toString('base64'),
  };
  return pem(label, JSON.stringify(change(value)));
}

async function refused(promise: Promise<unknown>, code: ErrorCode, says: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof ChainloopError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, says);
    return true;
  });
}

/** Signs with the key and verifies with the public key, through files and through the environment. */
async function roundTrip(privateKey: string, publicKey: string): Promise<void> {
  using folder = temporaryFolder();
  const path = join(folder.path, 'signing.key');
  writeFileSync(path, privateKey);
  writeFileSync(join(folder.path, 'password'), `${password}\n`);
  const env: Env = { KEY: privateKey, SECRET: password };
  for (const [reference, secret] of [
    [path, 'env://SECRET'],
    ['env://KEY', join(folder.path, 'password')],
  ] as const) {
    const signer = await loadSigner(reference, { env, password: secret });
    const signed = await signer.sign(pae(statementPayloadType, payload));
    const bundle = buildBundle({ payload, payloadType: statementPayloadType, ...signed });
    const verified = verifyBundle(bundle, { type: 'keys', keys: [{ name: 'release', pem: publicKey }] });
    assert.deepEqual(Buffer.from(verified.payload), payload);
    assert.deepEqual(verified.signer, { type: 'key', name: 'release', hint: parsePublicKey(publicKey).hint });
  }
}

const forms: Record<string, () => [privateKey: string, publicKey: string]> = {
  'PKCS#8, P-256': () => [pkcs8(p256.privateKey), spki(p256.publicKey)],
  'PKCS#8, Ed25519': () => [pkcs8(ed25519.privateKey), spki(ed25519.publicKey)],
  'encrypted PKCS#8, P-256': () => [encrypted(p256.privateKey), spki(p256.publicKey)],
  'encrypted PKCS#8, Ed25519': () => [encrypted(ed25519.privateKey), spki(ed25519.publicKey)],
  SEC1: () => [p256.privateKey.export({ type: 'sec1', format: 'pem' }).toString(), spki(p256.publicKey)],
  'encrypted SEC1': () => [
    p256.privateKey.export({ type: 'sec1', format: 'pem', cipher: 'aes-256-cbc', passphrase: password }).toString(),
    spki(p256.publicKey),
  ],
  'SEC1 after its curve parameters': () => [
    `${pem('EC PARAMETERS', Buffer.from('06082a8648ce3d030107', 'hex'))}${p256.privateKey.export({ type: 'sec1', format: 'pem' }).toString()}`,
    spki(p256.publicKey),
  ],
  'cosign 1, P-256': () => [cosignKey(p256.privateKey, { label: 'ENCRYPTED COSIGN PRIVATE KEY' }), spki(p256.publicKey)],
  'cosign 2, P-256': () => [cosignKey(p256.privateKey), spki(p256.publicKey)],
  'cosign 2, Ed25519': () => [cosignKey(ed25519.privateKey), spki(ed25519.publicKey)],
  'cosign, the strongest parameters that it knows': () => [cosignKey(p256.privateKey, { N: 131_072 }), spki(p256.publicKey)],
};
for (const [name, form] of Object.entries(forms)) {
  test(`a signature verifies that was made with a key in the form: ${name}`, async () => {
    await roundTrip(...form());
  });
}

test('generated keys are P-256 in PKCS#8, encrypted when there is a password', async () => {
  const plain = await generateKeyPair();
  assert.match(plain.privateKeyPem, /^-----BEGIN PRIVATE KEY-----/);
  assert.equal(parsePublicKey(plain.publicKeyPem).type, 'ecdsa-p256');
  await roundTrip(plain.privateKeyPem, plain.publicKeyPem);
  const locked = await generateKeyPair({ password });
  assert.match(locked.privateKeyPem, /^-----BEGIN ENCRYPTED PRIVATE KEY-----/);
  await roundTrip(locked.privateKeyPem, locked.publicKeyPem);
  await refused(generateKeyPair({ password: '' }), 'KEY_PASSWORD', /empty/);
});

test('keys that openssl makes sign, and openssl verifies what they sign', async (t) => {
  if (spawnSync('openssl', ['version'], { stdio: 'ignore' }).status !== 0) return t.skip('openssl not found; install it to run this test');
  using folder = temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  const openssl = (...options: string[]) => {
    const { status, stderr } = spawnSync('openssl', options, { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  };
  writeFileSync(at('password'), password);
  openssl('ecparam', '-name', 'prime256v1', '-genkey', '-out', at('sec1.key'));
  openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', at('ec.key'));
  openssl('genpkey', '-algorithm', 'ED25519', '-out', at('ed.key'));
  openssl('pkcs8', '-topk8', '-in', at('ec.key'), '-passout', `file:${at('password')}`, '-out', at('locked.key'));
  openssl('pkcs8', '-topk8', '-scrypt', '-in', at('ec.key'), '-passout', `file:${at('password')}`, '-out', at('scrypt.key'));
  for (const name of ['sec1.key', 'ec.key', 'ed.key', 'locked.key', 'scrypt.key']) {
    openssl('pkey', '-in', at(name), '-passin', `file:${at('password')}`, '-pubout', '-out', at('pub'));
    await roundTrip(readFileSync(at(name), 'utf8'), readFileSync(at('pub'), 'utf8'));
    const message = pae(statementPayloadType, payload);
    const signer = await loadSigner(at(name), { env: {}, password: at('password') });
    writeFileSync(at('message'), message);
    writeFileSync(at('signature'), (await signer.sign(message)).signature);
    if (name === 'ed.key')
      openssl('pkeyutl', '-verify', '-pubin', '-inkey', at('pub'), '-rawin', '-in', at('message'), '-sigfile', at('signature'));
    else openssl('dgst', '-sha256', '-verify', at('pub'), '-signature', at('signature'), at('message'));
  }
});

test('an encrypted key without a password, or with a wrong one, is KEY_PASSWORD in every form', async () => {
  for (const key of [encrypted(p256.privateKey), encrypted(ed25519.privateKey), cosignKey(p256.privateKey)]) {
    const env: Env = { KEY: key, WRONG: 'wrong', EMPTY: '' };
    await refused(loadSigner('env://KEY', { env }), 'KEY_PASSWORD', /encrypted and no password was given/);
    await refused(loadSigner('env://KEY', { env, password: 'env://WRONG' }), 'KEY_PASSWORD', /the password does not open/);
    await refused(loadSigner('env://KEY', { env, password: 'env://EMPTY' }), 'KEY_PASSWORD', /the password does not open/);
  }
});

test('no wrong password ever gives another error: padding that happens to fit is no key', async () => {
  const env: Record<string, string> = { KEY: encrypted(p256.privateKey) };
  for (let index = 0; index < 300; index++) {
    env.WRONG = `wrong ${index}`;
    await refused(loadSigner('env://KEY', { env, password: 'env://WRONG' }), 'KEY_PASSWORD', /does not open/);
  }
});

test('a password for a key that is not encrypted is not even read', async () => {
  await loadSigner('env://KEY', { env: { KEY: pkcs8(p256.privateKey) }, password: 'env://ABSENT' });
});

const absurd = (params: Record<string, number>) =>
  cosignKey(p256.privateKey, { change: (value) => ({ ...value, kdf: { name: 'scrypt', params, salt: 'AAAA' } }) });
const unusable: Record<string, { key: () => string; says: RegExp }> = {
  words: { key: () => 'release.key', says: /no PEM block/ },
  'a public key': { key: () => spki(p256.publicKey), says: /this is a public key; give the private one/ },
  'a certificate': { key: () => pem('CERTIFICATE', 'x'), says: /this is a certificate/ },
  'an OpenSSH key': { key: () => pem('OPENSSH PRIVATE KEY', 'x'), says: /'OPENSSH PRIVATE KEY' is not supported; use PKCS#8/ },
  'an RSA key in PKCS#1': { key: () => pem('RSA PRIVATE KEY', 'x'), says: /'RSA PRIVATE KEY' is not supported/ },
  'an RSA key in PKCS#8': {
    key: () => pkcs8(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey),
    says: /rsa keys are not supported/,
  },
  'a P-384 key': {
    key: () => pkcs8(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey),
    says: /EC secp384r1 keys are not supported/,
  },
  'a P-384 key from cosign': { key: () => cosignKey(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey), says: /EC secp384r1/ },
  'two keys': { key: () => pkcs8(p256.privateKey) + pkcs8(ed25519.privateKey), says: /2 PEM blocks/ },
  'a damaged key': { key: () => pem('PRIVATE KEY', 'not a key'), says: /damaged/ },
  'a cosign key that is no JSON': { key: () => pem('ENCRYPTED COSIGN PRIVATE KEY', 'x'), says: /damaged/ },
  'a cosign key with another cipher': {
    key: () => cosignKey(p256.privateKey, { change: (value) => ({ ...value, cipher: { name: 'none', nonce: 'AAAA' } }) }),
    says: /unknown or too costly way \(cipher\.name\)/,
  },
  'a cosign key with a short nonce': {
    key: () => cosignKey(p256.privateKey, { change: (value) => ({ ...value, cipher: { name: 'nacl/secretbox', nonce: 'AAAA' } }) }),
    says: /nonce is not 24 bytes/,
  },
  'scrypt that asks for 128 GiB': { key: () => absurd({ N: 2 ** 27, r: 8, p: 1 }), says: /not within 268435456 bytes/ },
  'scrypt with a huge r': { key: () => absurd({ N: 2, r: 2 ** 40, p: 1 }), says: /not within/ },
  'scrypt with a million passes': { key: () => absurd({ N: 32_768, r: 8, p: 1_000_000 }), says: /too costly way \(kdf\.params\.p\)/ },
  'scrypt with N that is no power of two': { key: () => absurd({ N: 32_767, r: 8, p: 1 }), says: /N=32767/ },
  'scrypt with N of 1': { key: () => absurd({ N: 1, r: 8, p: 1 }), says: /kdf\.params\.N/ },
};
for (const [name, { key, says }] of Object.entries(unusable)) {
  test(`refused as a signing key: ${name}`, async () => {
    await refused(loadSigner('env://KEY', { env: { KEY: key(), SECRET: password }, password: 'env://SECRET' }), 'KEY_INVALID', says);
  });
}

test('a cosign key whose box holds something else is refused', async () => {
  const salt = randomBytes(32);
  const nonce = randomBytes(24);
  const ciphertext = xsalsa20poly1305(scryptSync(password, salt, 32, { N: 2, r: 8, p: 1 }), nonce).encrypt(Buffer.from('not a key'));
  const value = {
    kdf: { name: 'scrypt', params: { N: 2, r: 8, p: 1 }, salt: salt.toString('base64') },
    cipher: { name: 'nacl/secretbox', nonce: nonce.toString('base64') },
    ciphertext: Buffer.from(ciphertext).toString('base64'),
  };
  const env = { KEY: pem('ENCRYPTED SIGSTORE PRIVATE KEY', JSON.stringify(value)), SECRET: password };
  await refused(loadSigner('env://KEY', { env, password: 'env://SECRET' }), 'KEY_INVALID', /holds no PKCS#8 key/);
});

test('a reference that leads nowhere is told what it may be', async () => {
  using folder = temporaryFolder();
  writeFileSync(join(folder.path, 'large.key'), 'x'.repeat(limits.keySizeBytes + 1));
  const load = (reference: string) => loadSigner(reference, { env: {} });
  await refused(load(join(folder.path, 'absent.key')), 'FILE_NOT_FOUND', /absent\.key': there is no such file\. Give a path, or env:/);
  await refused(load('hunter2'), 'FILE_NOT_FOUND', /^signing key: the path that was given \(not repeated: .*\): there is no such file\./);
  await refused(load(folder.path), 'FILE_UNREADABLE', new RegExp(`'${folder.path}': .*cannot be read`));
  await refused(load(join(folder.path, 'large.key')), 'LIMIT_EXCEEDED', /it has more than \d+ bytes\. Give a path/);
  await refused(load('env://ABSENT'), 'USAGE', /must name an environment variable that is set, and ABSENT is not/);
  await refused(load('env://'), 'USAGE', /must name an environment variable/);
  await refused(load('env://__proto__'), 'USAGE', /must name an environment variable/);
});

test('a key can come through a pipe', { skip: process.platform === 'win32' }, async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'pipe');
  assert.equal(spawnSync('mkfifo', [path]).status, 0);
  const loading = loadSigner(path, { env: {} });
  writeFileSync(path, pkcs8(p256.privateKey));
  const { verification } = await (await loading).sign(new Uint8Array());
  assert.equal(verification.type === 'publicKey' && verification.publicKeyPem, spki(p256.publicKey));
});

test('a password file may end with a line break, and keeps its spaces', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'password');
  for (const [content, expected] of [
    [' two words \n', ' two words '],
    ['windows\r\n', 'windows'],
    ['two\n\n', 'two\n'],
    ['', ''],
  ] as const) {
    writeFileSync(path, content);
    assert.equal(await readPassword(path, {}), expected);
  }
  assert.equal(await readPassword('env://SECRET', { SECRET: 'kept\n' }), 'kept\n');
});

test('no message carries a key or a password, whatever is mistaken for what', async () => {
  const canaries = [
    'hunter2-canary',
    pkcs8(p256.privateKey),
    Buffer.from(p256.privateKey.export({ type: 'pkcs8', format: 'der' })).toString('base64'),
  ];
  const env: Env = { KEY: encrypted(p256.privateKey), TEXT: 'hunter2-canary', BROKEN: pem('PRIVATE KEY', 'hunter2-canary') };
  const attempts = [
    loadSigner(canaries[1] ?? '', { env }),
    loadSigner(canaries[2] ?? '', { env }),
    loadSigner('hunter2-canary', { env }),
    loadSigner('env://hunter2-canary', { env }),
    loadSigner('env://TEXT', { env }),
    loadSigner('env://BROKEN', { env }),
    loadSigner('env://KEY', { env, password: 'hunter2-canary' }),
    loadSigner('env://KEY', { env, password: 'env://TEXT' }),
    loadSigner('env://KEY', { env, password: 'env://hunter2-canary' }),
  ];
  for (const result of await Promise.allSettled(attempts)) {
    assert.equal(result.status, 'rejected');
    assert.ok(result.reason instanceof ChainloopError);
    const shown = `${result.reason.stack} ${JSON.stringify(result.reason.problems)} ${String(result.reason.cause)}`;
    for (const canary of canaries) assert.ok(!shown.includes(canary), shown);
    assert.ok(!shown.includes('canary') && !shown.includes(canaries[2]?.slice(20, 60) ?? ''), shown);
  }
});

test('a private key is read once: what signs is what was checked', async () => {
  const { privateKeyPem } = await generateKeyPair();
  const signer = await loadSigner('env://KEY', { env: { KEY: privateKeyPem } });
  const { verification } = await signer.sign(new Uint8Array([1]));
  assert.equal(verification.type, 'publicKey');
  assert.ok(!JSON.stringify(verification).includes('PRIVATE'));
  assert.ok(createPrivateKey(privateKeyPem));
});

function temporaryFolder(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'chainloop-keys-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}
