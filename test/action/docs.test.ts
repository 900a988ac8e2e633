import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { mkdir, mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import * as z from 'zod';
import { statuses } from '../../plugin/outcome.ts';
import { readAction } from '../fakes/actions-runner/metadata.ts';
import { runWorkflow } from '../fakes/actions-runner/workflow.ts';
import { checkout, put, root, standIns, startScene } from './scene.ts';

// README.md, docs/github.md, the examples and action.yml speak of one action.

const text = (file: string): Promise<string> => readFile(join(root, file), 'utf8');
const action = await readAction(root);
const guide = await text('docs/github.md');

/** The rows of a table below a heading: the first cell's code, and the second cell. */
function rows(document: string, heading: string): readonly (readonly [string, string])[] {
  const section = document.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? '';
  return Array.from(section.matchAll(/^\| `([^`]+)` \| ([^|]*)\|/gm), ([, name = '', cell = '']) => [name, cell.trim()]);
}

/** The blocks of YAML in a document. */
const blocks = (document: string): readonly string[] =>
  Array.from(document.matchAll(/^```yaml\n([\s\S]*?)^```/gm), ([, block = '']) => block);

test('docs/github.md has every input of action.yml, in its order, and no other', () => {
  assert.deepEqual(
    rows(guide, 'Inputs').map(([name]) => name),
    Object.keys(action.inputs),
  );
});

test('the defaults in docs/github.md are those of action.yml', () => {
  for (const [name, cell] of rows(guide, 'Inputs')) {
    const given = action.inputs[name]?.default ?? '';
    const documented = /^`([^`$.]+)`$/.exec(cell)?.[1] ?? '';
    if (!given.includes('${{')) assert.equal(documented, given, name);
  }
});

test('docs/github.md has every output of action.yml, in its order, and every status', () => {
  const documented = rows(guide, 'Outputs');
  assert.deepEqual(
    documented.map(([name]) => name),
    Object.keys(action.outputs),
  );
  const [, status = ''] = documented.find(([name]) => name === 'status') ?? [];
  assert.deepEqual(
    Array.from(status.matchAll(/`([\w-]+)`/g), ([, one]) => one),
    [...statuses],
  );
  for (const one of statuses) assert.match(action.outputs.status?.description ?? '', new RegExp(`\\b${one}\\b`));
});

test('an alias has inputs and outputs of the action, described in the same words', async () => {
  const aliases = globSync('action/*/action.yml', { cwd: root });
  assert.equal(aliases.length, 6);
  for (const file of aliases) {
    const alias = await readAction(join(root, file, '..'));
    for (const [name, input] of Object.entries(alias.inputs)) {
      if (name === 'command') assert.equal(input.default, file.split('/')[1], file);
      else assert.deepEqual(input, action.inputs[name], `${file}: ${name}`);
    }
    for (const [name, output] of Object.entries(alias.outputs)) assert.deepEqual(output, action.outputs[name], `${file}: ${name}`);
  }
});

const Uses = z.object({ uses: z.string(), with: z.record(z.string(), z.unknown()).default({}) });

/** Every step of ours in a piece of YAML, wherever it stands. */
function ours(value: unknown): readonly z.infer<typeof Uses>[] {
  if (typeof value !== 'object' || value === null) return [];
  const step = Uses.safeParse(value);
  const here = step.success && /^chainloop\/attest(@|\/action)/.test(step.data.uses) ? [step.data] : [];
  return [...here, ...Object.values(value).flatMap(ours)];
}

test('what the documents show uses only inputs and outputs that are there', async () => {
  let shown = 0;
  for (const file of ['README.md', ...globSync('docs/*.md', { cwd: root })]) {
    const document = await text(file);
    for (const block of blocks(document)) {
      for (const step of ours(parse(block))) {
        shown++;
        for (const name of Object.keys(step.with)) assert.ok(Object.hasOwn(action.inputs, name), `${file}: ${name}`);
      }
    }
  }
  assert.ok(shown >= 3, `${shown} steps were found`);
  const examples = await Promise.all(globSync('examples/github/*.yml', { cwd: root }).map(text));
  for (const [, name = ''] of examples.join('\n').matchAll(/steps\.(?:attestation|att)\.outputs\.([\w-]+)/g))
    assert.ok(Object.hasOwn(action.outputs, name), name);
});

test('what the README shows for GitHub works when it is pasted', async () => {
  const [workflow = '', binding = ''] = blocks((await text('README.md')).split(/^## GitHub$/m)[1] ?? '');
  await using scene = await startScene({ bound: false });
  await scene.plane.createOrganization('other');
  await scene.api.workflow.create.mutate({ name: 'release', project: 'app', contract: 'release' });
  const local = binding.replace(/^issuer: .*$/m, `issuer: ${scene.github.issuer}`);
  await scene.api.binding.create.mutate({ format: 'yaml', body: local });
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-readme-'));
  await mkdir(join(folder.path, 'artifacts'));
  const project = async (workspace: string): Promise<void> => {
    await checkout(workspace);
    await put(workspace, 'build.sh', '#!/bin/sh\nexit 0\n');
  };
  const run = scene.newRun({ sources: standIns(project, join(folder.path, 'artifacts')), vars: scene.vars });
  const { status, jobs } = await runWorkflow(run, `on: push\n${workflow.replace('run: ./build.sh', 'run: sh ./build.sh')}`);
  assert.equal(status, 'success', jobs.release?.log);
  assert.equal(jobs.release?.steps.at(-1)?.outputs.status, 'passed');
});
