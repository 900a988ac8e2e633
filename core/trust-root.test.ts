import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import fc from 'fast-check';
import { createFakeAuthority, noon, timestamp } from '../test/fakes/authority.ts';
import { readCertificate } from './certificate.ts';
import { ChainloopError, isChainloopError } from './errors.ts';
import { limits } from './limits.ts';
import { readTimestamp } from './timestamp.ts';
import { loadTrustRoot, meets } from './trust-root.ts';

const authority = createFakeAuthority();
const text = authority.trustRoot({ log: true });
const start = '"start":"2026-01-01T00:00:00.000Z"';
const [rawBytes = ''] = /"rawBytes":"M[^"]{200,}"/.exec(text) ?? [];

test('a trusted root calls for what it names: entries in a log where it has logs, and a time always', async () => {
  assert.deepEqual((await loadTrustRoot(text)).thresholds, { logEntries: 1, timestamps: 1, certificateTimestamps: 0 });
  assert.deepEqual((await loadTrustRoot(authority.trustRoot())).thresholds, { logEntries: 0, timestamps: 1, certificateTimestamps: 0 });
  const seeds: Record<string, { targets: Record<string, string> }> = createRequire(import.meta.url)('@sigstore/tuf/seeds.json');
  const publicGood = Buffer.from(Object.values(seeds)[0]?.targets['trusted_root.json'] ?? '', 'base64').toString();
  assert.deepEqual((await loadTrustRoot(publicGood)).thresholds, { logEntries: 1, timestamps: 1, certificateTimestamps: 1 });
});

test('less than the trusted root calls for is less, in each part', () => {
  const least = { logEntries: 1, timestamps: 1, certificateTimestamps: 1 };
  assert.ok(meets(least, least) && meets({ ...least, timestamps: 2 }, least));
  for (const part of ['logEntries', 'timestamps', 'certificateTimestamps']) assert.ok(!meets({ ...least, [part]: 0 }, least), part);
});

const refusals: Readonly<Record<string, readonly [string, RegExp]>> = {
  'no JSON': ['{', /trusted root: /],
  'another document': ['{}', /mediaType is not application\/vnd\.dev\.sigstore\.trustedroot/],
  'another version': [text.replace('version=0.1', 'version=9'), /mediaType is not/],
  'a key that is there twice': [text.replace('"tlogs":', '"tlogs":[],"tlogs":'), /'tlogs' is there twice/],
  'an authority since for ever': [text.replace(start, '"since":"ever"'), /validFor\.start/],
  'an authority since no time at all': [text.replace(start, '"start":"yesterday"'), /validFor\.start/],
  'a period that ends before it starts': [text.replace(start, `${start},"end":"2025-01-01T00:00:00Z"`), /ends before it starts/],
  'an authority without certificates': [text.replace(/"certificates":\[.*?\]/, '"certificates":[]'), /certificates is empty/],
  'a certificate that is none': [text.replace(rawBytes, '"rawBytes":"AAAA"'), /a certificate is refused|cannot be decoded/],
  'a certificate and a byte more': [
    text.replace(rawBytes, `${rawBytes.slice(0, -1).replace(/=*$/, '')}AAAA"`),
    /refused|standard base64|cannot be/,
  ],
  'base64 of another alphabet': [text.replace(rawBytes, '"rawBytes":"-_-_"'), /URL-safe base64/],
  'a key of a log that is none': [text.replace(/"publicKey":\{"rawBytes":"[^"]+"/, '"publicKey":{"rawBytes":"AAAA"'), /cannot be decoded/],
};
for (const [what, [root, says]] of Object.entries(refusals)) {
  test(`a trusted root with ${what} is refused`, async () => {
    assert.notEqual(root, text);
    await assert.rejects(loadTrustRoot(root), (error) => {
      assert.ok(isChainloopError(error, 'TRUST_ROOT_INVALID'), String(error));
      assert.match(
        [error, ...error.problems.map(({ path, message }) => ({ message: `${path} ${message}` }))].map(({ message }) => message).join('\n'),
        says,
      );
      return true;
    });
  });
}

test('a trusted root beyond its limit is refused unread', async () => {
  await assert.rejects(loadTrustRoot(`${text}${' '.repeat(limits.trustRootSizeBytes)}`), (error) =>
    isChainloopError(error, 'LIMIT_EXCEEDED'),
  );
});

test('whatever is changed in a trusted root, it is read, or refused with our own error', async () => {
  const bytes = Buffer.from(text);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: bytes.length - 1 }), fc.integer({ min: 0, max: 255 }), async (at, byte) => {
      const mutant = Buffer.from(bytes);
      mutant[at] = byte;
      await loadTrustRoot(mutant.toString('utf8')).catch((error) => assert.ok(error instanceof ChainloopError, String(error)));
    }),
    { numRuns: 300, seed: 20261123 },
  );
});

test('whatever the bytes are, a certificate and a timestamp are read, or refused with a reason', () => {
  const certificate = authority.issuing.certificate.raw;
  const stamp = Buffer.from(timestamp(authority.stamping, Buffer.from('x'), noon, true));
  for (const [good, read] of [
    [certificate, readCertificate],
    [stamp, readTimestamp],
  ] as const) {
    assert.notEqual(typeof read(new Uint8Array(good)), 'string');
    fc.assert(
      fc.property(fc.nat({ max: good.length - 1 }), fc.uint8Array({ maxLength: 8 }), fc.nat({ max: 8 }), (at, inserted, removed) => {
        const mutant = Buffer.concat([good.subarray(0, at), inserted, good.subarray(at + removed)]);
        const answer = read(new Uint8Array(mutant));
        assert.ok(typeof answer === 'object' || answer.length > 0);
      }),
      { numRuns: 2_000, seed: 20261123 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => assert.equal(typeof read(bytes), 'string')),
      { numRuns: 500, seed: 20261123 },
    );
  }
});
