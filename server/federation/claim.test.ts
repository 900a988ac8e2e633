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

test('the path of a workflow ends where its ref begins, whatever file and ref are called', () => {
  const path = (reference: string, ref = 'refs/heads/main') => pathAfter('acme/app/', `acme/${reference}`, ref);
  assert.equal(path('app/.github/workflows/a.yml@refs/heads/main'), '.github/workflows/a.yml');
  const odd = 'refs/heads/x@refs/heads/main';
  assert.equal(path(`app/.github/workflows/a.yml@${odd}`, odd), '.github/workflows/a.yml');
  assert.equal(path('app/.github/workflows/a.yml@refs/heads/main', 'refs/pull/7/merge'), '.github/workflows/a.yml');
  assert.equal(path(`app/.github/workflows/a.yml@${'0'.repeat(40)}`), '.github/workflows/a.yml');
  for (const none of ['application/a.yml@refs/heads/main', 'app/@refs/heads/main', 'app/a.yml', 'app/a.yml@x.yml', 'app/a.yml@refs/']) {
    assert.equal(path(none), undefined, none);
  }
});

test('no other file passes for release.yml, whatever it and the refs are called', () => {
  const name = fc.stringMatching(/^[a-z@./]{0,20}$/);
  fc.assert(
    fc.property(name, name, name, (file, one, other) => {
      const path = `release.yml${file}`;
      const found = pathAfter('acme/app/', `acme/app/${path}@refs/heads/${one}`, `refs/heads/${other}`);
      assert.ok(found !== 'release.yml' || file === '' || file.startsWith('@refs/'), `${path} ${one} ${other}`);
    }),
  );
});
