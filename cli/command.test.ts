import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { ChainloopError } from '../core/errors.ts';
import { type Command, count, type Group, longName, oneOf, pairs } from './command.ts';
import { nouns } from './main.ts';
import { parseCommandLine } from './parser.ts';

const loaded = await Promise.all(nouns.map(async ({ load }) => load()));

function* commandsOf(node: Group | Command, path: string): Generator<{ path: string; command: Command }> {
  if (node.type === 'command') yield { path, command: node };
  else for (const child of node.commands) yield* commandsOf(child, `${path} ${child.name}`);
}
const commands = loaded.flatMap((node) => [...commandsOf(node, node.name)]);

test('every noun is called what the table of nouns calls it', () => {
  assert.deepEqual(
    loaded.map(({ name }) => name),
    nouns.map(({ name }) => name),
  );
});

/** The words of an example, as a shell would split them, without what is before `chainloop` and after a pipe. */
function wordsOf(example: string): readonly string[] {
  const [line = ''] = example.replace(/^.*?chainloop /, '').split(/[|<>)]/);
  return Array.from(line.trim().matchAll(/"([^"]*)"|(\S+)/g), ([, quoted, plain = '']) => quoted ?? plain);
}

for (const { path, command } of commands) {
  test(`every example of 'chainloop ${path}' is a command line that this program takes`, () => {
    for (const example of command.examples) {
      assert.ok(example.includes(`chainloop ${path}`), example);
      const [noun = ''] = path.split(' ');
      const invocation = parseCommandLine(
        nouns,
        loaded.find(({ name }) => name === noun),
        wordsOf(example),
      );
      assert.equal(invocation?.command, command);
    }
  });
}

const root = join(import.meta.dirname, '..');
const pages = ['README.md', ...(await readdir(join(root, 'docs'))).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)];
const named = /(?<![\w./-])chainloop (?!<)/;
for (const page of pages) {
  const text = await readFile(join(root, page), 'utf8');
  const blocks = Array.from(text.matchAll(/^```(?:bash|console|yaml)\n([\s\S]*?)^```/gm), ([, block = '']) =>
    block.replaceAll(/\\\n\s*/g, ''),
  );
  // What stands behind a command is a comment; a line that is nothing else says how its block is used.
  const lines = blocks
    .flatMap((block) => block.split('\n').map((line) => line.replace(/(\S)\s+#.*$/, '$1')))
    .filter((line) => named.test(line));
  if (lines.length === 0) continue;
  test(`every command line in ${page} is one that this program takes`, () => {
    for (const line of lines) {
      const words = wordsOf(line);
      const noun = nouns.find(({ name, alias }) => [name, alias].includes(words.find((word) => !word.startsWith('-'))));
      const node = loaded.find(({ name }) => name === noun?.name);
      assert.doesNotThrow(() => parseCommandLine(nouns, node, words), line);
    }
  });
}

test('no option of a command hides an option of every command, but for the file of an export', () => {
  const hiding = commands.flatMap(({ path, command }) =>
    Object.keys(command.flags)
      .filter((key) => ['output', 'url', 'organization', 'help'].includes(longName(key)))
      .map((key) => `${path} --${key}`),
  );
  assert.deepEqual(hiding, ['trust-root export --output']);
});

test('a command that has an option of every command for itself gets its value, before or behind its name', () => {
  const trustRoot = loaded.find(({ name }) => name === 'trust-root');
  for (const line of [
    ['trust-root', 'export', '--output', 'root.json'],
    ['--output=root.json', 'trust-root', 'export'],
  ]) {
    const invocation = parseCommandLine(nouns, trustRoot, line);
    assert.deepEqual(invocation?.given, { output: 'root.json' });
    assert.deepEqual(invocation?.globals, { output: undefined, url: undefined, organization: undefined });
  }
});

test('a mistyped option is answered with the nearest one, and without its value', () => {
  const attestation = loaded.find(({ name }) => name === 'attestation');
  assert.throws(
    () => parseCommandLine(nouns, attestation, ['attestation', 'add', '--registry-pasword=hunter2']),
    (error) =>
      error instanceof ChainloopError &&
      error.code === 'USAGE' &&
      /--registry-password/.test(error.message) &&
      !/hunter2/.test(error.message),
  );
});

test('name=value pairs keep what is behind the first equals sign', () => {
  assert.deepEqual(pairs('').read(['a=b=c', 'd='], 'annotation'), { a: 'b=c', d: '' });
});

test('a name given twice, or without a value, is an error', () => {
  assert.throws(() => pairs('').read(['a=1', 'a=2'], 'annotation'), { code: 'USAGE' });
  assert.throws(() => pairs('').read(['a'], 'annotation'), { code: 'USAGE' });
});

test('a pair called __proto__ is a pair', () => {
  const read = pairs('').read(['__proto__=x'], 'annotation');
  assert.deepEqual(Object.entries(read), [['__proto__', 'x']]);
  assert.equal(Object.getPrototypeOf(read), Object.prototype);
});

for (const given of ['0', '-1', '1.5', 'x', '1e3', ' 1']) {
  test(`'${given}' is not a count`, () => assert.throws(() => count('<n>', '').read(given, 'limit'), { code: 'USAGE' }));
}

test('an empty value counts as not given, as from an unset variable', () => {
  assert.equal(count('<n>', '').read('', 'limit'), undefined);
  assert.equal(oneOf('<a>', ['a'], '').read('', 'state'), undefined);
});
