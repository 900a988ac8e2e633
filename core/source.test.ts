import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { busyMs } from '../test/busy.ts';
import { refusal } from '../test/refusal.ts';
import { isChainloopError } from './errors.ts';
import { limits } from './limits.ts';
import { parseSource, refuseDepth } from './source.ts';

const rules = { name: 'text', code: 'USAGE', maxBytes: 1_000_000, maxValues: 1_000 } as const;
const runs = { numRuns: 300, seed: 7 };

/** As whoever asks does: what was found while it could be read is refused too. */
function parseJson(text: string): unknown {
  const { value, findings, refuse } = parseSource(text, 'json', { ...rules, maxValues: 200_000 });
  return findings.length > 0 ? refuse(findings) : value;
}

test('every JSON value is read as JSON.parse reads it', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), fc.constantFrom(0, 2), (value, indent) => {
      const text = JSON.stringify(value, null, indent);
      fc.pre(text.isWellFormed());
      assert.deepEqual(parseJson(text), JSON.parse(text));
    }),
    runs,
  );
});

test('no text makes either parser throw anything but our error', () => {
  const fragments = fc.array(
    fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      '"',
      ':',
      ',',
      '- ',
      '\n',
      ' ',
      'a',
      '&a',
      '*a',
      '!t',
      '1e400',
      'null',
      '\\u0000',
      '\\',
      "'",
      '|',
      '>',
      '#',
      '%YAML',
      '---',
      '? ',
      '\uFEFF',
      '\uD800',
      '\u202E',
      '\t',
    ),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fragments.map((parts) => parts.join('')),
      ),
      fc.constantFrom('yaml', 'json'),
      (text, format) => {
        try {
          parseSource(text, format, rules);
        } catch (error) {
          assert.ok(isChainloopError(error, 'USAGE'), String(error));
          assert.ok(error.problems.length > 0 && error.problems.every(({ line, column }) => (line ?? 0) > 0 && (column ?? 0) > 0));
        }
      },
    ),
    { ...runs, numRuns: 2_000 },
  );
});

for (const [what, text, message, line, column] of [
  ['nothing', '', 'expected a value, found the end', 1, 1],
  ['a duplicate key', '{"a":1,\n "a":2}', "the key 'a' is there twice", 2, 2],
  ['a trailing comma', '[1,]', "expected a value, found ']'", 1, 4],
  ['a comment', '{} // x', "expected the end, found '/'", 1, 4],
  ['text after the value', '1 2', "expected the end, found '2'", 1, 3],
  ['a key without quotes', '{a:1}', "expected a key in double quotes, found 'a'", 1, 2],
  ['single quotes', "['a']", "expected a value, found '''", 1, 2],
  ['a leading zero', '[01]', "expected ',' or ']', found '1'", 1, 3],
  ['1e400', '[1e400]', 'a number is too large', 1, 2],
  ['NaN', 'NaN', "expected a value, found 'N'", 1, 1],
  ['a raw line break in a string', '"a\nb"', 'a string has a control character or an escape that JSON does not have', 1, 1],
  ['an unknown escape', '"\\x41"', 'a string has a control character or an escape that JSON does not have', 1, 1],
  ['half of a surrogate pair, escaped', '"\\ud800"', 'a string has half of a surrogate pair', 1, 1],
  ['a string without an end', '["a\\"', 'a string is not closed', 1, 2],
] as const) {
  test(`JSON with ${what} is refused with its place`, () => {
    const { code, problems } = refusal(() => parseJson(text));
    assert.equal(code, 'USAGE');
    assert.deepEqual({ message: problems[0]?.message, line: problems[0]?.line, column: problems[0]?.column }, { message, line, column });
  });
}

for (const [what, text, message, line] of [
  ['a duplicate key', 'a: 1\na: 2', undefined, undefined],
  ['a tag', 'a: !foo 1', 'Unresolved tag: !foo', 1],
  ['binary', 'a: !!binary aaaa', 'Unresolved tag: tag:yaml.org,2002:binary', 1],
  ['a second document', 'a: 1\n---\nb: 2', 'a second document begins here; only one is read', 2],
  ['an older version', '%YAML 1.1\n---\na: yes', 'only YAML 1.2 is read; remove the %YAML line', 1],
  ['a key that is a list', '? [a]\n: 1', undefined, undefined],
  ['an alias without an anchor', 'a: *b', undefined, undefined],
  ['a text that does not end', 'a: "b\nc: d', 'Missing closing "quote', 2],
] as const) {
  test(`YAML with ${what} is refused or found`, () => {
    if (message === undefined) {
      assert.equal(parseSource(text, 'yaml', rules).findings.length, 1);
    } else {
      const { problems } = refusal(() => parseSource(text, 'yaml', rules));
      assert.deepEqual({ message: problems[0]?.message, line: problems[0]?.line }, { message, line });
    }
  });
}

test("YAML 1.2 is read: 'no' and 'yes' are text, 0o7 is a number, << is a key", () => {
  const { value } = parseSource('a: no\nb: 0o7\n<<: {c: 1}', 'yaml', rules);
  assert.deepEqual(value, { a: 'no', b: 7, '<<': { c: 1 } });
});

test('an alias stands for its anchor', () => {
  assert.deepEqual(parseSource('a: &x [1, {b: 2}]\nc: *x', 'yaml', rules).value, { a: [1, { b: 2 }], c: [1, { b: 2 }] });
});

test('an alias bomb is refused when it outgrows the limit, not when it has used the memory (S8)', async () => {
  const levels = Array.from({ length: 9 }, (_, level) => `l${level + 1}: &l${level + 1} [${`*l${level},`.repeat(9)}]`);
  const took = await busyMs(() => {
    const { problems } = refusal(() => parseSource(`l0: &l0 [${'x,'.repeat(9)}]\n${levels.join('\n')}`, 'yaml', rules));
    assert.match(problems[0]?.message ?? '', /more than 1000 values/);
  });
  assert.ok(took < 1_000, `${took} ms`);
});

test('an alias inside its own anchor is refused', () => {
  assert.match(refusal(() => parseSource('a: &a [*a]', 'yaml', rules)).problems[0]?.message ?? '', /nested deeper/);
});

for (const [what, format, text] of [
  ['JSON lists', 'json', '['.repeat(100_000)],
  ['JSON objects', 'json', '{"a":'.repeat(100_000)],
  ['YAML flow lists', 'yaml', '['.repeat(100_000)],
  ['YAML flow maps', 'yaml', '{a: '.repeat(50_000)],
  ['YAML compact lists', 'yaml', `${'- '.repeat(100_000)}a`],
  ['YAML maps, stepwise', 'yaml', Array.from({ length: 100 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n')],
  ['YAML explicit keys', 'yaml', '? '.repeat(1_000)],
] as const) {
  test(`${what} nested ${limits.nestingDepth + 1} deep or more are refused without recursion (S8)`, () => {
    assert.match(refusal(() => parseSource(text, format, rules)).problems[0]?.message ?? '', /nested deeper than 64 levels/);
  });
}

test('nesting of exactly the limit is read', () => {
  const depth = limits.nestingDepth;
  const text = '['.repeat(depth) + ']'.repeat(depth);
  for (const format of ['yaml', 'json'] as const) assert.deepEqual(parseSource(text, format, rules).value, JSON.parse(text));
});

test('the depth of bytes is found without parsing, and brackets in strings do not count', () => {
  const deep = `[${'['.repeat(limits.nestingDepth)}`;
  assert.match(refusal(() => refuseDepth(Buffer.from(deep), rules)).message, /^text: nested deeper than 64 levels/);
  refuseDepth(Buffer.from(JSON.stringify({ a: deep, b: `\\"${deep}` })), rules);
});

test('size is checked before anything is read (S8)', async () => {
  const took = await busyMs(() => {
    assert.equal(refusal(() => parseSource('['.repeat(50_000_000), 'yaml', rules)).code, 'LIMIT_EXCEEDED');
    assert.equal(refusal(() => parseJson('é'.repeat(600_000))).code, 'LIMIT_EXCEEDED');
  });
  assert.ok(took < 500, `${took} ms`);
});

test('a byte order mark at the beginning is ignored, elsewhere refused', () => {
  for (const format of ['yaml', 'json'] as const) {
    assert.deepEqual(parseSource('\uFEFF{"a": 1}', format, rules).value, { a: 1 });
    assert.deepEqual(refusal(() => parseSource('{"a":\n "\uFEFF"}', format, rules)).problems, [
      { message: 'the character U+FEFF may not stand in a text; remove it', line: 2, column: 3 },
    ]);
  }
});

for (const character of ['\u0000', '\u001b', '\u007f', '\u009b', '\u202e', '\u2066', '\u200f', '\ud800', '\udc00']) {
  test(`the character U+${character.charCodeAt(0).toString(16)} is refused, also in a comment (S14)`, () => {
    assert.match(refusal(() => parseSource(`a: 1 # ${character}`, 'yaml', rules)).problems[0]?.message ?? '', /may not stand in a text/);
  });
}

test('__proto__ and constructor are keys like any other, and pollute nothing (S13)', () => {
  const text = '{"__proto__": {"polluted": 1}, "constructor": {"prototype": {"polluted": 1}}}';
  for (const value of [parseJson(text), parseSource(text, 'yaml', rules).value]) {
    assert.deepEqual(Object.keys(value ?? {}), ['__proto__', 'constructor']);
    assert.equal(Object.getPrototypeOf(value), Object.prototype);
    assert.equal(Reflect.get(Object.prototype, 'polluted'), undefined);
  }
});

test('of 100,000 problems 20 are shown and the others counted (S9)', () => {
  const error = refusal(() => parseJson(`{${'"a":1,'.repeat(100_000)}"a":1}`));
  assert.equal(error.problems.length, limits.problems);
  assert.equal(error.message, 'text: 100000 problems; the first 20 are listed, 99980 more are not');
});
