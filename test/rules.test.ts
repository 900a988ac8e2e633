import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { errorTable } from '../core/errors.ts';

// The rules of the repository that no compiler knows, as data. docs/architecture.md says why.

const root = new URL('..', import.meta.url).pathname;
const folders = ['core', 'db', 'server', 'client', 'cli', 'plugin', 'action', 'bench', 'examples', 'test', 'tools'];
const files = globSync(`{${folders.join(',')}}/**/*.ts`, { cwd: root })
  .filter((file) => !file.split('/').some((part) => part === 'node_modules' || part === 'dist'))
  .toSorted();
/** This file, whose samples break the rules on purpose. */
const here = 'test/rules.test.ts';
const shipped = files.filter((file) => !file.endsWith('.test.ts') && !/^(bench|examples|test|tools)\//.test(file));
const source = (file: string) => readFileSync(join(root, file), 'utf8');

/** Which folders each folder may import from. */
const mayImport: Record<string, readonly string[]> = {
  core: ['core'],
  db: ['core', 'db'],
  server: ['core', 'db', 'server'],
  client: ['core', 'client'],
  plugin: ['core', 'client', 'plugin'],
  cli: ['core', 'client', 'plugin', 'cli'],
  action: ['core', 'client', 'plugin', 'action'],
};

/** The two ways around it: the client knows the shape of the API, and `chainloop server` starts the server, or backs it up. */
const exceptions: readonly { readonly from: string; readonly to: string; readonly kind: Import['kind']; readonly names?: string }[] = [
  { from: 'client/', to: 'server/router.ts', kind: 'type', names: '{ AppRouter }' },
  { from: 'cli/', to: 'server/main.ts', kind: 'dynamic' },
  { from: 'cli/', to: 'server/backup.ts', kind: 'dynamic' },
];

/** Effects, by the words that bring them in. None of them is in core/, but for core/adapters/. */
const effects: Record<string, RegExp> = {
  'the file system': /'node:fs(\/promises)?'/,
  'the network': /'node:(net|tls|dgram|dns|dns\/promises|http|https|http2)'|\bfetch\(|\bnew (WebSocket|EventSource)\b/,
  'other processes': /'node:(child_process|cluster|worker_threads|vm)'/,
  'the environment': /\bprocess\b|'node:(os|process)'/,
  'the clock': /\bDate\.now\b|\bnew Date\(\)|\bperformance\b|\bset(Timeout|Interval|Immediate)\(|'node:timers/,
  randomness: /\bMath\.random\b|\brandom(UUID|Bytes|Int|FillSync)\b|\bgetRandomValues\b|\bgenerateKeyPair/,
};

type Import = { readonly target: string; readonly kind: 'type' | 'static' | 'dynamic'; readonly names: string };

/** The imports of a file of ours, as Biome formats them. `type` when nothing is left of them at run time. */
function importsOf(text: string): readonly Import[] {
  const statements = Array.from(text.matchAll(/^(?:import|export) (type )?([^;'"]*?)\bfrom '([^']+)'/gm), (match): Import => {
    const names = (match[2] ?? '').trim();
    const inner = names.startsWith('{')
      ? names
          .slice(1, -1)
          .split(',')
          .map((name) => name.trim())
          .filter(Boolean)
      : [];
    const onlyTypes = match[1] !== undefined || (inner.length > 0 && inner.every((name) => name.startsWith('type ')));
    return { target: match[3] ?? '', kind: onlyTypes ? 'type' : 'static', names: names.replaceAll('type ', '') };
  });
  const effectsOnly = Array.from(
    text.matchAll(/^import '([^']+)'/gm),
    (match): Import => ({ target: match[1] ?? '', kind: 'static', names: '' }),
  );
  const dynamic = Array.from(text.matchAll(/\bimport\(\s*'([^']+)'\s*\)/g), (match): Import => {
    return { target: match[1] ?? '', kind: 'dynamic', names: '' };
  });
  return [...statements, ...effectsOnly, ...dynamic];
}

/** The code without its comments: whole comment lines, comments inside a line, and comments at its end. */
function codeOf(file: string): string {
  return source(file)
    .replace(/^\s*(\/\*\*?|\*|\/\/).*$/gm, '')
    .replace(/ \/\*\*? .*? \*\//g, '')
    .replace(/ \/\/ .*$/gm, '');
}

/** Nothing, or every breach of a rule in one message. */
function none(breaches: readonly string[], rule: string): void {
  assert.equal(breaches.length, 0, `${rule}\n  ${breaches.join('\n  ')}`);
}

test('nobody imports from a folder that is above it', () => {
  const breaches = shipped.flatMap((file) =>
    importsOf(source(file)).flatMap(({ target, kind, names }) => {
      if (!target.startsWith('.')) return [];
      const to = normalize(join(dirname(file), target));
      const [from = '', folder = ''] = [file.split('/')[0], to.split('/')[0]];
      if (to === 'package.json' || (mayImport[from] ?? []).includes(folder)) return [];
      const excused = exceptions.some(
        (other) =>
          file.startsWith(other.from) && to === other.to && kind === other.kind && (other.names === undefined || other.names === names),
      );
      return excused ? [] : [`${file} imports ${to} (${kind})`];
    }),
  );
  none(
    breaches,
    'core <- db <- server; core <- client <- plugin <- cli, action; client takes only the type AppRouter; cli starts server/main.ts and server/backup.ts lazily',
  );
});

test('the import rule sees what it is meant to see', () => {
  const text = [
    "import a, { b } from './static.ts';",
    "import { type C, d } from './mixed.ts';",
    "import type { E } from './type.ts';",
    "import {\n  type F,\n  type G,\n} from './types.ts';",
    "export { h } from './exported.ts';",
    "export type { I } from './exported-type.ts';",
    "import './effects.ts';",
    "  const { main } = await import('./lazy.ts');",
  ].join('\n');
  assert.deepEqual(
    importsOf(text).map(({ target, kind }) => `${target} ${kind}`),
    [
      './static.ts static',
      './mixed.ts static',
      './type.ts type',
      './types.ts type',
      './exported.ts static',
      './exported-type.ts type',
      './effects.ts static',
      './lazy.ts dynamic',
    ],
  );
});

test('tests are not imported by what is shipped', () => {
  const breaches = shipped.flatMap((file) =>
    importsOf(source(file))
      .filter(({ target }) => target.startsWith('.') && (target.endsWith('.test.ts') || /(^|\/)test\//.test(target)))
      .map(({ target }) => `${file} imports ${target}`),
  );
  none(breaches, 'test/ and *.test.ts are for tests alone');
});

test('every import of ours names a file that exists, with its ending, and by a literal', () => {
  const absent = files
    .filter((file) => file !== here)
    .flatMap((file) =>
      importsOf(source(file))
        .filter(({ target }) => target.startsWith('.') && !existsSync(join(root, dirname(file), target)))
        .map(({ target }) => `${file} imports ${target}, which is not there`),
    );
  // What the rules above cannot read, they cannot check.
  const computed = shipped.filter((file) => /\bimport\((?!\s*')/.test(codeOf(file))).map((file) => `${file} computes what it imports`);
  none([...absent, ...computed], 'relative imports end in .ts');
});

test('core is pure: effects live in core/adapters', () => {
  // core/index.ts is the table of contents of all of core, adapters too.
  const pure = shipped.filter((file) => file.startsWith('core/') && !file.startsWith('core/adapters/') && file !== 'core/index.ts');
  assert.ok(pure.length > 20, 'the files of core were not found');
  const breaches = pure.flatMap((file) => {
    const code = codeOf(file);
    return Object.entries(effects).flatMap(([effect, words]) => {
      const found = words.exec(code);
      return found === null ? [] : [`${file} reaches ${effect}: ${found[0]}`];
    });
  });
  none(breaches, 'no clock, environment, randomness, file system, network or process in core/*.ts and its folders but adapters/');
});

test('the purity rule sees what it is meant to see', () => {
  const samples: Record<string, readonly string[]> = {
    'the file system': ["import { readFile } from 'node:fs/promises';"],
    'the network': ["import http from 'node:http';", 'await fetch(url)'],
    'other processes': ["import { Worker } from 'node:worker_threads';"],
    'the environment': ['process.env.HOME', "import { homedir } from 'node:os';"],
    'the clock': ['Date.now()', 'new Date()', 'setTimeout(() => {}, 1)'],
    randomness: ['Math.random()', 'randomUUID()', "import { randomBytes } from 'node:crypto';"],
  };
  for (const [effect, lines] of Object.entries(samples)) for (const line of lines) assert.match(line, effects[effect] ?? /^$/, line);
  for (const [effect, words] of Object.entries(effects)) assert.doesNotMatch('new Date(text); prefetch(x); createHash(x)', words, effect);
});

test('docs/errors.md has every error code with its exit status, HTTP status and a meaning, and no other', () => {
  const documented = Array.from(
    source('docs/errors.md').matchAll(/^\| `([A-Z_]+)` \| (\d+) \| (\d+) \| \S.+ \|$/gm),
    ([, code, exit, http]) => [code, { exit: Number(exit), http: Number(http) }],
  );
  assert.deepEqual(
    documented.map(([code]) => code),
    Object.keys(errorTable),
  );
  assert.deepEqual(Object.fromEntries(documented), errorTable);
});

test('every error code is used', () => {
  const code = files
    .filter((file) => file !== 'core/errors.ts')
    .map(source)
    .join('\n');
  const unused = Object.keys(errorTable).filter((name) => !code.includes(`'${name}'`));
  none(unused, 'a code that nothing throws or handles is no API');
});

test('no type is forced, and nothing is put off', () => {
  const forbidden: Record<string, RegExp> = {
    any: /\bas any\b|: any\b|<any>/,
    'a silenced checker': /@ts-(ignore|expect-error|nocheck)|biome-ignore/,
    'an assertion': /[\w)\]}] as (?!const\b)(unknown|never|string|number|boolean|[A-Z]\w*)\b/,
    'an assertion of existence': /[\w)\]]!(?=[.;,)[])/,
    'unfinished work': /\b(TODO|FIXME|XXX|HACK)\b/,
  };
  const breaches = files
    .filter((file) => file !== here)
    .flatMap((file) =>
      source(file)
        .split('\n')
        .flatMap((line, index) => {
          if (/^\s*(\*|\/\/|\/\*|import\b|export \{)/.test(line) && !/@ts-|biome-ignore|TODO|FIXME|XXX/.test(line)) return [];
          const text = line.replace(/'(?:[^'\\]|\\.)*'|`[^`]*`|\/(?![*/])(?:[^/\\\n]|\\.)+\/[a-z]*/g, "''");
          return Object.entries(forbidden).flatMap(([what, pattern]) =>
            pattern.test(text) ? [`${file}:${index + 1} has ${what}: ${line.trim()}`] : [],
          );
        }),
    );
  none(breaches, 'parse once, at the edge; no any, no as but as const, no !, no TODO');
});

/** The tables point at one another: a reader looks for all of them in one place. */
const longList = 'db/schema.ts';

test('no file is longer than 400 lines, tests and the list of tables aside', () => {
  const breaches = shipped
    .filter((file) => file !== longList)
    .map((file) => [file, source(file).split('\n').length - 1] as const)
    .filter(([, lines]) => lines > 400);
  none(
    breaches.map(([file, lines]) => `${file}: ${lines} lines`),
    'a reader must find any rule in one guess',
  );
});

test('no class but for errors and for what must be closed', () => {
  const breaches = shipped.flatMap((file) =>
    Array.from(codeOf(file).matchAll(/^(?:export )?(?:abstract )?class (\w+)(?: extends (\w+))?.*$/gm))
      .filter(([, , parent]) => parent === undefined || !/Error$|^Transform$/.test(parent))
      .filter(([, name = '']) => !new RegExp(`class ${name}\\b[\\s\\S]*Symbol\\.(asyncD|d)ispose`).test(codeOf(file)))
      .map(([line]) => `${file}: ${line}`),
  );
  none(breaches, 'functions and plain readonly data; no enum, namespace, inheritance or container');
});

type Locked = { readonly license?: string; readonly optional?: boolean };
const lock: { readonly packages: Record<string, Locked> } = JSON.parse(source('package-lock.json'));

test('the lock file names no place that packages were downloaded from', () => {
  none(
    Object.entries(lock.packages).flatMap(([path, locked]) => (Object.hasOwn(locked, 'resolved') ? [path] : [])),
    'npm install with omit-lockfile-registry-resolved, as .npmrc has it',
  );
});

/** Licences that allow what we do with them. An expression is fine when one of its alternatives is. */
const allowed = ['MIT', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', '0BSD', 'BlueOak-1.0.0'];
/** Packages whose licence was read by a person, and what was found. */
const readByHand: Record<string, string> = {
  'cue-wasm': 'no field in package.json; its LICENSE file is MIT',
};

test('every dependency has a licence that allows its use', () => {
  const packages = Object.entries(lock.packages).filter(([path]) => path !== '');
  assert.ok(packages.length > 100);
  const breaches = packages.flatMap(([path, locked]) => {
    const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
    const installed = join(root, path, 'package.json');
    // Optional packages of other platforms are not installed; the lock says what they are.
    const licence: unknown = existsSync(installed) ? JSON.parse(readFileSync(installed, 'utf8')).license : locked.license;
    const alternatives = typeof licence === 'string' ? licence.replace(/[()]/g, '').split(' OR ') : [];
    if (alternatives.some((alternative) => allowed.includes(alternative)) || Object.hasOwn(readByHand, name)) return [];
    return [`${name}: ${JSON.stringify(licence) ?? 'none'}`];
  });
  none(breaches, `only ${allowed.join(', ')}, or read by hand with the reason`);
});

test('every licence that was read by hand belongs to a package that is still there', () => {
  const names = Object.keys(lock.packages).map((path) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length));
  none(
    Object.keys(readByHand).filter((name) => !names.includes(name)),
    'remove it from the list',
  );
});

test('every file that a document names is there', () => {
  const documents = globSync('{README.md,CONTRIBUTING.md,docs/*.md,examples/**/*.md}', { cwd: root }).filter(
    (file) => !file.includes('node_modules'),
  );
  const breaches = documents.flatMap((file) => {
    const text = source(file).replace(/```[\s\S]*?```/g, '');
    const links = Array.from(text.matchAll(/\]\(([^)\s#]+)[^)]*\)/g), (match) => normalize(join(dirname(file), match[1] ?? ''))).filter(
      (path) => !path.includes(':/'),
    );
    const named = Array.from(
      text.matchAll(new RegExp(`\`((?:${folders.join('|')}|docs|bin)/[\\w./-]+)\``, 'g')),
      (match) => match[1] ?? '',
    );
    return [...links, ...named].filter((path) => !existsSync(join(root, path))).map((path) => `${file} names ${path}`);
  });
  none(breaches, 'each claim of a document is a link or checked by a test');
});
