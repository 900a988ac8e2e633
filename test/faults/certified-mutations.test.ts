import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { formatBundle, type ParsedBundle, parseBundle } from '../../core/bundle.ts';
import { ChainloopError } from '../../core/errors.ts';
import { loadTrustRoot } from '../../core/trust-root.ts';
import { type IdentityPolicy, type Verified, verifyBundle } from '../../core/verify.ts';
import { checkBundle, checkSignature } from '../../server/referee.ts';
import { acme, certifiedBundle, createFakeAuthority, github, logEntry, minutes } from '../fakes/authority.ts';

// faults.md, S1, for keyless bundles: whatever happens to the bytes, a verifier sees the signed payload, its type and its signer, or
// nothing; the referee keeps nothing that was touched at all.
//
// The long form (CHAINLOOP_LONG=1) tries every mutant. The short form takes a sample, by a seed that it prints (CHAINLOOP_SEED): a
// mutant that can still be parsed costs up to ten milliseconds.

// Sixty thousand errors are made here, and nobody reads where they come from.
Error.stackTraceLimit = 0;

const long = process.env.CHAINLOOP_LONG === '1';
const seed = Number(process.env.CHAINLOOP_SEED ?? 20261123);
/** How many of 100 mutants are tried. Our own bundles have no log entry: of those with one, fewer. */
const shares = { stamped: 20, 'stamped and logged': 5 };

const authority = createFakeAuthority();
const payload = new Uint8Array(Buffer.from('{"_type":"https://in-toto.io/Statement/v1"}'));
const other = new Uint8Array(Buffer.from('{"_type":"https://in-toto.io/Statement/v1","another":true}'));
const good = certifiedBundle(authority, payload).bundle;
const derOf = ({ signer }: ParsedBundle): Uint8Array => (signer.type === 'certificate' ? signer.der : new Uint8Array());
const entry = logEntry(authority, { payload, signature: good.signature, signer: derOf(good) });
const logged: ParsedBundle = { ...good, transparencyLogEntries: [entry] };

const policyOf = async (log: boolean): Promise<IdentityPolicy> => ({
  type: 'identity',
  trustRoot: await loadTrustRoot(authority.trustRoot({ log })),
  identity: { exact: acme },
  issuer: github,
});
const [policy, logPolicy] = [await policyOf(false), await policyOf(true)];

/** The referee's checks 1, 2 and 3. */
const referee = (text: string, by: IdentityPolicy): Verified =>
  checkSignature(checkBundle(text), { type: 'any', of: [{ ...by, strict: true }] });

/** The same choice in every run of one seed, spread evenly over all of the text. */
function isSampled(name: string, at: number, share: number): boolean {
  return long || createHash('sha256').update(`${seed} ${name} ${at}`).digest().readUInt32BE() % 100 < share;
}

type Mutant = { readonly bytes: Buffer; readonly at: number };

function* flips(bytes: Buffer): Generator<Mutant> {
  for (let at = 0; at < bytes.length * 8; at++) {
    const flipped = Buffer.from(bytes);
    flipped[at >> 3] = (bytes[at >> 3] ?? 0) ^ (1 << (at & 7));
    yield { bytes: flipped, at };
  }
}

function* edits(bytes: Buffer): Generator<Mutant> {
  for (let at = 0; at < bytes.length; at++) {
    yield { bytes: Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]), at: 3 * at };
    yield { bytes: Buffer.concat([bytes.subarray(0, at + 1), bytes.subarray(at)]), at: 3 * at + 1 };
    yield { bytes: bytes.subarray(0, at), at: 3 * at + 2 };
  }
}

const count = () => ({ mutants: 0, tried: 0, parsed: 0, verified: 0, changed: 0, kept: 0, otherErrors: 0 });

for (const [name, bundle, by] of [
  ['stamped', good, policy],
  ['stamped and logged', logged, logPolicy],
] as const) {
  for (const [what, mutants] of [
    ['every bit flipped', flips],
    ['every byte deleted, every byte doubled, every truncation', edits],
  ] as const) {
    test(`S1, keyless, ${name}: ${what}: refused, or byte-identical payload, type and signer; refused by the referee in either case`, (t) => {
      const text = formatBundle(bundle);
      const original = verifyBundle(text, by);
      assert.deepEqual(referee(text, by), original);
      const counted = count();
      const attempt = <T>(action: () => T): T | undefined => {
        try {
          return action();
        } catch (error) {
          if (!(error instanceof ChainloopError)) counted.otherErrors++;
          return undefined;
        }
      };
      const same = (verified: Verified): boolean =>
        Buffer.from(verified.payload).equals(payload) &&
        verified.payloadType === original.payloadType &&
        verified.signer.type === 'certificate' &&
        original.signer.type === 'certificate' &&
        verified.signer.name === original.signer.name &&
        verified.signer.issuer === original.signer.issuer;
      for (const { bytes, at } of mutants(Buffer.from(text))) {
        counted.mutants++;
        if (!isSampled(what, at, shares[name])) continue;
        counted.tried++;
        const mutant = bytes.toString('utf8');
        const parsed = attempt(() => parseBundle(mutant));
        if (parsed === undefined) continue;
        counted.parsed++;
        const verified = attempt(() => verifyBundle(parsed, by));
        if (verified !== undefined) counted.verified++;
        if (verified !== undefined && !same(verified)) counted.changed++;
        // The referee asks for more of the same: what the verifier refuses, it refuses with the same words.
        if (verified !== undefined && attempt(() => referee(mutant, by)) !== undefined) counted.kept++;
      }
      t.diagnostic(`S1 ${name}, ${what}: ${JSON.stringify(counted)} of ${text.length} bytes; seed ${seed}`);
      assert.deepEqual([counted.changed, counted.kept, counted.otherErrors], [0, 0, 0]);
      assert.ok(long ? counted.tried === counted.mutants : counted.tried > counted.mutants * (shares[name] / 150));
    });
  }
}

test('S1, keyless: each bit of payload, signature, certificate and timestamp, flipped beneath its base64, is refused by the referee', (t) => {
  const [stamp = new Uint8Array()] = good.timestamps;
  const parts: Record<string, { readonly bytes: Uint8Array; readonly put: (bytes: Uint8Array) => ParsedBundle }> = {
    payload: { bytes: payload, put: (bytes) => ({ ...good, payload: bytes }) },
    signature: { bytes: good.signature, put: (bytes) => ({ ...good, signature: bytes }) },
    certificate: { bytes: derOf(good), put: (der) => ({ ...good, signer: { type: 'certificate', der } }) },
    timestamp: { bytes: stamp, put: (bytes) => ({ ...good, timestamps: [bytes] }) },
  };
  for (const [name, { bytes, put }] of Object.entries(parts)) {
    let [mutants, tried] = [0, 0];
    for (const { bytes: flipped, at } of flips(Buffer.from(bytes))) {
      mutants++;
      if (!isSampled(name, at, shares.stamped)) continue;
      tried++;
      const mutant = formatBundle(put(new Uint8Array(flipped)));
      assert.throws(
        () => referee(mutant, policy),
        (error) => error instanceof ChainloopError,
        `${name}: bit ${at & 7} of byte ${at >> 3}; seed ${seed}`,
      );
    }
    t.diagnostic(`S1 ${name}: ${tried} of ${mutants} flipped bits tried, all refused; seed ${seed}`);
  }
});

test('S1, keyless: every mix of the parts of two valid bundles is refused', (t) => {
  // Two honest jobs of one identity: another payload, another key, another certificate, another signature, another time.
  const second = certifiedBundle(authority, other, { signedAt: minutes(1) }).bundle;
  const secondLogged: ParsedBundle = {
    ...second,
    transparencyLogEntries: [logEntry(authority, { payload: other, signature: second.signature, signer: derOf(second), at: minutes(1) })],
  };
  assert.ok(verifyBundle(secondLogged, logPolicy));
  const parts = ['payload', 'signature', 'signer', 'timestamps', 'transparencyLogEntries'] as const;
  let mixes = 0;
  for (const [one, two, by, bits] of [
    [good, second, policy, 4],
    [logged, secondLogged, logPolicy, 5],
  ] as const) {
    for (let mask = 1; mask < 2 ** bits - 1; mask++) {
      const taken = parts.slice(0, bits).filter((_, bit) => (mask & (1 << bit)) !== 0);
      const mix: ParsedBundle = { ...one, ...Object.fromEntries(taken.map((part) => [part, two[part]])) };
      const text = formatBundle(mix);
      for (const judge of [verifyBundle, referee])
        assert.throws(() => judge(text, by), ChainloopError, `${taken.join(', ')} of another bundle`);
      mixes++;
    }
  }
  t.diagnostic(`S1 mixes: ${mixes} of ${mixes} refused`);
});

test('S1, keyless: payload type, media type and keyid of another bundle are refused, or change nothing', () => {
  const text = formatBundle(good);
  const set = (
    change: (bundle: { mediaType: string; dsseEnvelope: { payloadType: string; signatures: { keyid?: string }[] } }) => void,
  ) => {
    const value = JSON.parse(text);
    change(value);
    return JSON.stringify(value);
  };
  const payloadType = set(({ dsseEnvelope }) => {
    dsseEnvelope.payloadType = 'application/vnd.example.other+json';
  });
  const keyid = set(({ dsseEnvelope }) => {
    for (const signature of dsseEnvelope.signatures) signature.keyid = createHash('sha256').update('another key').digest('base64');
  });
  assert.throws(() => verifyBundle(payloadType, policy), { code: 'SIGNATURE_INVALID' });
  assert.throws(() => verifyBundle(keyid, policy), { code: 'BUNDLE_INVALID' });
  for (const mediaType of [
    'application/vnd.dev.sigstore.bundle+json;version=0.1',
    'application/vnd.dev.sigstore.bundle+json;version=0.2',
    'application/vnd.dev.sigstore.bundle+json;version=0.3',
    'application/vnd.dev.sigstore.bundle.v0.4+json',
  ]) {
    const mutant = set((bundle) => {
      bundle.mediaType = mediaType;
    });
    assert.throws(() => referee(mutant, policy), { code: 'BUNDLE_INVALID' }, mediaType);
    // Another spelling of what nobody signs: the verifier reads older bundles, and sees the same.
    if (mediaType.endsWith('v0.4+json')) assert.throws(() => verifyBundle(mutant, policy), { code: 'BUNDLE_INVALID' });
    else assert.deepEqual(verifyBundle(mutant, policy), verifyBundle(text, policy));
  }
});
