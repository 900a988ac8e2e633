import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { breakText, cutText, displayWidth } from './width.ts';

for (const [text, width] of [
  ['', 0],
  ['abc', 3],
  ['東京', 4],
  ['ｆｕｌｌ', 8],
  ['e\u0301', 1],
  ['🎉', 2],
  ['👩🏽', 2],
  ['größe', 5],
] as const) {
  test(`'${text}' is ${width} columns wide`, () => assert.equal(displayWidth(text), width));
}

for (const [text, width, lines] of [
  ['short', 10, ['short']],
  ['03 Nov 22 22:31 UTC', 12, ['03 Nov 22', '22:31 UTC']],
  ['03 Nov 22 22:31 UTC', 9, ['03 Nov 22', '22:31 UTC']],
  ['5a5b11df-9381-4290-9c81-d7e2e83c1c16', 15, ['5a5b11df-9381-', '4290-9c81-', 'd7e2e83c1c16']],
  ['sha256:00112233445566', 10, ['sha256:', '0011223344', '5566']],
  ['abcdefgh', 3, ['abc', 'def', 'gh']],
  ['東京東京', 3, ['東', '京', '東', '京']],
] as const) {
  test(`'${text}' is broken into lines of ${width}`, () => assert.deepEqual(breakText(text, width), lines));
}

test('breaking loses nothing but spaces, and no line is too wide', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), fc.integer({ min: 2, max: 20 }), (text, width) => {
      const lines = breakText(text, width);
      assert.equal(lines.join('').replaceAll(' ', ''), text.replaceAll(' ', ''));
      for (const line of lines) assert.ok(displayWidth(line) <= width);
    }),
  );
});

test('a text is cut between its characters', () => assert.equal(cutText('東京abc', 5), '東京a'));
