import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashToken, makeToken, parseToken, type TokenKind, tokenOf } from './tokens.ts';

const kinds: readonly TokenKind[] = ['owner', 'api', 'service-account'];

test('a created token parses to its kind, and its hash is that of its text', () => {
  for (const kind of kinds) {
    const { token, hash } = makeToken(kind);
    assert.deepEqual(parseToken(token), { kind });
    assert.deepEqual(hashToken(token), hash);
    assert.match(token, /^chl_[oas]_/);
  }
});

test('a token with any one character changed is refused without a look-up', () => {
  const { token } = makeToken('api');
  for (let i = 0; i < token.length; i++) {
    const other = token[i] === 'x' ? 'y' : 'x';
    assert.equal(parseToken(token.slice(0, i) + other + token.slice(i + 1)), undefined, `at ${i}`);
  }
});

test('what is no token is refused, however long it is', () => {
  for (const text of ['', 'chl_', 'x'.repeat(1024 * 1024), `chl_o_${'A'.repeat(49)}`, makeToken('owner').token.toUpperCase()]) {
    assert.equal(parseToken(text), undefined);
  }
});

test('the token is found in Bearer and in Basic, and nowhere else', () => {
  const basic = (pair: string): string => `Basic ${Buffer.from(pair).toString('base64')}`;
  assert.equal(tokenOf('Bearer abc'), 'abc');
  assert.equal(tokenOf('bearer   abc'), 'abc');
  assert.equal(tokenOf(basic('anyone:abc')), 'abc');
  assert.equal(tokenOf(basic('anyone:a:b')), 'a:b');
  for (const header of [undefined, '', 'abc', 'Digest abc', basic('nocolon'), `Bearer ${'x'.repeat(5000)}`])
    assert.equal(tokenOf(header), undefined);
});
