import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseChallenges } from './challenge.ts';

const rows: readonly [string, readonly [string, Record<string, string>][]][] = [
  ['', []],
  ['Basic realm="test"', [['basic', { realm: 'test' }]]],
  ['BASIC', [['basic', {}]]],
  [
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
    [['bearer', { realm: 'https://auth.docker.io/token', service: 'registry.docker.io', scope: 'repository:a/b:pull,push' }]],
  ],
  [
    'Bearer realm="x", Basic realm="y"',
    [
      ['bearer', { realm: 'x' }],
      ['basic', { realm: 'y' }],
    ],
  ],
  ['Bearer realm=token , service = "with \\"quotes\\""', [['bearer', { realm: 'token', service: 'with "quotes"' }]]],
  ['Bearer realm="never closed', [['bearer', {}]]],
  ['realm="no scheme"', []],
];

test('challenges are read as RFC 9110 writes them', () => {
  for (const [header, expected] of rows)
    assert.deepEqual(
      parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]),
      expected,
      header,
    );
});

test('no header makes the parser throw or hang', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary-ascii', maxLength: 200 }), (header) => Array.isArray(parseChallenges(header))));
  assert.ok(Array.isArray(parseChallenges(`Bearer ${'a="\\'.repeat(20_000)}`)));
});
