import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseDocument } from 'yaml';
import * as z from 'zod';
import { needs } from '../needs.ts';
import { build, componentVersion, root, startScene } from './scene.ts';
import { templates } from './templates.ts';

// README.md, docs/gitlab.md, the README of the components, the examples and the templates speak of the same inputs.

const text = (file: string): string => readFileSync(join(root, file), 'utf8');
const guide = text('docs/gitlab.md');
const { version }: { readonly version: string } = JSON.parse(text('package.json'));

const section = (document: string, heading: string): string =>
  document.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? '';

/** The blocks of YAML in a document. */
const blocks = (document: string): readonly string[] =>
  Array.from(document.matchAll(/^```yaml\n([\s\S]*?)^```/gm), ([, block = '']) => block);

const Row = z.tuple([z.string(), z.string(), z.string(), z.string()]);
/** The table of inputs: name, default, components, meaning. */
const rows = Array.from(section(guide, 'Inputs').matchAll(/^\| `([\w-]+)` \|([^|]*)\|([^|]*)\|(.*)\|$/gm), ([, ...cells]) =>
  Row.parse(cells.map((cell) => cell.trim())),
);

test('docs/gitlab.md has every input of the components, and no other', () => {
  const all = new Set(templates.flatMap(({ inputs }) => Object.keys(inputs)));
  assert.deepEqual(rows.map(([name]) => name).toSorted(), [...all].toSorted());
});

test('docs/gitlab.md says which components have an input', () => {
  for (const [name, , components] of rows) {
    const having = templates.filter(({ inputs }) => inputs[name] !== undefined).map((template) => template.name);
    const documented =
      components === 'all' ? templates.map((template) => template.name) : Array.from(components.matchAll(/`(\w+)`/g), ([, one]) => one);
    assert.deepEqual(documented.toSorted(), having.toSorted(), name);
  }
});

test('the defaults in docs/gitlab.md are those of the components', () => {
  for (const [name, documented] of rows) {
    const defaults = new Set(
      templates
        .flatMap(({ inputs: { [name]: input } }) => (input === undefined ? [] : [input.default ?? 'required']))
        .map((one) => JSON.stringify(one)),
    );
    const [only = ''] = defaults;
    // What differs between components, or comes from a variable or the binding, is said in words.
    if (defaults.size > 1 || only === '""') continue;
    if (name === 'rules') assert.equal(only, '[{"if":"$CI_COMMIT_BRANCH || $CI_COMMIT_TAG"}]');
    else
      assert.equal(
        documented.replaceAll('`', '').replace('<version>', version),
        only === '"required"' ? 'required' : only.replaceAll('"', ''),
        name,
      );
  }
});

const Include = z.object({ include: z.array(z.object({ component: z.string(), inputs: z.record(z.string(), z.unknown()).default({}) })) });

/** Every use of our components in a piece of YAML. */
function uses(yaml: string): readonly { readonly component: string; readonly version: string; readonly inputs: readonly string[] }[] {
  const parsed = Include.safeParse(parseDocument(yaml, { customTags: [{ tag: '!reference', collection: 'seq' }] }).toJS());
  return (parsed.success ? parsed.data.include : []).flatMap(({ component, inputs }) => {
    const [, name = '', at = ''] = /^\$CI_SERVER_FQDN\/(?:chainloop\/attest|\$CI_PROJECT_PATH)\/(\w+)@(.+)$/.exec(component) ?? [];
    return [{ component: name, version: at, inputs: Object.keys(inputs) }];
  });
}

test('what the documents and examples show uses only components and inputs that are there, and all that are required', () => {
  const documents = ['README.md', 'gitlab-component/README.md', ...globSync('docs/*.md', { cwd: root })].flatMap((file) =>
    blocks(text(file)).map((yaml) => ({ file, yaml })),
  );
  const pipelines = [...globSync('examples/gitlab/*.yml', { cwd: root }), 'gitlab-component/.gitlab-ci.yml'].map((file) => ({
    file,
    yaml: text(file),
  }));
  let shown = 0;
  for (const { file, yaml } of [...documents, ...pipelines]) {
    for (const { component, inputs } of uses(yaml)) {
      shown++;
      const template = templates.find(({ name }) => name === component);
      assert.ok(template !== undefined, `${file}: ${component}`);
      for (const input of inputs) assert.ok(Object.hasOwn(template.inputs, input), `${file}: ${component}: ${input}`);
      for (const [input, spec] of Object.entries(template.inputs))
        assert.ok(spec.default !== undefined || inputs.includes(input), `${file}: ${component} needs ${input}`);
    }
  }
  assert.ok(shown >= 20, `${shown} uses were found`);
});

test('the variables that a job hands on are those of the documents', () => {
  const written = Array.from(text('cli/attest-reports.ts').matchAll(/^ +(CHAINLOOP_\w+):/gm), ([, name]) => name);
  assert.ok(written.length > 3);
  for (const document of [section(guide, 'What the job leaves'), section(text('gitlab-component/README.md'), 'attest')])
    for (const name of written) assert.match(document, new RegExp(`\`${name}\``));
});

test('what the README shows for GitLab works when it is pasted', async (t) => {
  if (!needs(t, 'rsync')) return;
  const [pipeline = '', binding = ''] = blocks(section(text('README.md'), 'GitLab'));
  await using scene = await startScene({ binding: false });
  await scene.api.workflow.create.mutate({ name: 'release', project: 'app', contract: 'release' });
  await scene.api.binding.create.mutate({ format: 'yaml', body: binding.replace(/^issuer: .*$/m, `issuer: ${scene.gitlab.issuer}`) });
  const { jobs, output } = await scene.pipeline(`stages: [build, test]\n${pipeline}\n${build}`);
  assert.equal(jobs['chainloop-attest']?.exitCode, 0, output);
});

test('the pipeline of the components tests them, and its release has one version', async (t) => {
  if (!needs(t, 'rsync')) return;
  await using scene = await startScene();
  const files = Object.fromEntries(
    globSync('gitlab-component/**/*.{md,yml}', { cwd: root }).map((file) => [file.replace('gitlab-component/', ''), text(file)]),
  );
  const yaml = text('gitlab-component/.gitlab-ci.yml');
  const release = (tag: string) => scene.pipeline(yaml, { files, path: 'chainloop/components', variables: { CI_COMMIT_TAG: tag } });
  const good = await release(version);
  assert.deepEqual(Object.fromEntries(Object.entries(good.jobs).map(([name, { exitCode }]) => [name, exitCode])), {
    'chainloop-attest': 0,
    version: 0,
    release: 0,
  });
  assert.match(await good.file('chainloop.env'), /^CHAINLOOP_STATUS=dry-run$/m);
  const other = await release(componentVersion);
  assert.equal(other.jobs.version?.exitCode, 1, other.output);
  assert.equal(other.jobs.release, undefined);
  assert.deepEqual(await scene.runs(), []);
});
