import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Email } from './email.ts';

test('addresses are the same whatever the case of their ASCII letters', () => {
  for (const text of ['alice@example.com', 'Alice@Example.COM', ' alice@example.com '])
    assert.equal(Email.parse(text), 'alice@example.com');
});

test('an address with a letter that only looks or folds like ASCII is none', () => {
  // Dotless i, KELVIN SIGN, full-width a, Cyrillic а, combining acute, an invisible joiner, an IDN in Unicode.
  for (const text of [
    'alıce@example.com',
    'mi\u212Ae@example.com',
    '\uFF41lice@example.com',
    '\u0430lice@example.com',
    'a\u0301lice@example.com',
    'al\u200Dice@example.com',
    'alice@exämple.com',
  ])
    assert.equal(Email.safeParse(text).success, false, JSON.stringify(text));
});

test('what is no address is refused', () => {
  for (const text of [
    '',
    'alice',
    '@example.com',
    'alice@',
    'a b@example.com',
    'a@b@example.com',
    'alice@-example',
    `${'a'.repeat(251)}@b.c`,
  ])
    assert.equal(Email.safeParse(text).success, false, JSON.stringify(text));
});
