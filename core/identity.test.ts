import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matchesIdentity } from './identity.ts';

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
