import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, test } from 'node:test';
import { formatBundle, type ParsedBundle } from '../../core/bundle.ts';
import { derTag } from '../../core/der.ts';
import { ChainloopError, type ErrorCode, isChainloopError } from '../../core/errors.ts';
import { loadTrustRoot, type TrustRoot } from '../../core/trust-root.ts';
import { type IdentityPolicy, type Policy, verifyBundle } from '../../core/verify.ts';
import {
  acme,
  certifiedBundle,
  createFakeAuthority,
  der,
  github,
  logEntry,
  minutes,
  noon,
  reissued,
  timestamp,
} from '../fakes/authority.ts';

// faults.md S2 and S3 for certificates: every row is a bundle that is good but for one thing, signed for real. S1: certified-mutations.test.ts.

const authority = createFakeAuthority();
const stranger = createFakeAuthority();
const payload = new Uint8Array(Buffer.from('{"_type":"https://in-toto.io/Statement/v1"}'));
const other = new Uint8Array(Buffer.from('{"_type":"https://in-toto.io/Statement/v1","x":1}'));
const root = await loadTrustRoot(authority.trustRoot());
const logRoot = await loadTrustRoot(authority.trustRoot({ log: true }));
const policyOf = (trustRoot: TrustRoot, change: Partial<IdentityPolicy> = {}): IdentityPolicy => ({
  type: 'identity',
  trustRoot,
  identity: { exact: acme },
  issuer: github,
  ...change,
});
const policy = policyOf(root);
const good = certifiedBundle(authority, payload).bundle;
const again = certifiedBundle(authority, other).bundle;
const derOf = ({ signer }: ParsedBundle): Uint8Array => (signer.type === 'certificate' ? signer.der : new Uint8Array());
const entryOf = (bundle: ParsedBundle, at?: Date) =>
  logEntry(authority, { payload: bundle.payload, signature: bundle.signature, signer: derOf(bundle), ...(at && { at }) });
const logged = { ...good, transparencyLogEntries: [entryOf(good)] };

const refusedWith = (code: ErrorCode, says: RegExp) => (error: unknown) => {
  assert.ok(isChainloopError(error, code), `${String(error)} ${error instanceof ChainloopError ? error.code : ''}`);
  assert.match(error.message, says);
  return true;
};

test('a certificate proves payload, type and identity, with a time inside its validity', () => {
  for (const strict of [false, true]) {
    assert.deepEqual(verifyBundle(formatBundle(good), policyOf(root, { strict })), {
      payload,
      payloadType: good.payloadType,
      signer: { type: 'certificate', name: acme, issuer: github, signedAt: noon },
    });
    assert.equal(verifyBundle(formatBundle(logged), policyOf(logRoot, { strict })).signer.name, acme);
  }
});

type Row = {
  readonly attack: string;
  readonly bundle: ParsedBundle;
  readonly policy?: Policy;
  readonly code: ErrorCode;
  readonly says: RegExp;
};

const sansOf = (san: string) => certifiedBundle(authority, payload, { san }).bundle;
const prefix = (text: string): Policy => policyOf(root, { identity: { prefix: text } });
const retired = await loadTrustRoot(authority.trustRoot({ issuing: { start: '2026-01-01T00:00:00Z', end: '2026-11-23T11:00:00Z' } }));
const retiredStamper = await loadTrustRoot(
  authority.trustRoot({ stamping: { start: '2026-01-01T00:00:00Z', end: '2026-11-23T11:00:00Z' } }),
);
const future = await loadTrustRoot(authority.trustRoot({ issuing: { start: '2027-01-01T00:00:00Z' } }));
const foreignRoot = await loadTrustRoot(stranger.trustRoot());
const evil = 'https://github.com/acme/app-evil/.github/workflows/release.yml@refs/tags/v1';
const stamperAsSigner = certifiedBundle(authority, payload, { issuing: authority.stamping }).bundle;

const tenMinutes = { notBefore: minutes(-1), notAfter: minutes(9) };

/** The good bundle with its certificate changed, and signed again by the same authority: only the change is wrong. */
const reissuedWith = (change: Parameters<typeof reissued>[2]): ParsedBundle => ({
  ...good,
  signer: { type: 'certificate', der: reissued(authority.issuing, derOf(good), change) },
});
const oid = (hex: string): Buffer => der(derTag.oid, Buffer.from(hex, 'hex'));
const extension = (name: Buffer, value: Uint8Array, critical = false): Buffer =>
  der(derTag.sequence, name, ...(critical ? [Buffer.from('0101ff', 'hex')] : []), der(derTag.octetString, value));
const [keyUsage, extendedKeyUsage, san, issuerV2] = [oid('551d0f'), oid('551d25'), oid('551d11'), oid('2b0601040183bf300108')];
const without = (extensions: readonly Buffer[], name: Buffer): Buffer[] => extensions.filter((one) => !one.includes(name));
const replaced = (name: Buffer, value: Uint8Array, critical = false): ParsedBundle =>
  reissuedWith((extensions) => [...without(extensions, name), extension(name, value, critical)]);
const names = (...list: readonly Buffer[]): Buffer => der(derTag.sequence, ...list);
const uri = (text: string): Buffer => der(0x86, Buffer.from(text));

const ended = { notBefore: new Date('2026-01-01T00:00:00Z'), notAfter: new Date('2026-11-23T11:00:00Z') };
const expiredRoot = createFakeAuthority('expired root', { root: ended });
const expiredStamper = createFakeAuthority('expired stamper', { stamping: ended });
const rotated = createFakeAuthority('rotated');
const withLeafAsIssuer = (): ParsedBundle => {
  const { key } = certifiedBundle(authority, payload);
  const leaf = { key, certificate: new X509Certificate(derOf(certifiedBundle(authority, payload).bundle)) };
  return certifiedBundle(authority, payload, { issuing: leaf }).bundle;
};

const rows: readonly Row[] = [
  { attack: 'the certificate of another repository', bundle: sansOf(evil), code: 'SIGNER_UNTRUSTED', says: /app-evil/ },
  {
    attack: 'a repository whose name begins like the trusted one',
    bundle: sansOf(evil),
    policy: prefix('https://github.com/acme/app'),
    code: 'SIGNER_UNTRUSTED',
    says: /app-evil/,
  },
  {
    attack: 'a dot in the trusted identity that stands for any character',
    bundle: sansOf(acme.replace('github.com', 'githubXcom')),
    code: 'SIGNER_UNTRUSTED',
    says: /githubXcom/,
  },
  {
    attack: 'the trusted identity inside of another one',
    bundle: sansOf(`https://evil.example/?${acme}`),
    code: 'SIGNER_UNTRUSTED',
    says: /evil/,
  },
  {
    attack: 'a branch whose name begins like the trusted one',
    bundle: sansOf(acme.replace('tags/v1', 'heads/main-evil')),
    policy: prefix(acme.replace('tags/v1', 'heads/main')),
    code: 'SIGNER_UNTRUSTED',
    says: /main-evil/,
  },
  {
    attack: 'the trusted identity in capitals',
    bundle: sansOf(acme.replace('acme', 'Acme')),
    code: 'SIGNER_UNTRUSTED',
    says: /Acme/,
  },
  {
    attack: 'a way out of the prefix',
    bundle: sansOf('https://github.com/acme/app/../evil/release.yml'),
    policy: prefix('https://github.com/acme/app/'),
    code: 'SIGNER_UNTRUSTED',
    says: /evil/,
  },
  {
    attack: 'a prefix of everybody',
    bundle: good,
    policy: prefix('https://'),
    code: 'USAGE',
    says: /must be a URL with host and path/,
  },
  {
    attack: 'another issuer',
    bundle: certifiedBundle(authority, payload, { issuer: 'https://gitlab.example' }).bundle,
    code: 'SIGNER_UNTRUSTED',
    says: /gitlab\.example vouches/,
  },
  {
    attack: 'an issuer that begins like the trusted one',
    bundle: certifiedBundle(authority, payload, { issuer: `${github}.evil` }).bundle,
    code: 'SIGNER_UNTRUSTED',
    says: /evil vouches/,
  },
  {
    attack: 'a certificate that had expired when it signed',
    bundle: certifiedBundle(authority, payload, { ...tenMinutes, signedAt: minutes(10) }).bundle,
    code: 'TIMESTAMP_INVALID',
    says: /outside the validity of its certificate/,
  },
  {
    attack: 'a certificate that was not valid yet',
    bundle: certifiedBundle(authority, payload, { ...tenMinutes, signedAt: minutes(-2) }).bundle,
    code: 'TIMESTAMP_INVALID',
    says: /outside the validity of its certificate/,
  },
  {
    attack: 'one time inside, and one outside of the validity',
    bundle: { ...good, timestamps: [...good.timestamps, timestamp(authority.stamping, good.signature, minutes(20))] },
    code: 'TIMESTAMP_INVALID',
    says: /outside the validity of its certificate/,
  },
  {
    attack: 'the timestamp of another signature',
    bundle: { ...good, timestamps: again.timestamps },
    code: 'TIMESTAMP_INVALID',
    says: /could not be verified/,
  },
  {
    attack: 'the timestamp of an authority that nobody trusts',
    bundle: { ...good, timestamps: [timestamp(stranger.stamping, good.signature, noon)] },
    code: 'TIMESTAMP_INVALID',
    says: /not of an authority/,
  },
  {
    attack: 'a timestamp by the key that issues certificates',
    bundle: { ...good, timestamps: [timestamp(authority.issuing, good.signature, noon)] },
    code: 'TIMESTAMP_INVALID',
    says: /not of an authority/,
  },
  { attack: 'the timestamp is taken away', bundle: { ...good, timestamps: [] }, code: 'TIMESTAMP_INVALID', says: /0 authorities, and 1/ },
  {
    attack: 'the timestamp is taken away, and the policy asks for none',
    bundle: { ...good, timestamps: [] },
    policy: policyOf(root, { thresholds: { logEntries: 0, timestamps: 0, certificateTimestamps: 0 }, unsafelyBelowTrustRoot: true }),
    code: 'TIMESTAMP_INVALID',
    says: /0 authorities, and 1/,
  },
  {
    attack: 'one timestamp twice, where two are asked for',
    bundle: { ...good, timestamps: [...good.timestamps, timestamp(authority.stamping, good.signature, minutes(1))] },
    policy: policyOf(root, { thresholds: { logEntries: 0, timestamps: 2, certificateTimestamps: 0 } }),
    code: 'TIMESTAMP_INVALID',
    says: /1 authorities, and 2/,
  },
  { attack: 'the wrong root', bundle: good, policy: policyOf(foreignRoot), code: 'TIMESTAMP_INVALID', says: /not of an authority/ },
  {
    attack: 'a certificate of another authority, with our timestamp',
    bundle: certifiedBundle(authority, payload, { issuing: stranger.issuing }).bundle,
    code: 'SIGNER_UNTRUSTED',
    says: /not of an authority/,
  },
  {
    attack: 'a certificate that the time-stamping authority has issued',
    bundle: stamperAsSigner,
    code: 'SIGNER_UNTRUSTED',
    says: /not of an authority/,
  },
  {
    attack: 'the certificate of the authority itself',
    bundle: { ...good, signer: { type: 'certificate', der: new Uint8Array(authority.issuing.certificate.raw) } },
    code: 'SIGNER_UNTRUSTED',
    says: /exactly one identity/,
  },
  {
    attack: 'the certificate of the time-stamping authority',
    bundle: { ...good, signer: { type: 'certificate', der: new Uint8Array(authority.stamping.certificate.raw) } },
    code: 'SIGNER_UNTRUSTED',
    says: /exactly one identity/,
  },
  {
    attack: 'the key of the certificate may only sign certificates',
    bundle: replaced(keyUsage, Buffer.from('03020204', 'hex'), true),
    code: 'SIGNER_UNTRUSTED',
    says: /not for signing code/,
  },
  {
    attack: 'a certificate for time-stamping that names the trusted identity',
    bundle: replaced(extendedKeyUsage, der(derTag.sequence, oid('2b06010505070308'))),
    code: 'SIGNER_UNTRUSTED',
    says: /not for signing code/,
  },
  {
    attack: 'a certificate without a purpose',
    bundle: reissuedWith((extensions) => without(extensions, extendedKeyUsage)),
    code: 'SIGNER_UNTRUSTED',
    says: /not for signing code/,
  },
  {
    attack: 'a certificate of an authority that names the trusted identity',
    bundle: reissuedWith((extensions) => [...extensions, extension(oid('551d13'), Buffer.from('30030101ff', 'hex'), true)]),
    code: 'SIGNER_UNTRUSTED',
    says: /of an authority, which does not sign/,
  },
  { attack: 'a certificate that a signer has issued', bundle: withLeafAsIssuer(), code: 'SIGNER_UNTRUSTED', says: /not of an authority/ },
  {
    attack: 'no identity',
    bundle: reissuedWith((extensions) => without(extensions, san)),
    code: 'SIGNER_UNTRUSTED',
    says: /exactly one identity/,
  },
  {
    attack: 'two identities, the trusted one first',
    bundle: replaced(san, names(uri(acme), uri(evil)), true),
    code: 'SIGNER_UNTRUSTED',
    says: /exactly one identity/,
  },
  {
    attack: 'the trusted identity as a DNS name',
    bundle: replaced(san, names(der(0x82, Buffer.from(acme))), true),
    code: 'SIGNER_UNTRUSTED',
    says: /exactly one identity/,
  },
  {
    attack: 'the trusted identity, and a NUL behind it',
    bundle: replaced(san, names(uri(`${acme}\0.evil.example`)), true),
    code: 'SIGNER_UNTRUSTED',
    says: /exactly one identity/,
  },
  {
    attack: 'nobody vouches for the identity',
    bundle: reissuedWith((extensions) => without(extensions, issuerV2)),
    code: 'SIGNER_UNTRUSTED',
    says: /nobody vouches/,
  },
  {
    attack: 'two issuers in one certificate, the older extension naming another',
    bundle: reissuedWith((extensions) => [...extensions, extension(oid('2b0601040183bf300101'), Buffer.from('https://evil.example'))]),
    code: 'SIGNER_UNTRUSTED',
    says: /nobody vouches/,
  },
  {
    attack: 'an identity that is there twice',
    bundle: reissuedWith((extensions) => [...extensions, extension(san, names(uri(evil)))]),
    code: 'BUNDLE_INVALID',
    says: /an extension is there twice/,
  },
  {
    attack: 'a critical extension that nobody here understands',
    bundle: reissuedWith((extensions) => [...extensions, extension(oid('2b0601040183bf30017f'), Buffer.from([5, 0]), true)]),
    code: 'BUNDLE_INVALID',
    says: /critical and not understood/,
  },
  {
    attack: 'freeze: the root of the authorities has expired',
    bundle: certifiedBundle(expiredRoot, payload).bundle,
    policy: policyOf(await loadTrustRoot(expiredRoot.trustRoot())),
    code: 'TIMESTAMP_INVALID',
    says: /timestamp could not be verified/,
  },
  {
    attack: 'freeze: the certificate of the time-stamping authority has expired',
    bundle: certifiedBundle(expiredStamper, payload).bundle,
    policy: policyOf(await loadTrustRoot(expiredStamper.trustRoot())),
    code: 'TIMESTAMP_INVALID',
    says: /timestamp could not be verified/,
  },
  {
    attack: 'rollback: a trust root from before the rotation does not know the authority of today',
    bundle: certifiedBundle(rotated, payload).bundle,
    code: 'TIMESTAMP_INVALID',
    says: /not of an authority/,
  },
  {
    attack: 'root downgrade: an authority that was rotated out signs on',
    bundle: good,
    policy: policyOf(retired),
    code: 'SIGNER_UNTRUSTED',
    says: /believes at/,
  },
  {
    attack: 'root downgrade: a time-stamping authority that was rotated out stamps on',
    bundle: good,
    policy: policyOf(retiredStamper),
    code: 'TIMESTAMP_INVALID',
    says: /believes at/,
  },
  { attack: 'an authority that is not in use yet', bundle: good, policy: policyOf(future), code: 'SIGNER_UNTRUSTED', says: /believes at/ },
  {
    attack: 'a bundle without a log entry, where the root names a log',
    bundle: good,
    policy: policyOf(logRoot),
    code: 'TRANSPARENCY_INVALID',
    says: /0 transparency logs, and 1/,
  },
  {
    attack: 'the log threshold is lowered by configuration',
    bundle: good,
    policy: policyOf(logRoot, { thresholds: { logEntries: 0, timestamps: 1, certificateTimestamps: 0 } }),
    code: 'USAGE',
    says: /below what the trusted root calls for/,
  },
  {
    attack: 'a log entry, where the root names no log',
    bundle: logged,
    code: 'TRANSPARENCY_INVALID',
    says: /log that the trusted root does not name/,
  },
  {
    attack: 'one entry twice, where two are asked for',
    bundle: { ...good, transparencyLogEntries: [entryOf(good), entryOf(good, minutes(1))] },
    policy: policyOf(logRoot, { thresholds: { logEntries: 2, timestamps: 1, certificateTimestamps: 0 } }),
    code: 'TRANSPARENCY_INVALID',
    says: /1 transparency logs, and 2/,
  },
  {
    attack: 'the time of the entry outside of the validity',
    bundle: { ...good, transparencyLogEntries: [entryOf(good, minutes(30))] },
    policy: policyOf(logRoot),
    code: 'TIMESTAMP_INVALID',
    says: /outside the validity/,
  },
  {
    attack: 'a certificate where keys are trusted',
    bundle: good,
    policy: { type: 'keys', keys: [] },
    code: 'SIGNER_UNTRUSTED',
    says: /only keys are trusted/,
  },
  {
    attack: 'another payload type',
    bundle: { ...good, payloadType: 'application/json' },
    code: 'SIGNATURE_INVALID',
    says: /signature/,
  },
  { attack: 'another payload', bundle: { ...good, payload: other }, code: 'SIGNATURE_INVALID', says: /signature/ },
];

describe('S2 and S3 for certificates', () => {
  let refused = 0;
  for (const { attack, bundle, policy: asked = policy, code, says } of rows) {
    test(`refused with ${code}: ${attack}`, () => {
      assert.throws(() => verifyBundle(formatBundle(bundle), asked), refusedWith(code, says));
      refused++;
    });
  }
  test('a certificate that was taken apart and put together again is accepted, so that each is refused for its own reason', () => {
    assert.equal(verifyBundle(formatBundle(reissuedWith((extensions) => extensions)), policy).signer.name, acme);
  });
  test('the count', (t) => {
    t.diagnostic(`S2 and S3, certificates: refused with their own code: ${refused} / ${rows.length}`);
    assert.equal(refused, rows.length);
  });
  test('what is unsafe works when it is called so', () => {
    const thresholds = { logEntries: 0, timestamps: 1, certificateTimestamps: 0 };
    assert.equal(verifyBundle(good, policyOf(logRoot, { thresholds, unsafelyBelowTrustRoot: true })).signer.name, acme);
  });
  test('a prefix that ends with its segment, and one of refs, is followed', () => {
    for (const text of [
      'https://github.com/acme/app',
      'https://github.com/acme/',
      acme.slice(0, acme.indexOf('@')),
      acme.slice(0, -1),
      acme,
    ])
      assert.equal(verifyBundle(good, prefix(text)).signer.name, acme);
  });
});

test('a timestamp that carries certificates is read, but evidence has nothing in it that only others vouch for', () => {
  const carrying = (bytes: Uint8Array) => ({ ...good, timestamps: [bytes] });
  const stamp = timestamp(authority.stamping, good.signature, noon, true);
  assert.ok(verifyBundle(carrying(stamp), policyOf(root, { strict: true })));
  const at = Buffer.from(stamp).indexOf(Buffer.from(authority.stamping.certificate.raw).subarray(-20));
  assert.ok(at > 0);
  const altered = Uint8Array.from(stamp);
  altered[at + 19] = (altered[at + 19] ?? 0) ^ 1;
  assert.ok(verifyBundle(carrying(altered), policy));
  assert.throws(
    () => verifyBundle(carrying(altered), policyOf(root, { strict: true })),
    refusedWith('TIMESTAMP_INVALID', /more than its authority signed/),
  );
});
