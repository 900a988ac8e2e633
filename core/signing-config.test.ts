import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { selectServices } from './signing-config.ts';

// sigstore_trustroot.proto, SigningConfig and ServiceConfiguration.

const now = new Date('2026-11-23T12:00:00Z');
const service = (name: string, more: object = {}) => ({
  url: `https://${name}.example`,
  majorApiVersion: 1,
  validFor: { start: '2026-01-01T00:00:00Z' },
  operator: 'one',
  ...more,
});
const over = { validFor: { start: '2025-01-01T00:00:00Z', end: '2026-01-01T00:00:00Z' } };
const later = { validFor: { start: '2027-01-01T00:00:00Z' } };

function select(change: object) {
  const config = {
    mediaType: 'application/vnd.dev.sigstore.signingconfig.v0.2+json',
    caUrls: [service('fulcio')],
    rekorTlogUrls: [service('rekor')],
    tsaUrls: [service('tsa')],
    ...change,
  };
  const { authority, logs, timestampers } = selectServices(JSON.stringify(config), now);
  return {
    authority: authority.host,
    logs: logs.map(({ url, version }) => `${url.host} v${version}`),
    timestampers: timestampers.map(({ host }) => host),
  };
}

describe('the services that are chosen', () => {
  const rows: readonly (readonly [what: string, change: object, expected: object])[] = [
    ['one of each', {}, { authority: 'fulcio.example', logs: ['rekor.example v1'], timestampers: ['tsa.example'] }],
    [
      'the newest API that is known, of what is in use now',
      {
        caUrls: [service('later', later), service('fulcio'), service('older')],
        rekorTlogUrls: [service('old'), service('new', { majorApiVersion: 2 }), service('unknown', { majorApiVersion: 3 })],
        tsaUrls: [service('over', over), service('tsa')],
      },
      { authority: 'fulcio.example', logs: ['new.example v2'], timestampers: ['tsa.example'] },
    ],
    [
      'ALL: one of each operator',
      {
        rekorTlogUrls: [service('a'), service('b', { operator: 'two' }), service('c', { operator: 'two' })],
        rekorTlogConfig: { selector: 'ALL' },
      },
      { logs: ['a.example v1', 'b.example v1'] },
    ],
    [
      'EXACT: as many as it says',
      { tsaUrls: ['a', 'b', 'c'].map((operator) => service(operator, { operator })), tsaConfig: { selector: 'EXACT', count: 2 } },
      { timestampers: ['a.example', 'b.example'] },
    ],
    ['no log at all', { rekorTlogUrls: [] }, { logs: [] }],
    ['a log that says when', { tsaUrls: [] }, { timestampers: [] }],
    [
      'an operator without a name is its address',
      { rekorTlogUrls: [service('a', { operator: '' }), service('b', { operator: '' })], rekorTlogConfig: { selector: 'ALL' } },
      { logs: ['a.example v1', 'b.example v1'] },
    ],
  ];
  for (const [what, change, expected] of rows) test(what, () => assert.partialDeepStrictEqual(select(change), expected));
});

describe('what is refused', () => {
  const rows: readonly (readonly [what: string, change: object, says: RegExp])[] = [
    ['another version of the file', { mediaType: 'application/vnd.dev.sigstore.signingconfig.v0.1+json' }, /mediaType is not/],
    ['no authority that is in use', { caUrls: [service('over', over)] }, /caUrls has no service that is known here/],
    [
      'logs, and none in use',
      { rekorTlogUrls: [service('later', later)] },
      /rekorTlogUrls has no service that is known here and in use now/,
    ],
    ['logs, and none that is known', { rekorTlogUrls: [service('new', { majorApiVersion: 3 })] }, /rekorTlogUrls has no service/],
    ['fewer than EXACT', { tsaConfig: { selector: 'EXACT', count: 2 } }, /tsaUrls has 1 services .* asks for 2/],
    ['nothing that says when', { rekorTlogUrls: [service('new', { majorApiVersion: 2 })], tsaUrls: [] }, /nothing in it says when/],
    ['an address that is none', { tsaUrls: [service('tsa', { url: 'javascript:1' })] }, /tsaUrls\[0\]\.url is not an http\(s\) URL/],
    ['a selector that is unknown', { tsaConfig: { selector: 'SOME' } }, /tsaConfig\.selector is not ANY/],
  ];
  for (const [what, change, says] of rows) test(what, () => assert.throws(() => select(change), { code: 'USAGE', message: says }));
  test('what is no JSON, and what is too long', () => {
    assert.throws(() => selectServices('{', now), { code: 'USAGE' });
    assert.throws(() => selectServices(' '.repeat(300 * 1024), now), { code: 'LIMIT_EXCEEDED' });
  });
});
