import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { pathAfter, uri } from './claim.ts';

test('a ref as it is in most repositories stands in the URI unchanged', () => {
  const path = 'acme/app/.github/workflows/release.yml@refs/tags/v1.4.0';
  assert.equal(uri('https://github.com', path), `https://github.com/${path}`);
  assert.equal(
    uri('https://gitlab.com', 'acme/app//.gitlab-ci.yml@refs/heads/main'),
    'https://gitlab.com/acme/app//.gitlab-ci.yml@refs/heads/main',
  );
});

test('two refs never become one URI, and the URI is ASCII', () => {
  assert.notEqual(uri('https://x', 'ü'), uri('https://x', '%C3%BC'));
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (path) => {
      const made = uri('https://x', path);
      assert.match(made, /^[\x21-\x7e]*$/);
      assert.equal(decodeURIComponent(made.slice('https://x/'.length)), path);
    }),
  );
});

test('the path of a workflow ends where its ref begins, whatever the ref is called', () => {
  const prefix = 'acme/app/';
  assert.equal(pathAfter(prefix, 'acme/app/.github/workflows/a.yml@refs/heads/x@refs/heads/main'), '.github/workflows/a.yml');
  assert.equal(pathAfter(prefix, 'acme/application/.github/workflows/a.yml@refs/heads/main'), undefined);
  assert.equal(pathAfter(prefix, 'acme/app/@refs/heads/main'), undefined);
});
