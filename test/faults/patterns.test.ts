import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as z from 'zod';

// faults.md, S10: nobody outside gives us a regular expression, and each of ours reads 50 kB of the worst text in a few milliseconds.

const root = new URL('../../', import.meta.url);
const files = globSync('{core,db,server,client,cli,action}/**/*.ts', { cwd: root })
  .filter((file) => !file.endsWith('.test.ts') && !/(^|\/)(node_modules|dist)\//.test(file))
  .toSorted();
const sizeBytes = 50_000;
const limitMs = 5;

type Pattern = { readonly where: string; readonly source: string; readonly read: (text: string) => unknown };

/** The regular expressions of a text of TypeScript: a slash where a value may stand. */
function literals(text: string): readonly RegExp[] {
  const found: RegExp[] = [];
  let at = 0;
  /** What stood last, of what means something. */
  let last = '';
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const [match] = pattern.exec(text) ?? [];
    if (match !== undefined) at += match.length;
    return match;
  };
  while (at < text.length) {
    if (take(/\s+|\/\/.*|\/\*[\s\S]*?\*\//y) !== undefined) continue;
    const valueMayStand = /^(|[([{,;:=!&|?~^+\-*%<>]|return|case|typeof|of|in|=>)$/.test(last);
    const literal = valueMayStand ? take(/\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[dgimsuvy]*/y) : undefined;
    if (literal !== undefined) {
      const end = literal.lastIndexOf('/');
      found.push(new RegExp(literal.slice(1, end), literal.slice(end + 1).replace('g', '')));
      last = ')';
      continue;
    }
    const token = take(/'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|[\w$]+|=>|[\s\S]/y) ?? '';
    // Of a template, the code inside is read on; its text has no slash where a value may stand.
    last = /^['"]/.test(token) ? ')' : token;
  }
  return found;
}

/** Those that are put together: of constants of the same file, and of nothing else. */
function composed(file: string, text: string): readonly RegExp[] {
  const constants = new Map(Array.from(text.matchAll(/^const (\w+) = (['"])(.*)\2;$/gm), ([, name = '', , value = '']) => [name, value]));
  return Array.from(text.matchAll(/\bRegExp\((.*)/g), ([, argument = '']) => {
    const [, template, , flags = ''] = /^`([^`]*)`(, '([a-z]*)')?\)/.exec(argument) ?? [];
    const source = template?.replaceAll(/\$\{(\w+)\}/g, (_, name) => constants.get(name) ?? assert.fail(`${file}: ${name} is no constant`));
    return new RegExp(source?.replaceAll('\\\\', '\\') ?? assert.fail(`${file}: RegExp(${argument} is not of constants`), flags);
  });
}

const ours: readonly Pattern[] = files.flatMap((file) => {
  const text = readFileSync(new URL(file, root), 'utf8');
  return [...literals(text), ...composed(file, text)].map((pattern) => ({
    where: `${file} ${pattern}`,
    source: pattern.source,
    read(given: string) {
      pattern.lastIndex = 0;
      return pattern.test(given);
    },
  }));
});
/** What zod brings with the formats that we use. */
const formats: readonly Pattern[] = Object.entries({
  uuid: z.uuid(),
  datetime: z.iso.datetime({ offset: true }),
  url: z.url(),
  base64: z.base64(),
}).map(([name, schema]) => ({ where: `zod ${name}`, source: '2026-11-23T09:00:00.0Z', read: (text) => schema.safeParse(text).success }));

/** Texts that a backtracking engine is slow on: what the pattern itself is made of, again and again, and an end that does not fit. */
function worst({ source }: Pattern): readonly string[] {
  const literal = source.replace(/\\[dwsDWSbB]|\\u\{?[\da-f]+\}?|\\x[\da-f]{2}|[()[\]{}^$|?*+]/gi, '\u0000').replace(/\\(.)/g, '$1');
  const pieces = literal.split('\u0000').filter((piece) => piece !== '');
  const units = new Set([
    ...pieces,
    ...pieces.flatMap((piece) => [...piece]),
    ...pieces.map((_, index) => pieces.slice(0, index + 1).join('')),
    ...pieces.flatMap((piece, index) => [piece + (pieces[index + 1] ?? 'a'), `${piece}a`, `${piece} `, `${piece}\n`]),
    ...[
      'a',
      'A',
      '0',
      ' ',
      '\n',
      '\t',
      '/',
      '.',
      '-',
      '_',
      ':',
      '@',
      '"',
      "'",
      '\\',
      '=',
      'a.',
      'a/',
      'a-',
      '0.',
      ' a',
      ': ',
      '://',
      '\u00e9',
      '\ud800',
    ],
  ]);
  return [...units].flatMap((unit) => {
    const text = unit.repeat(Math.ceil(sizeBytes / unit.length)).slice(0, sizeBytes);
    return ['', ...pieces.slice(0, 6)].flatMap((start) => [`${start}${text}`, `${start}${text}\u0001`]);
  });
}

/** Milliseconds, the least of three runs: other work on the machine is not the pattern's fault. */
function measure({ read }: Pattern, text: string): number {
  let least = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 3 && least > limitMs; run++) {
    const [start, used] = [performance.now(), process.threadCpuUsage()];
    read(text);
    // The one is longer when others have a turn; the other moves in steps, on some kernels.
    least = Math.min(least, performance.now() - start, process.threadCpuUsage(used).user / 1000);
  }
  return least;
}

test('S10: no pattern of ours takes more than 5 ms for 50 kB', (t) => {
  assert.ok(ours.length > 80, `${ours.length} patterns were found`);
  let [texts, slowest] = [0, { ms: 0, what: '' }];
  const slow: string[] = [];
  for (const pattern of [...ours, ...formats]) {
    let most = 0;
    for (const text of worst(pattern)) {
      texts++;
      most = Math.max(most, measure(pattern, text));
      if (most > limitMs) break;
    }
    if (most > slowest.ms) slowest = { ms: most, what: pattern.where };
    if (most > limitMs) slow.push(`${pattern.where} takes ${most.toFixed(0)} ms`);
  }
  t.diagnostic(
    `S10: ${ours.length + formats.length} patterns, ${texts} texts of 50 kB; slowest ${slowest.ms.toFixed(1)} ms: ${slowest.what}`,
  );
  assert.deepEqual(slow, []);
});

test('S10: the search finds patterns, and a bad one is bad', () => {
  const text = "const a = /x\\/[/'\"]y/g; // b / c /\nif (/^z+$/.test(q) && 4 / 2 / 1) f('/no/', `a/no/`);";
  assert.deepEqual(literals(text).map(String), ['/x\\/[/\'"]y/', '/^z+$/']);
  assert.deepEqual(composed('x', `const a = '[b]';\nnew RegExp(\`^\${a}\\\\.$\`, 'y');`).map(String), ['/^[b]\\.$/y']);
  assert.throws(() => composed('x', 'new RegExp(given)'), /is not of constants/);
  const pattern = /\s+$/;
  const bad: Pattern = { where: '', source: pattern.source, read: (given) => pattern.test(given) };
  assert.ok(measure(bad, `${' '.repeat(sizeBytes / 3)}x`) > 10 * limitMs);
  assert.ok(worst(bad).includes(`${' '.repeat(sizeBytes)}\u0001`));
});

test('S10: no text is given where a method makes a regular expression of it', () => {
  const given = files.filter((file) =>
    /\.(match|matchAll|search)\((?!\s*\/|\s*\w+\)|\s*\{|\s*\))/.test(readFileSync(new URL(file, root), 'utf8')),
  );
  assert.deepEqual(given, []);
});
