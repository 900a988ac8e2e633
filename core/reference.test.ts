import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { digestOf } from './digest.ts';
import { isChainloopError } from './errors.ts';
import { formatReference, parseReference, type Reference } from './reference.ts';

const digest = digestOf('image');

const accepted: readonly [string, Reference][] = [
  ['alpine', { registry: 'docker.io', repository: 'library/alpine' }],
  ['alpine:3.20', { registry: 'docker.io', repository: 'library/alpine', tag: '3.20' }],
  [`alpine@${digest}`, { registry: 'docker.io', repository: 'library/alpine', digest }],
  [`alpine:3.20@${digest}`, { registry: 'docker.io', repository: 'library/alpine', tag: '3.20', digest }],
  ['acme/app', { registry: 'docker.io', repository: 'acme/app' }],
  ['docker.io/alpine', { registry: 'docker.io', repository: 'library/alpine' }],
  ['index.docker.io/acme/app', { registry: 'docker.io', repository: 'acme/app' }],
  ['ghcr.io/acme/app:v1', { registry: 'ghcr.io', repository: 'acme/app', tag: 'v1' }],
  ['ghcr.io/acme/deep/er/app', { registry: 'ghcr.io', repository: 'acme/deep/er/app' }],
  ['localhost/app', { registry: 'localhost', repository: 'app' }],
  ['localhost:5000/app:latest', { registry: 'localhost:5000', repository: 'app', tag: 'latest' }],
  ['127.0.0.1:5000/app', { registry: '127.0.0.1:5000', repository: 'app' }],
  ['[::1]:5000/app:1', { registry: '[::1]:5000', repository: 'app', tag: '1' }],
  ['Registry/app', { registry: 'Registry', repository: 'app' }],
  [
    '123456789012.dkr.ecr.us-east-1.amazonaws.com/chainloop-control-plane:v0.7.6',
    { registry: '123456789012.dkr.ecr.us-east-1.amazonaws.com', repository: 'chainloop-control-plane', tag: 'v0.7.6' },
  ],
  ['a.b/c__d/e-f--g/h.i', { registry: 'a.b', repository: 'c__d/e-f--g/h.i' }],
  [`ghcr.io/a/b:${'t'.repeat(128)}`, { registry: 'ghcr.io', repository: 'a/b', tag: 't'.repeat(128) }],
];

const refused: readonly [string, RegExp][] = [
  ['', /it is empty/],
  [' alpine', /is not a valid part/],
  ['https://ghcr.io/acme/app', /must not be a URL/],
  ['docker://alpine', /must not be a URL/],
  ['Alpine', /must be in lower case/],
  ['ghcr.io/Acme/app', /must be in lower case/],
  ['ghcr.io/', /is not a valid part/],
  ['/app', /is not a valid part/],
  ['a//b', /is not a valid part/],
  ['a/../b', /is not a valid part/],
  ['a/b-', /is not a valid part/],
  ['a/b___c', /is not a valid part/],
  ['alpine:', /the tag '' is not/],
  ['alpine:-x', /the tag '-x' is not/],
  [`alpine:${'t'.repeat(129)}`, /is not 1 to 128/],
  ['alpine@', /the digest '' is not/],
  ['alpine@sha256:abc', /is not sha256:<64/],
  [`alpine@sha512:${'a'.repeat(128)}`, /is not sha256:<64/],
  [`alpine@${digest.toUpperCase()}`, /is not sha256:<64/],
  [`alpine@${digest}@${digest}`, /is not sha256:<64/],
  ['user:pass@ghcr.io/app', /the digest 'ghcr.io\/app' is not/],
  ['ghcr.io:abc/app', /is not a registry host/],
  ['-ghcr.io/app', /is not a registry host/],
  ['[::1/app', /is not a registry host/],
  ['f'.repeat(64).replaceAll('f', 'a'), /image id/],
  [`ghcr.io/${'a/'.repeat(130)}a`, /longer than 255/],
  ['a'.repeat(10_000), /too long/],
  ['al\x1b[31mpine', /is not a valid part/],
];

test('references are normalised as the distribution project does', () => {
  for (const [text, expected] of accepted) assert.deepEqual(parseReference(text), expected, text);
});

test('a malformed reference is refused with the part that is wrong, and no control characters', () => {
  for (const [text, says] of refused)
    assert.throws(
      () => parseReference(text),
      (error) => {
        assert.ok(isChainloopError(error, 'USAGE'), text);
        assert.match(error.message, says);
        assert.match(error.message, /^[\x20-\x7e]{1,800}$/);
        return true;
      },
    );
});

test('parsing what was formatted gives the same reference', () => {
  for (const [, reference] of accepted) assert.deepEqual(parseReference(formatReference(reference)), reference);
});

test('no text makes the parser throw anything but USAGE', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => {
      try {
        const reference = parseReference(text);
        assert.deepEqual(parseReference(formatReference(reference)), reference);
      } catch (error) {
        assert.ok(isChainloopError(error, 'USAGE'));
      }
    }),
  );
});
