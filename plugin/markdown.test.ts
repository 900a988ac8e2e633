import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { code, document, escaped, table } from './markdown.ts';

test('what has a meaning in Markdown or HTML is text', () => {
  assert.equal(escaped('a|b'), 'a&#124;b');
  assert.equal(escaped('</details><script>'), '&#60;/details&#62;&#60;script&#62;');
  assert.equal(
    escaped('`x` *y* _z_ [l](u) #1 @me ~s~ $m$ \\'),
    [...'`x` *y* _z_ [l](u) #1 @me ~s~ $m$ \\'].map((c) => (/[a-z0-9 ]/.test(c) ? c : `&#${c.codePointAt(0)};`)).join(''),
  );
  assert.equal(escaped('one\ntwo\r\n\u202ethree\ttwo'), 'one two   three two');
  assert.equal(escaped('&amp;'), '&#38;amp;');
  assert.equal(escaped('https://evil.example www.evil.example'), 'https&#58;//evil.example www&#46;evil.example');
  assert.equal(escaped('größe 数 é'), 'größe 数 é');
});

test('long text is cut, also in the middle of a pair', () => {
  assert.equal(escaped('x'.repeat(300), 3), 'xxx…');
  assert.ok(escaped('\u{1f600}'.repeat(3), 3).isWellFormed());
});

test('no text ends a cell, a row or an element', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => {
      const shown = code(text);
      assert.match(shown, /^<code>[^<>|`\n\r]*<\/code>$/);
      assert.equal(table(['a'], [[shown]]).split('\n').length, 3);
    }),
  );
});

test('a document of more than 900 KiB is cut at a line, says so, and closes what was open', () => {
  const rows = Array.from({ length: 20_000 }, (_, i) => [code(`material-${i}`), 'x'.repeat(100)]);
  const text = document(['### Title', '<details><summary>Many</summary>', table(['a', 'b'], rows), '</details>']);
  assert.ok(Buffer.byteLength(text) < 901 * 1024);
  assert.match(text, /\n<\/details>\n\n\*\*… and \d+ more lines\.\*\*\n$/);
  assert.equal(document(['a', 'b']), 'a\n\nb\n');
});
