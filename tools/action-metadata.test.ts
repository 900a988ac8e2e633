import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import * as z from 'zod';
import { commands } from '../plugin/inputs.ts';
import { statuses } from '../plugin/outcome.ts';

const root = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

// GitHub, "Metadata syntax for GitHub Actions"; the marketplace takes 125 characters of description.
const Metadata = z.strictObject({
  name: z.string().max(60),
  description: z.string().max(125),
  author: z.string(),
  branding: z.strictObject({ icon: z.string(), color: z.string() }),
  inputs: z.record(
    z.string().regex(/^[a-z-]+$/),
    z.strictObject({ description: z.string().min(10), required: z.literal(false), default: z.string().optional() }),
  ),
  outputs: z.record(z.string().regex(/^[a-z-]+$/), z.strictObject({ description: z.string().min(10) })),
  runs: z.strictObject({ using: z.literal('node24'), main: z.string(), post: z.string(), 'post-if': z.literal('always()') }),
});
const metadata = (path: string) => Metadata.parse(parse(read(path)));
const main = metadata('action.yml');

/** The first column of the table below a heading of docs/github.md, and the rest of each row. */
function rowsOf(heading: string): readonly (readonly [string, string])[] {
  const [, section = ''] = read('docs/github.md').split(`\n## ${heading}\n`);
  const [body = ''] = section.split('\n## ');
  return Array.from(body.matchAll(/^\| `([a-z-]+)` \|(.*)\|$/gm), ([, name = '', rest = '']) => [name, rest] as const);
}

test('docs/github.md has every input with its default, and every output, in the order of action.yml', () => {
  const documented = rowsOf('Inputs');
  assert.deepEqual(
    documented.map(([name]) => name),
    Object.keys(main.inputs),
  );
  for (const [name, rest] of documented) {
    const fallback = main.inputs[name]?.default;
    // Internal inputs have expressions for defaults.
    if (fallback !== undefined && !fallback.startsWith('$')) assert.ok(rest.startsWith(` \`${fallback}\` |`), name);
  }
  assert.deepEqual(
    rowsOf('Outputs').map(([name]) => name),
    Object.keys(main.outputs),
  );
});

test('action.yml and docs/github.md name every command and every status', () => {
  const [, described = ''] = rowsOf('Outputs').find(([name]) => name === 'status') ?? [];
  for (const status of statuses) {
    assert.ok(described.includes(`\`${status}\``), status);
    assert.ok(main.outputs.status?.description.includes(status), status);
  }
  for (const command of commands) assert.ok(main.inputs.command?.description.includes(command), command);
});

test('the README names only inputs that there are', () => {
  const [, section = ''] = read('README.md').split('\n## GitHub\n');
  const [, yaml = ''] = section.split('```yaml\n');
  const Step = z.object({ uses: z.string().optional(), with: z.record(z.string(), z.unknown()).optional() });
  const Workflow = z.object({ jobs: z.record(z.string(), z.object({ steps: z.array(Step) })) });
  const { jobs } = Workflow.parse(parse(yaml.split('```')[0] ?? ''));
  const steps = Object.values(jobs).flatMap((job) => job.steps.filter(({ uses }) => uses?.startsWith('chainloop/attest@') === true));
  assert.equal(steps.length, 1);
  for (const name of Object.keys(steps[0]?.with ?? {})) assert.ok(Object.hasOwn(main.inputs, name), name);
});

test('each alias is the action for one command, in the same words', () => {
  const aliases = readdirSync(join(root, 'action'), { withFileTypes: true }).filter(
    (entry) => entry.isDirectory() && entry.name !== 'dist',
  );
  assert.deepEqual(aliases.map(({ name }) => name).toSorted(), [...commands].toSorted());
  for (const { name } of aliases) {
    const alias = metadata(`action/${name}/action.yml`);
    const { command, ...inputs } = alias.inputs;
    assert.equal(command?.default, name);
    for (const [input, described] of Object.entries(inputs)) assert.deepEqual(described, main.inputs[input], `${name}: ${input}`);
    for (const [output, described] of Object.entries(alias.outputs))
      assert.deepEqual(described, main.outputs[output], `${name}: ${output}`);
    assert.deepEqual(alias.runs, { ...main.runs, main: '../dist/main.js', post: '../dist/post.js' });
  }
});
