import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { escapeText, jsonText } from './escape.ts';

const hostile = [
  ['a terminal escape', 'a\x1b[2Jb', 'a\\x1b[2Jb'],
  ['a one-byte control sequence introducer', 'a\u009b2J', 'a\\u{9b}2J'],
  ['a line that is not there', 'a\nsuccess', 'a\\nsuccess'],
  ['a carriage return over what was printed', 'failed\rsuccess', 'failed\\rsuccess'],
  ['a right-to-left override', 'a\u202egpj.exe', 'a\\u{202e}gpj.exe'],
  ['an isolate', '\u2066a\u2069', '\\u{2066}a\\u{2069}'],
  ['a zero-width space', 'ad\u200bmin', 'ad\\u{200b}min'],
  ['a line separator', 'a\u2028b', 'a\\u{2028}b'],
  ['an invisible tag', 'a\u{e0041}', 'a\\u{e0041}'],
  ['a lone surrogate', 'a\ud800', 'a\\u{d800}'],
  ['a NUL', 'a\0b', 'a\\u{0}b'],
] as const;

for (const [attack, given, printed] of hostile) {
  test(`${attack} is written as an escape`, () => assert.equal(escapeText(given), printed));
}

test('letters, marks and emoji stay as they are', () => assert.equal(escapeText('größe 東京 é 🎉'), 'größe 東京 é 🎉'));

test('no control or format character is left in any text', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u.test(escapeText(text))));
});

test('a JSON document carries no terminal control and reads back as it was', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const document = jsonText({ text });
      assert.deepEqual(JSON.parse(document), { text });
      assert.doesNotMatch(document, /[\x00-\x09\x0b-\x1f\x7f-\x9f\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
    }),
  );
});

test('a format character outside the basic plane is escaped as two units in JSON', () => {
  assert.equal(jsonText('\u{e0041}'), '"\\udb40\\udc41"');
});
