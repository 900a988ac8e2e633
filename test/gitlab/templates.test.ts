import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { attestFlags } from '../../cli/attest-inputs.ts';
import { longName } from '../../cli/command.ts';
import { gate } from '../../cli/gate.ts';
import { type Input, templates } from './templates.ts';

const root = join(import.meta.dirname, '..', '..');
const text = (file: string): string => readFileSync(join(root, file), 'utf8');
const { version }: { readonly version: string } = JSON.parse(text('package.json'));

/** Inputs that say what job there is, not what it does. */
const ofJobs = ['as', 'stage', 'needs', 'rules', 'tags', 'image', 'cli', 'allow-failure-exit-codes'];

/** Every text in a value, with the keys that lead to it. */
function texts(value: unknown, path: readonly string[] = []): readonly (readonly [readonly string[], string])[] {
  if (typeof value === 'string') return [[path, value]];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => [[[...path, '<key>'], key] as const, ...texts(item, [...path, key])]);
}

test('there are five components', () => {
  assert.deepEqual(
    templates.map(({ name }) => name),
    ['add', 'attest', 'init', 'push', 'verify'],
  );
});

for (const { name, inputs, jobs } of templates) {
  const used = texts(jobs).flatMap(([path, written]) =>
    Array.from(written.matchAll(/\$\[\[(.*?)\]\]/g), ([block, inner = '']) => ({
      path,
      written,
      block,
      input: /^ inputs\.([a-z-]+) $/.exec(inner)?.[1],
    })),
  );

  test(`${name}: every input is used, and every one that is used is there`, () => {
    assert.deepEqual([...new Set(used.map(({ input }) => input))].toSorted(), Object.keys(inputs).toSorted());
  });

  test(`${name}: no input is part of a script, or of any longer text but the name of a job`, () => {
    for (const { path, written, block } of used) {
      for (const keyword of ['script', 'before_script', 'after_script'])
        assert.ok(!path.includes(keyword), `${path.join('.')}: ${written}`);
      const named = written === `.${block}` && (path.at(-1) === 'extends' || path.join() === '<key>');
      assert.ok(written === block || named, `${path.join('.')}: ${written}`);
    }
  });

  test(`${name}: a default is one that could be given`, () => {
    for (const [input, spec] of Object.entries(inputs)) {
      if (spec.type === 'array' || spec.default === undefined) continue;
      assert.match(spec.default, new RegExp(spec.regex ?? ''), input);
      if (spec.options !== undefined) assert.ok(spec.options.includes(spec.default), input);
      assert.ok(Buffer.byteLength(spec.default) < 1024, input);
    }
  });

  test(`${name}: the variable of an input is the one that the command line reads`, () => {
    const given = Object.fromEntries(
      Object.values(jobs)
        .flatMap((job) => texts(job.variables))
        .flatMap(([path, written]) => {
          const input = /^\$\[\[ inputs\.([a-z-]+) \]\]$/.exec(written)?.[1];
          return input === undefined || path.at(-1) === '<key>' ? [] : [[input, path.at(-1)]];
        }),
    );
    const known = Object.keys(name === 'verify' ? gate.flags : attestFlags).map(longName);
    for (const input of Object.keys(inputs).filter((one) => !ofJobs.includes(one))) {
      const variable = input.toUpperCase().replaceAll('-', '_');
      if (name === 'verify') assert.equal(given[input], `CHAINLOOP_VERIFY_${variable}`);
      else assert.equal(given[input], `CHAINLOOP_INPUT_${input === 'control-plane' ? 'URL' : variable}`);
      if (!['control-plane', 'organization', 'artifacts', 'bundle'].includes(input))
        assert.ok(known.includes(input), `${input} is no option of the command`);
    }
  });
}

test('an input is the same in all components that have it', () => {
  const kinds = new Map<string, unknown>();
  const kindOf = (spec: Input): unknown =>
    spec.type === 'array' ? { type: spec.type } : { type: spec.type, options: spec.options, regex: spec.regex };
  for (const { name, inputs } of templates) {
    for (const [input, spec] of Object.entries(inputs)) {
      const first = kinds.get(input) ?? kindOf(spec);
      kinds.set(input, first);
      assert.deepEqual(kindOf(spec), first, `${name}: ${input}`);
      const other = templates.find(({ inputs: others }) => others[input] !== undefined)?.inputs[input];
      if (!ofJobs.includes(input)) assert.deepEqual(spec, other, `${name}: ${input}`);
    }
  }
});

test('all components take their names and their programs from the inputs, and nothing from other jobs of the project', () => {
  for (const { name, jobs } of templates) {
    const shown = Object.entries(jobs).find(([key]) => !key.startsWith('.'))?.[1];
    assert.deepEqual(shown?.before_script, [], name);
    for (const key of Object.keys(jobs)) assert.match(key, /^\.?\$\[\[ inputs\.as \]\]$/);
  }
});

test('a gate cannot be a warning', () => {
  const verify = templates.find(({ name }) => name === 'verify');
  assert.equal(verify?.inputs['allow-failure-exit-codes'], undefined);
  assert.equal(Object.values(verify?.jobs ?? {})[0]?.allow_failure, false);
});

test('what runs is the version of the components, and the changelog has it', () => {
  for (const { name, inputs } of templates) {
    const { cli } = inputs;
    assert.equal(cli?.type === 'string' && cli.default, `npx --yes chainloop@${version}`, name);
  }
  assert.match(text('gitlab-component/CHANGELOG.md'), new RegExp(`^## ${version.replaceAll('.', '\\.')}$`, 'm'));
});

test('the project of the components has the licence of this one, and a README with an example of each', () => {
  assert.equal(text('gitlab-component/LICENSE'), text('LICENSE'));
  const readme = text('gitlab-component/README.md');
  for (const { name } of templates) {
    const section = readme.split(/^## /m).find((part) => part.startsWith(`${name}\n`)) ?? '';
    assert.match(section, new RegExp(`^ {2}- component: \\$CI_SERVER_FQDN/chainloop/attest/${name}@1$`, 'm'));
  }
});
