import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { ChainloopError } from '../core/errors.ts';
import { type Command, count, type Group, longName, pairs, readFlags, requiredId } from './command.ts';
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

test('no option begins with --no-: the parser takes that for the contrary of another', () => {
  for (const { path, command } of commands) for (const key of Object.keys(command.flags)) assert.doesNotMatch(longName(key), /^no-/, path);
});

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
    // Where another program comes first, the name is that of a container or a namespace.
    .filter((line) => named.test(line) && !/^(?:docker|kubectl) /.test(line));
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
  assert.deepEqual(hiding.toSorted(), ['audit export --output', 'trust-root export --output']);
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

test('a count may have an end', () => {
  const read = (given: string) => count('<days>', '', { most: 3650 }).read(given, 'expires-in-days');
  assert.equal(read('3650'), 3650);
  assert.throws(() => read('3651'), /'3651' is not a whole number from 1 to 3650/);
});

test('what is no id is said so, and where ids are shown', () => {
  const { read } = requiredId('the run', 'chainloop workflow run ls');
  const uuid = 'a6ec0229-7796-46fc-8df2-a03f4bddab47';
  assert.equal(read(uuid, 'id'), uuid);
  for (const given of ['nope', uuid.slice(1), `${uuid} `, uuid.replaceAll('-', '')]) {
    assert.throws(
      () => read(given, 'id'),
      (error) => {
        return (
          error instanceof ChainloopError &&
          error.code === 'USAGE' &&
          /--id takes an id such as .*chainloop workflow run ls/.test(error.message)
        );
      },
    );
  }
});

/** Options whose empty value clears what is there. */
const clearing = ['workflow update --team'];
for (const { path, command } of commands) {
  test(`'chainloop ${path}' refuses every option that is given but empty, as from an unset variable`, () => {
    for (const [key, { hint, mayBeEmpty }] of Object.entries(command.flags)) {
      if (hint === undefined) continue;
      const option = `--${longName(key)}`;
      assert.equal(mayBeEmpty === true, clearing.includes(`${path} ${option}`));
      if (mayBeEmpty === true) continue;
      for (const empty of ['', ['']]) {
        assert.throws(
          () => readFlags(command.flags, { [key]: empty }),
          (error) =>
            error instanceof ChainloopError &&
            error.code === 'USAGE' &&
            [error.message, ...error.problems.map(({ message }) => message)].some((text) => text.startsWith(`${option} ${hint} is empty`)),
        );
      }
    }
  });
}

for (const option of ['output', 'url', 'organization']) {
  test(`an empty --${option} is refused, wherever it stands`, () => {
    const workflow = loaded.find(({ name }) => name === 'workflow');
    for (const line of [
      [`--${option}`, '', 'workflow', 'ls'],
      ['workflow', 'ls', `--${option}=`],
    ]) {
      assert.throws(() => parseCommandLine(nouns, workflow, line), { code: 'USAGE' });
    }
  });
}
