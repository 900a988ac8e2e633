import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isChainloopError } from './errors.ts';
import { matchesIdentity, refuseUnmatchable } from './identity.ts';

const file = 'https://github.com/acme/app/.github/workflows/release.yml';
const commit = '9a96775da456e595f242bb9b5826cf46d8dd5d81';

test('a prefix is believed as far as its boundary', () => {
  const rows = [
    ['https://github.com/acme/', `${file}@refs/heads/main`],
    ['https://github.com/acme/app', `${file}@refs/heads/main`],
    [file, `${file}@refs/heads/main`],
    [file, `${file}@${commit}`],
    [file, `${file}@refs/heads/alice@home`],
    [`${file}@`, `${file}@refs/tags/v1`],
    [`${file}@refs/heads/`, `${file}@refs/heads/main`],
    [`${file}@refs/tags/v`, `${file}@refs/tags/v1.2`],
    [`${file}@refs/tags/`, `${file}@refs/tags/@acme/app@1.0.0`],
  ] as const;
  for (const [prefix, identity] of rows) assert.ok(matchesIdentity(identity, { prefix }), `${prefix} ${identity}`);
});

test('a file whose name goes on behind an @, and a folder that is called like a ref, are beneath no prefix of another', () => {
  const gitlab = 'https://gitlab.com/acme/app//.gitlab-ci.yml';
  const rows = [
    [file, `${file}@x.yml@refs/heads/main`],
    [`${file}@`, `${file}@x.yml@refs/heads/main`],
    [file, `${file}@refs@refs/heads/main`],
    [file, `${file}@${commit}.yml@refs/heads/main`],
    [`${file}@refs/heads/main`, `${file}@refs/heads/main@evil`],
    [`${file}@refs/heads/main`, `${file}@refs/heads/main-evil`],
    [`${gitlab}@refs/tags/v`, `${gitlab}@refs/tags/v1@refs/heads/evil`],
    [`${gitlab}@refs/heads/`, `${gitlab}@refs/heads/main@refs/heads/evil`],
    ['https://github.com/acme/app', 'https://github.com/acme/app-evil/x@refs/heads/main'],
    ['https://github.com/acme/app', 'https://github.com/acme/app@evil.example/'],
  ] as const;
  for (const [prefix, identity] of rows) assert.ok(!matchesIdentity(identity, { prefix }), `${prefix} ${identity}`);
});

test('a prefix without a path is refused: everybody at that host would match', () => {
  for (const prefix of ['https://github.com', 'https://github.com/', 'https://github.com//', 'github.com/acme/'])
    assert.throws(() => matchesIdentity(file, { prefix }), /host and path/, prefix);
});

test('what no certificate could ever match is refused before it is trusted', () => {
  const issuer = 'https://ci.example.com';
  const rows = [
    ['nonsense', { exact: file }, /must be a URL, such as/],
    ['token.actions.githubusercontent.com', { exact: file }, /must be a URL, such as/],
    [issuer, { exact: 'https://github.com/acme/.*' }, /no patterns/],
    [issuer, { prefix: 'https://github.com/acme/*' }, /no patterns/],
    [issuer, { prefix: 'https://github.com/' }, /host and path/],
    [issuer, { exact: 'x' }, /e-mail address/],
  ] as const;
  for (const [by, match, words] of rows) {
    assert.throws(
      () => refuseUnmatchable(by, match),
      (error) => isChainloopError(error, 'USAGE') && words.test(error.message),
    );
  }
  for (const match of [{ exact: file }, { exact: 'release@acme.example' }, { prefix: 'https://github.com/acme/' }])
    refuseUnmatchable(issuer, match);
});
