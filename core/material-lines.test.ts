import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { limits } from './limits.ts';
import { parseMaterialLines } from './material-lines.ts';

const parse = (text: string, file?: string) => parseMaterialLines([{ text, file }]);

test('the first = splits, spaces around do not count, comments and empty lines are nothing', () => {
  const { lines, problems } = parse(
    '\n# built by make\n  binary = dist/app \r\nquery=a=b&c=d\nsbom:sbom_cyclonedx_json=x.json\nnote=# text\n',
  );
  assert.deepEqual(problems, []);
  assert.deepEqual(
    lines.map(({ name, kind, value, line }) => [name, kind, value, line]),
    [
      ['binary', undefined, 'dist/app', 3],
      ['query', undefined, 'a=b&c=d', 4],
      ['sbom', 'SBOM_CYCLONEDX_JSON', 'x.json', 5],
      ['note', undefined, '# text', 6],
    ],
  );
});

test('a line with ! belongs to the line of its name, wherever that stands', () => {
  const { lines, problems } = parse('binary=!dist/*.map\nbinary=dist/*\nbinary=! dist/x \n');
  assert.deepEqual(problems, []);
  assert.deepEqual(lines[0]?.excludes, ['dist/*.map', 'dist/x']);
});

test('sources are one list, each with its own lines', () => {
  const { lines, problems } = parseMaterialLines([{ text: 'a=1' }, { text: '\nb=2\na=3', file: 'more' }]);
  assert.deepEqual(
    lines.map(({ name, file, line }) => [name, file, line]),
    [
      ['a', undefined, 1],
      ['b', 'more', 2],
    ],
  );
  assert.deepEqual(
    problems.map(({ file, line }) => [file, line]),
    [['more', 3]],
  );
});

const refusals: readonly (readonly [string, RegExp])[] = [
  ['binary', /'binary' is not NAME=VALUE/],
  ['=x', /'' is no name/],
  ['Binary=x', /'Binary' is no name/],
  ['-a=x', /'-a' is no name/],
  [`${'a'.repeat(limits.nameLength + 1)}=x`, /is no name/],
  ['a b=x', /is no name/],
  ['a=', /material 'a' has no value; is the expression that it comes from empty\?/],
  ['a:=x', /'' is no kind/],
  ['a:FILE=x', /'FILE' is no kind \(STRING, /],
  ['a:SBOM_CYCLONEDX=x', /did you mean 'SBOM_CYCLONEDX_JSON'/],
  ['a=1\na=2', /given twice: in line 1 too/],
  ['a=!x', /leaves out of nothing/],
  ['a=1\na=!', /nothing after the '!'/],
  [`a=${'x'.repeat(limits.stringValueSizeBytes + 1)}`, /more than 16384 bytes/],
  ['\u001b[31m::error::x', /is not NAME=VALUE/],
];
for (const [text, says] of refusals) {
  test(`refused: ${JSON.stringify(text.slice(0, 40))}`, () => {
    const { problems } = parse(text);
    assert.equal(problems.length, 1);
    assert.match(problems[0]?.message ?? '', says);
    assert.doesNotMatch(problems[0]?.message ?? '', /[\u0000-\u001f]/);
  });
}

test('all problems are said at once', () => {
  assert.equal(parse('a\nB=x\nc=\nd:NO=1\n').problems.length, 4);
  assert.match(parse(Array.from({ length: 501 }, (_, i) => `m${i}=x`).join('\n')).problems[0]?.message ?? '', /501 materials/);
});

test('what is written in lines is read as it was, and no text makes it throw', () => {
  const name = fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,20}$/);
  const value = fc
    .string({ minLength: 1, maxLength: 40, unit: 'grapheme' })
    .filter((text) => !/[\r\n]/.test(text) && text.trim() === text && text !== '' && !text.startsWith('!'));
  fc.assert(
    fc.property(fc.uniqueArray(fc.tuple(name, value), { selector: ([key]) => key, maxLength: 10 }), (pairs) => {
      const { lines, problems } = parse(pairs.map(([key, text]) => `${key}=${text}`).join('\n'));
      assert.deepEqual(problems, []);
      assert.deepEqual(
        lines.map((line) => [line.name, line.value]),
        pairs,
      );
    }),
  );
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void parse(text)));
});
