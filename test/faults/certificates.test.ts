import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatBundle, type ParsedBundle, parseBundle } from '../../core/bundle.ts';
import { ChainloopError, type ErrorCode, isChainloopError } from '../../core/errors.ts';
import { loadTrustRoot, type TrustRoot } from '../../core/trust-root.ts';
import { type IdentityPolicy, type Policy, verifyBundle } from '../../core/verify.ts';
import { acme, certifiedBundle, createFakeAuthority, github, logEntry, minutes, noon, timestamp } from '../fakes/authority.ts';

// faults.md S1 to S3 for certificates: every row is a bundle that is good but for one thing, signed for real.

Error.stackTraceLimit = 0;

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
  logEntry(authority, { payload: bundle.payload, signature: bundle.signature, certificate: derOf(bundle), ...(at && { at }) });
const logged = { ...good, transparencyLogEntries: [entryOf(good)] };

const refusedWith = (code: ErrorCode, says: RegExp) => (error: unknown) => {
  assert.ok(isChainloopError(error, code), `${String(error)} ${error instanceof ChainloopError ? error.code : ''}`);
  assert.match(error.message, says);
  return true;
};

test('CVE-2022-36056: a log entry that is not of this artifact, key and signature is no entry of this bundle', () => {
  const twin = certifiedBundle(authority, payload);
  assert.equal(verifyBundle(logged, policyOf(logRoot)).signer.name, acme);
  const rows: Record<string, { readonly entry: Parameters<typeof logEntry>[1]; readonly says: RegExp }> = {
    'of another artifact': { entry: { payload: other, signature: good.signature, certificate: derOf(good) }, says: /hash mismatch/ },
    'of another signature': {
      entry: { payload, signature: twin.bundle.signature, certificate: derOf(good) },
      says: /signature mismatch/,
    },
    'of another key': {
      entry: { payload, signature: good.signature, certificate: derOf(twin.bundle) },
      says: /another key or certificate/,
    },
  };
  for (const [what, { entry, says }] of Object.entries(rows)) {
    const bundle = { ...good, transparencyLogEntries: [logEntry(authority, entry)] };
    assert.throws(() => verifyBundle(bundle, policyOf(logRoot)), refusedWith('TRANSPARENCY_INVALID', says), what);
  }
});

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
    bundle: certifiedBundle(authority, payload, { signedAt: minutes(10) }).bundle,
    code: 'TIMESTAMP_INVALID',
    says: /outside the validity of its certificate/,
  },
  {
    attack: 'a certificate that was not valid yet',
    bundle: certifiedBundle(authority, payload, { signedAt: minutes(-2) }).bundle,
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
    says: /of an authority/,
  },
  {
    attack: 'the certificate of the time-stamping authority',
    bundle: { ...good, signer: { type: 'certificate', der: new Uint8Array(authority.stamping.certificate.raw) } },
    code: 'SIGNER_UNTRUSTED',
    says: /not for signing code/,
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
  for (const { attack, bundle, policy: asked = policy, code, says } of rows) {
    test(`refused with ${code}: ${attack}`, () => assert.throws(() => verifyBundle(formatBundle(bundle), asked), refusedWith(code, says)));
  }
  test('what is unsafe works when it is called so', () => {
    const thresholds = { logEntries: 0, timestamps: 1, certificateTimestamps: 0 };
    assert.equal(verifyBundle(good, policyOf(logRoot, { thresholds, unsafelyBelowTrustRoot: true })).signer.name, acme);
  });
  test('a prefix that ends with its segment, and one of refs, is followed', () => {
    for (const text of ['https://github.com/acme/app', 'https://github.com/acme/', acme.slice(0, -1), acme])
      assert.equal(verifyBundle(good, prefix(text)).signer.name, acme);
  });
});

test('S1: a certified bundle with a bit flipped is refused, or proves the same; what is kept as evidence takes none', (t) => {
  for (const [name, text, trustRoot] of [
    ['stamped', formatBundle(good), root],
    ['stamped and logged', formatBundle(logged), logRoot],
  ] as const) {
    const original = Buffer.from(text);
    const count = { mutants: 0, verified: 0, changed: 0, kept: 0, otherErrors: 0 };
    const attempt = <T>(action: () => T): T | undefined => {
      try {
        return action();
      } catch (error) {
        if (!(error instanceof ChainloopError)) count.otherErrors++;
        return undefined;
      }
    };
    const strict = policyOf(trustRoot, { strict: true });
    assert.ok(attempt(() => verifyBundle(parseBundle(text, { canonical: true }), strict)));
    for (let at = 0; at < original.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = Buffer.from(original);
        flipped[at] = (original[at] ?? 0) ^ (1 << bit);
        const mutant = flipped.toString('utf8');
        count.mutants++;
        const parsed = attempt(() => parseBundle(mutant));
        // Each bit of the parts beneath the base64 has its turn below; here one bit of each byte is enough.
        if (parsed === undefined || bit !== at % 8) continue;
        const verified = attempt(() => verifyBundle(parsed, policyOf(trustRoot)));
        if (verified === undefined) continue;
        count.verified++;
        if (!Buffer.from(verified.payload).equals(payload) || verified.signer.name !== acme) count.changed++;
        // Evidence asks for more of the same checks.
        if (attempt(() => verifyBundle(parseBundle(mutant, { canonical: true }), strict)) !== undefined) count.kept++;
      }
    }
    t.diagnostic(`S1 ${name}: ${JSON.stringify(count)} of ${original.length} bytes`);
    assert.deepEqual([count.changed, count.kept, count.otherErrors], [0, 0, 0]);
  }
});

test('S1: each bit of the binary parts, flipped beneath its base64, is refused where evidence is kept', (t) => {
  const strict = policyOf(root, { strict: true });
  const [stamp = new Uint8Array()] = good.timestamps;
  const parts: Record<string, { readonly bytes: Uint8Array; readonly put: (bytes: Uint8Array) => ParsedBundle }> = {
    payload: { bytes: payload, put: (bytes) => ({ ...good, payload: bytes }) },
    signature: { bytes: good.signature, put: (bytes) => ({ ...good, signature: bytes }) },
    certificate: { bytes: derOf(good), put: (der) => ({ ...good, signer: { type: 'certificate', der } }) },
    timestamp: { bytes: stamp, put: (bytes) => ({ ...good, timestamps: [bytes] }) },
  };
  for (const [name, { bytes, put }] of Object.entries(parts)) {
    let mutants = 0;
    for (let at = 0; at < bytes.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = Uint8Array.from(bytes);
        flipped[at] = (bytes[at] ?? 0) ^ (1 << bit);
        mutants++;
        assert.throws(
          () => verifyBundle(put(flipped), strict),
          (error) => error instanceof ChainloopError,
          `${name}: bit ${bit} of byte ${at}`,
        );
      }
    }
    t.diagnostic(`${name}: ${mutants} refused`);
  }
});

test('S1: every mix of the parts of two valid bundles is refused', () => {
  const pick = (mask: number, bit: number): ParsedBundle => ((mask & bit) === 0 ? good : again);
  for (let mask = 1; mask < 15; mask++) {
    const { payload: bytes } = pick(mask, 1);
    const { signature } = pick(mask, 2);
    const { signer } = pick(mask, 4);
    const { timestamps } = pick(mask, 8);
    assert.throws(() => verifyBundle({ ...good, payload: bytes, signature, signer, timestamps }, policy), ChainloopError, String(mask));
  }
  assert.ok(verifyBundle(again, policy));
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
