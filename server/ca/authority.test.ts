import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, createPublicKey, generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto';
import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { bundleFromJSON } from '@sigstore/bundle';
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
import { createKeylessSigner, type KeylessPorts } from '../../core/adapters/keyless.ts';
import { statementPayloadType } from '../../core/dsse.ts';
import { isChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { pemText } from '../../core/pem.ts';
import { loadTrustRoot } from '../../core/trust-root.ts';
import { verifyBundle } from '../../core/verify.ts';
import { findSetting, settle } from '../../db/settings.ts';
import { databaseKinds, openDatabase } from '../../test/databases.ts';
import { signBundle } from '../../test/fakes/job.ts';
import { needs } from '../../test/needs.ts';
import { createSecrets } from '../sealing.ts';
import { type CertificateAuthority, createAuthority } from './authority.ts';
import { certificatePem, issuingCertificate, rootCertificate, timestampingCertificate } from './certificate.ts';
import { makeGeneration } from './generation.ts';
import { timestampPolicy } from './timestamp.ts';
import type { TrustedRootText } from './trust-root.ts';

const identity = { san: 'https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1', issuer: 'https://token.example' };
const payload = new Uint8Array(Buffer.from('{"_type":"https://in-toto.io/Statement/v1"}'));
const minuteMs = 60_000;

/** A control plane's authority over an empty database, with a clock that the test moves. */
async function setUp(options: { readonly caDir?: string } = {}) {
  const database = await openDatabase('pglite');
  const masterKey = randomBytes(32);
  const secrets = createSecrets(masterKey);
  const clock = { now: new Date('2026-11-23T09:00:00.500Z') };
  const replica = (key = masterKey, caDir = options.caDir) =>
    createAuthority({ database, secrets: createSecrets(key), now: () => clock.now, origin: () => 'https://chainloop.example', caDir });
  return { database, clock, replica, secrets, [Symbol.asyncDispose]: () => database.close() };
}

function portsOf(authority: CertificateAuthority): KeylessPorts {
  return {
    identity: async () => identity.san,
    certificate: (spki) => authority.issue(createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' }), identity),
    timestamp: (request) => authority.timestamp(request),
  };
}

const sign = (authority: CertificateAuthority): Promise<string> =>
  signBundle(payload, statementPayloadType, createKeylessSigner(portsOf(authority)));

/** Another implementation's verdict: whom the certificate names, or its error. */
function sigstore(bundle: string, root: TrustedRootText): string {
  const material = toTrustMaterial(TrustedRoot.fromJSON(root));
  const verifier = new Verifier(material, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 1 });
  try {
    const { identity: signer } = verifier.verify(toSignedEntity(bundleFromJSON(JSON.parse(bundle))));
    return `${signer?.subjectAlternativeName} by ${signer?.extensions?.issuer}`;
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
}

const accepted = `${identity.san} by ${identity.issuer}`;

test('sigstore-js and we verify a keyless bundle with the exported trust root, with a timestamp and nothing else', async () => {
  await using plane = await setUp();
  const authority = plane.replica();
  const [first, second] = [await sign(authority), await sign(authority)];
  const root = await authority.trustRoot();
  assert.equal(sigstore(first, root), accepted);
  const trustRoot = await loadTrustRoot(JSON.stringify(root));
  const ours = verifyBundle(first, {
    type: 'identity',
    trustRoot,
    identity: { exact: identity.san },
    issuer: identity.issuer,
    strict: true,
  });
  assert.deepEqual(Buffer.from(ours.payload), Buffer.from(payload));

  const [one, two] = [JSON.parse(first), JSON.parse(second)];
  const mixed = { ...one, verificationMaterial: { ...one.verificationMaterial, ...stampsOf(two) } };
  assert.equal(sigstore(JSON.stringify(mixed), root), 'TIMESTAMP_ERROR');
  const other = { ...one, verificationMaterial: { ...two.verificationMaterial, ...stampsOf(one) } };
  assert.equal(sigstore(JSON.stringify(other), root), 'SIGNATURE_ERROR');
  await using stranger = await setUp();
  assert.notEqual(sigstore(first, await stranger.replica().trustRoot()), accepted);
});

function stampsOf(bundle: { readonly verificationMaterial: { readonly timestampVerificationData: unknown } }) {
  return { timestampVerificationData: bundle.verificationMaterial.timestampVerificationData };
}

test('a bundle that is stamped after the ten minutes of its certificate is refused', async () => {
  await using plane = await setUp();
  const authority = plane.replica();
  const late = createKeylessSigner({
    ...portsOf(authority),
    timestamp(request) {
      plane.clock.now = new Date(plane.clock.now.getTime() + 10 * minuteMs);
      return authority.timestamp(request);
    },
  });
  const bundle = await signBundle(payload, statementPayloadType, late);
  assert.equal(sigstore(bundle, await authority.trustRoot()), 'CERTIFICATE_ERROR');
});

test('OpenSSL verifies the chain of a certificate, and a timestamp, embedded certificate or not', async (t) => {
  if (!needs(t, 'openssl')) return;
  await using plane = await setUp();
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-ca-'));
  const at = (name: string): string => join(folder.path, name);
  const authority = plane.replica();
  const key = generateKeyPairSync('ed25519').publicKey;
  const [leaf = '', issuing = ''] = await authority.issue(key, identity);
  const { timestampAuthorities } = await authority.trustRoot();
  const [stamping = '', root = ''] = (timestampAuthorities[0]?.certChain.certificates ?? []).map(({ rawBytes }) =>
    pemText('CERTIFICATE', Buffer.from(rawBytes, 'base64')),
  );
  for (const [name, text] of Object.entries({ leaf, issuing, stamping, root })) await writeFile(at(name), text);
  await writeFile(at('signature'), 'the bytes of a signature');
  const time = ['-attime', String(Math.floor(plane.clock.now.getTime() / 1000))];
  const openssl = (...options: string[]): string =>
    execFileSync('openssl', options, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

  const chain = ['-CAfile', at('root'), '-untrusted'];
  assert.match(openssl('verify', '-x509_strict', ...time, ...chain, at('issuing'), at('leaf')), /leaf: OK/);
  for (const certificate of [['-cert'], []]) {
    openssl('ts', '-query', '-data', at('signature'), '-sha256', ...certificate, '-out', at('query'));
    await writeFile(at('reply'), await authority.timestamp(new Uint8Array(await readFile(at('query')))));
    const said = openssl('ts', '-verify', '-queryfile', at('query'), '-in', at('reply'), ...time, ...chain, at('stamping'));
    assert.match(said, /Verification: OK/);
    await writeFile(at('other'), 'other bytes');
    assert.throws(() => openssl('ts', '-verify', '-data', at('other'), '-in', at('reply'), ...time, ...chain, at('stamping')));
  }
  const refused: readonly (readonly [readonly string[], RegExp])[] = [
    [['-sha512'], /Rejected[\s\S]*algorithm identifier/],
    [['-sha256', '-tspolicy', '1.2.3.4'], /Rejected[\s\S]*policy is not supported/],
  ];
  for (const [options, reason] of refused) {
    openssl('ts', '-query', '-data', at('signature'), ...options, '-out', at('query'));
    await writeFile(at('reply'), await authority.timestamp(new Uint8Array(await readFile(at('query')))));
    assert.match(openssl('ts', '-reply', '-in', at('reply'), '-text'), reason);
  }
});

test('a timestamp names a policy that Go can read, so that cosign and gh can: no number of it is above 2^31', async () => {
  await using plane = await setUp();
  const request = Buffer.concat([Buffer.from('30360201013031300d060960864801650304020105000420', 'hex'), randomBytes(32)]);
  const response = Buffer.from(await plane.replica().timestamp(new Uint8Array(request)));
  assert.ok(response.includes(Buffer.from('06092b0601040183bf3002', 'hex')), timestampPolicy);
  assert.ok(timestampPolicy.split('.').every((number) => Number(number) < 2 ** 31));
});

test('what is no request for a timestamp is rejected by a response, and by no exception', async () => {
  await using plane = await setUp();
  const authority = plane.replica();
  const request = Buffer.concat([Buffer.from('3032020101302d300906052b0e03021a05000420', 'hex'), randomBytes(32)]);
  for (const bytes of [Buffer.from('junk'), Buffer.alloc(0), Buffer.alloc(4096, 0x30), Buffer.concat([request, Buffer.from([0])])]) {
    const response = Buffer.from(await authority.timestamp(new Uint8Array(bytes)));
    // PKIStatusInfo begins with the status, 2: rejection.
    assert.ok(response.includes(Buffer.from('020102', 'hex')), bytes.toString('hex').slice(0, 40));
  }
});

test('a certificate is for ten minutes, for code signing, and names its job as Fulcio does', async () => {
  await using plane = await setUp();
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const [pem = ''] = await plane.replica().issue(publicKey, { ...identity, claims: { 9: 'signer', 21: 'https://run' } });
  const certificate = new X509Certificate(pem);
  assert.equal(certificate.subjectAltName, `URI:${identity.san}`);
  assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.3']);
  assert.equal(certificate.ca, false);
  assert.equal(certificate.validToDate.getTime() - certificate.validFromDate.getTime(), 10 * minuteMs);
  assert.equal(certificate.validFromDate.toISOString(), '2026-11-23T08:59:30.000Z');
  const hex = certificate.raw.toString('hex');
  // Subject alternative name, critical: OID, BOOLEAN TRUE.
  assert.ok(hex.includes('0603551d110101ff04'));
  // 1.3.6.1.4.1.57264.1.*, in an OCTET STRING a UTF8String.
  for (const [number, text] of [
    ['08', identity.issuer],
    ['09', 'signer'],
    ['15', 'https://run'],
  ] as const) {
    const value = Buffer.concat([Buffer.from([0x04, text.length + 2, 0x0c, text.length]), Buffer.from(text)]).toString('hex');
    assert.ok(hex.includes(`060a2b0601040183bf3001${number}${value}`), `extension ${number}`);
  }
  await assert.rejects(plane.replica().issue(publicKey, { ...identity, san: 'https://x/ümlaut' }), (error) =>
    isChainloopError(error, 'USAGE'),
  );
});

for (const kind of databaseKinds) {
  test(`servers that start at once make one authority, and a restart keeps it (${kind})`, async (t: TestContext) => {
    if (kind === 'postgresql' && !needs(t, 'postgresql')) return;
    await using database = await openDatabase(kind);
    const secrets = createSecrets(randomBytes(32));
    const replica = () =>
      createAuthority({ database, secrets, now: () => new Date('2026-11-23T09:00:00Z'), origin: () => 'https://x.example' });
    const replicas = [replica(), replica(), replica()];
    const [first, ...others] = await Promise.all(replicas.map((one) => one.trustRoot()));
    for (const root of [...others, await replica().trustRoot()]) assert.deepEqual(root, first);
    assert.equal(first?.certificateAuthorities.length, 1);
    for (const one of replicas) assert.equal(sigstore(await sign(one), await replica().trustRoot()), accepted);
  });
}

test('private keys are ciphertext at rest, do not open under another master key, and the root key is nowhere', async () => {
  await using plane = await setUp();
  await plane.replica().check();
  const stored = (await findSetting(plane.database.system, 'ca/1')) ?? '';
  assert.doesNotMatch(stored, /PRIVATE KEY/);
  const { issuing, timestamping, ...rest } = JSON.parse(stored);
  assert.deepEqual(Object.keys(rest).toSorted(), ['createdAt', 'version']);
  for (const { key } of [issuing, timestamping]) {
    assert.match(key, /^v1\.[0-9a-f]{8}\./);
    // PKCS#8 of an EC key has this algorithm identifier, whatever the key.
    for (const part of key.split('.')) assert.ok(!Buffer.from(part, 'base64url').includes(Buffer.from('2a8648ce3d0201', 'hex')));
  }
  const other = plane.replica(randomBytes(32));
  await assert.rejects(other.check(), (error) => isChainloopError(error, 'STORAGE_UNAVAILABLE') && !error.message.includes(issuing.key));
});

test('rotation: what the old authority signed keeps verifying, and what the new one signs needs the new trust root', async () => {
  await using plane = await setUp();
  const authority = plane.replica();
  const [before, oldRoot] = [await sign(authority), await authority.trustRoot()];
  plane.clock.now = new Date('2026-12-01T12:00:00Z');
  assert.deepEqual(await authority.rotate(), { generation: 2, createdAt: plane.clock.now });
  const [after, root] = [await sign(authority), await authority.trustRoot()];
  assert.deepEqual([sigstore(before, root), sigstore(after, root)], [accepted, accepted]);
  assert.equal(sigstore(before, oldRoot), accepted);
  assert.notEqual(sigstore(after, oldRoot), accepted);
  for (const { certificateAuthorities, timestampAuthorities } of [root]) {
    for (const [old, current] of [certificateAuthorities, timestampAuthorities]) {
      assert.equal(old?.validFor.end, '2026-12-01T12:15:00.000Z');
      assert.deepEqual(Object.keys(current?.validFor ?? {}), ['start']);
    }
  }
  assert.deepEqual(await plane.replica().trustRoot(), root);
});

test('what one server certifies right after a rotation verifies at another, which knew the generation before', async () => {
  await using plane = await setUp();
  const [one, other] = [plane.replica(), plane.replica()];
  await other.trustRoot();
  await one.rotate();
  assert.equal(sigstore(await sign(one), await other.trustRoot()), `${identity.san} by ${identity.issuer}`);
});

test('rotation ends before the trusted root has more authorities than a verifier reads, and keyless signing goes on', async () => {
  await using plane = await setUp();
  const settled = (number: number, text: string) => settle(plane.database.system, `ca/${number}`, text);
  const made = (number: number) => makeGeneration(number, plane.clock.now, plane.secrets);
  const old = await made(1);
  for (let number = 1; number < limits.trustRootAuthorities - 1; number++) await settled(number, old);
  await settled(limits.trustRootAuthorities - 1, await made(limits.trustRootAuthorities - 1));
  const authority = plane.replica();
  assert.equal((await authority.rotate()).generation, limits.trustRootAuthorities);
  const full = (error: unknown) => isChainloopError(error, 'LIMIT_EXCEEDED') && /1024 generations, and takes no more/.test(error.message);
  await assert.rejects(authority.rotate(), full);
  await assert.rejects(plane.replica().rotate(), full);
  const trustRoot = await loadTrustRoot(JSON.stringify(await authority.trustRoot()));
  const policy = { type: 'identity', trustRoot, identity: { exact: identity.san }, issuer: identity.issuer, strict: true } as const;
  assert.equal(verifyBundle(await sign(authority), policy).signer.name, identity.san);
});

test('an operator brings authorities in files, replaces them, and old files no longer sign', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-ca-'));
  await using plane = await setUp({ caDir: folder.path });
  const first = await writeFiles(folder.path, 'P-384');
  const before = await sign(plane.replica());
  assert.equal(sigstore(before, await plane.replica().trustRoot()), accepted);
  await assert.rejects(plane.replica().rotate(), (error) => isChainloopError(error, 'USAGE'));

  plane.clock.now = new Date('2026-11-24T09:00:00Z');
  await writeFiles(folder.path, 'P-256');
  const after = await sign(plane.replica());
  const root = await plane.replica().trustRoot();
  assert.deepEqual([sigstore(before, root), sigstore(after, root)], [accepted, accepted]);
  assert.equal(root.certificateAuthorities.length, 2);

  for (const [name, text] of Object.entries(first)) await writeFile(join(folder.path, name), text);
  await assert.rejects(plane.replica().check(), (error) => isChainloopError(error, 'USAGE') && /were replaced/.test(error.message));
});

test('files that cannot be an authority are refused with every problem', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-ca-'));
  await using plane = await setUp({ caDir: folder.path });
  const files = await writeFiles(folder.path, 'P-256');
  await writeFile(join(folder.path, 'issuing.key'), files['timestamping.key'] ?? '');
  await writeFile(join(folder.path, 'timestamping.pem'), 'no certificate');
  await assert.rejects(plane.replica().check(), (error) => {
    assert.ok(isChainloopError(error, 'USAGE'));
    assert.deepEqual(error.problems.map(({ file }) => file).toSorted(), ['issuing.key', 'timestamping.pem']);
    assert.doesNotMatch(error.message, /PRIVATE/);
    return true;
  });
  assert.equal(await findSetting(plane.database.system, 'ca/1'), undefined);
});

/** What an operator's own tools would have made. */
async function writeFiles(folder: string, namedCurve: 'P-256' | 'P-384'): Promise<Record<string, string>> {
  const [root, issuing, stamping] = [0, 1, 2].map(() => generateKeyPairSync('ec', { namedCurve }));
  assert.ok(root !== undefined && issuing !== undefined && stamping !== undefined);
  const period = { notBefore: new Date('2026-01-01T00:00:00Z'), notAfter: new Date('2030-01-01T00:00:00Z') };
  const certified = { key: root.privateKey, certificate: rootCertificate(root.privateKey, `Acme root ${namedCurve}`, period) };
  const chain = (certificate: X509Certificate): string => certificatePem(certificate) + certificatePem(certified.certificate);
  const pem = { type: 'pkcs8', format: 'pem' } as const;
  const files = {
    'issuing.pem': chain(issuingCertificate(certified, issuing.publicKey, 'Acme signing', period)),
    'issuing.key': issuing.privateKey.export(pem).toString(),
    'timestamping.pem': chain(timestampingCertificate(certified, stamping.publicKey, 'Acme stamping', period)),
    'timestamping.key': stamping.privateKey.export(pem).toString(),
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  return files;
}

test('the signer refuses a certificate for another key or identity, and a timestamp of another signature', async () => {
  await using plane = await setUp();
  const ports = portsOf(plane.replica());
  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
  const liars: Record<string, Partial<KeylessPorts>> = {
    'another key': { certificate: () => plane.replica().issue(stranger, identity) },
    'another identity': {
      certificate: (spki) =>
        plane
          .replica()
          .issue(createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' }), { ...identity, san: `${identity.san}-evil` }),
    },
    'no certificate': { certificate: async () => [] },
    'another signature': {
      timestamp: (request) =>
        ports.timestamp(new Uint8Array(Buffer.concat([request.subarray(0, 22), createHash('sha256').digest(), request.subarray(54)]))),
    },
    'a rejection': { timestamp: () => ports.timestamp(new Uint8Array()) },
  };
  for (const [what, lie] of Object.entries(liars)) {
    await assert.rejects(
      signBundle(payload, statementPayloadType, createKeylessSigner({ ...ports, ...lie })),
      (error) => isChainloopError(error, 'SIGNATURE_INVALID'),
      what,
    );
  }
});
