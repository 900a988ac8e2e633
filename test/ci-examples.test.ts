import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { parse } from 'yaml';
import * as z from 'zod';
import { contract, cycloneDx, root } from './action/scene.ts';
import { type ControlPlane, startControlPlane } from './fakes/control-plane.ts';
import { fakeNpx } from './fakes/tools.ts';

// The examples for Jenkins, Azure Pipelines, CircleCI and Buildkite: what their shell runs is taken from the file, and run, in their order and
// under their conditions, with the variables that their documentation gives a job.

type Step = { readonly script: string; readonly when: 'success' | 'always' | 'failure' };
type Ci = {
  readonly file: string;
  readonly runner: string;
  readonly env: Readonly<Record<string, string>>;
  /** What of it tells a step how the job goes. */
  readonly status?: (failed: boolean) => Readonly<Record<string, string>>;
  readonly steps: (text: string) => readonly Step[];
};

const commit = '9a96775da456e595f242bb9b5826cf46d8dd5d81';

const Azure = z.object({ steps: z.array(z.object({ script: z.string().optional(), condition: z.string().optional() })) });
const CircleRun = z.string().or(z.object({ command: z.string(), when: z.literal('on_fail') }));
const Circle = z.object({ jobs: z.object({ release: z.object({ steps: z.array(z.unknown()) }) }) });
const Buildkite = z.object({ steps: z.tuple([z.object({ command: z.string() })]) });

const systems: readonly Ci[] = [
  {
    file: 'jenkins/Jenkinsfile',
    runner: 'JENKINS_JOB',
    env: {
      JENKINS_URL: 'https://ci.example.com/',
      BUILD_URL: 'https://ci.example.com/job/app/7/',
      BUILD_NUMBER: '7',
      JOB_NAME: 'app',
      GIT_COMMIT: commit,
    },
    // Groovy has put it into the text of the step.
    status: (failed) => ({ RESULT: failed ? 'FAILURE' : 'SUCCESS' }),
    steps: (text) =>
      Array.from(text.matchAll(/^ *sh (?:'''([\s\S]*?)'''|'([^']*)'|"([^"]*)")/gm), ([, long, single, double]) => ({
        // In ''' Groovy reads \ as a part of the text before the line break.
        script: long ?? single ?? (double ?? '').replace(`\${currentBuild.currentResult}`, '$RESULT'),
        when: double === undefined ? 'success' : 'always',
      })),
  },
  {
    file: 'azure-pipelines/azure-pipelines.yml',
    runner: 'AZURE_PIPELINE',
    env: {
      TF_BUILD: 'True',
      BUILD_BUILDID: '7',
      SYSTEM_JOBID: 'j',
      SYSTEM_COLLECTIONID: 'c',
      SYSTEM_JOBATTEMPT: '1',
      BUILD_SOURCEVERSION: commit,
    },
    status: (failed) => ({ AGENT_JOBSTATUS: failed ? 'Failed' : 'Succeeded' }),
    steps: (text) =>
      Azure.parse(parse(text)).steps.flatMap(({ script, condition }) =>
        script === undefined ? [] : [{ script, when: condition === 'always()' ? 'always' : 'success' }],
      ),
  },
  {
    file: 'circleci/config.yml',
    runner: 'CIRCLECI_BUILD',
    env: {
      CIRCLECI: 'true',
      CIRCLE_WORKFLOW_ID: 'w',
      CIRCLE_WORKFLOW_JOB_ID: 'j',
      CIRCLE_BUILD_NUM: '7',
      CIRCLE_NODE_INDEX: '0',
      CIRCLE_SHA1: commit,
    },
    steps: (text) =>
      Circle.parse(parse(text)).jobs.release.steps.flatMap((step): Step[] => {
        const run = z.object({ run: CircleRun }).safeParse(step);
        if (!run.success) return [];
        return [
          typeof run.data.run === 'string' ? { script: run.data.run, when: 'success' } : { script: run.data.run.command, when: 'failure' },
        ];
      }),
  },
  {
    file: 'buildkite/pipeline.yml',
    runner: 'BUILDKITE_PIPELINE',
    env: {
      BUILDKITE: 'true',
      BUILDKITE_BUILD_URL: 'https://buildkite.com/acme/app/builds/7',
      BUILDKITE_BUILD_ID: 'b',
      BUILDKITE_JOB_ID: 'j',
      BUILDKITE_COMMIT: commit,
    },
    steps: (text) => [{ script: Buildkite.parse(parse(text)).steps[0].command.replaceAll('$$', '$'), when: 'success' }],
  },
];

let opening: Promise<ControlPlane> | undefined;
const open = (): Promise<ControlPlane> => {
  opening ??= startControlPlane();
  return opening;
};
after(async () => (await opening)?.[Symbol.asyncDispose]());

test('the examples run the released version of this package', async () => {
  const { version }: { readonly version: string } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  for (const { file } of systems) {
    const text = await readFile(join(root, 'examples', file), 'utf8');
    for (const [, named] of text.matchAll(/npx --yes (\S+)/g)) assert.equal(named, `chainloop@${version}`, file);
  }
});

for (const [index, ci] of systems.entries()) {
  test(`${ci.file}: a build is attested, and one that fails is a run that has failed`, async () => {
    const plane = await open();
    await using home = await mkdtempDisposable(join(tmpdir(), 'chainloop-ci-'));
    const { api } = await plane.createOrganization(`acme-${index}`);
    await api.contract.create.mutate({ name: 'release', format: 'yaml', body: contract });
    const token = await plane.createServiceAccount(api, { workflow: 'release', project: 'app', contract: 'release' });
    const steps = ci.steps(await readFile(join(root, 'examples', ci.file), 'utf8'));
    assert.match(steps.map(({ script }) => script).join('\n'), /build\.sh[\s\S]*chainloop@\S+ attest /);

    const job = async (
      buildScript: string,
      number: string,
    ): Promise<{ readonly log: string; readonly failed: boolean; readonly folder: string }> => {
      const folder = join(home.path, number);
      const checkout = join(folder, 'checkout');
      await mkdir(checkout, { recursive: true });
      await writeFile(join(checkout, 'build.sh'), `#!/bin/sh\n${buildScript}`);
      await chmod(join(checkout, 'build.sh'), 0o755);
      const tools = await fakeNpx(folder);
      let [log, failed] = ['', false];
      for (const { script, when } of steps) {
        if (when !== 'always' && failed !== (when === 'failure')) continue;
        const numbered = Object.fromEntries(Object.entries(ci.env).map(([name, value]) => [name, value === '7' ? number : value]));
        const env = {
          ...{ ...numbered, ...ci.status?.(failed), HOME: folder, CHAINLOOP_URL: plane.url, CHAINLOOP_TOKEN: token, NO_COLOR: '1' },
          PATH: [tools, dirname(process.execPath), process.env.PATH].join(':'),
        };
        const child = spawn('bash', ['-e', '-c', script], { cwd: checkout, env, stdio: ['ignore', 'pipe', 'pipe'] });
        for (const stream of [child.stdout, child.stderr])
          stream.setEncoding('utf8').on('data', (piece: string) => {
            log += piece;
          });
        const [code]: unknown[] = await once(child, 'close');
        if (code !== 0) failed = true;
      }
      return { log, failed, folder: checkout };
    };

    const good = await job(`set -e\nmkdir dist\necho hello > dist/app\necho '${cycloneDx}' > dist/app.cdx.json\n`, '7');
    assert.equal(good.failed, false, good.log);
    const runs = async () => (await api.run.list.query({ workflow: 'release', project: 'app' })).items;
    const [run] = await runs();
    assert.equal(run?.state, 'success', good.log);
    const described = await api.run.describe.query({ id: run?.id ?? '' });
    assert.equal(described.run.runnerType, ci.runner);
    assert.equal(described.attestation?.materials.find(({ name }) => name === 'commit')?.value, commit);
    const reports = ci.file.startsWith('circleci') ? 'chainloop' : '.';
    for (const file of ['chainloop-junit.xml', 'chainloop-bundle.json', 'chainloop-summary.md'])
      assert.notEqual(await readFile(join(good.folder, reports, file), 'utf8'), '', file);

    const bad = await job('exit 7\n', '8');
    assert.equal(bad.failed, true);
    assert.equal((await runs()).length, 2, bad.log);
    assert.equal((await runs())[0]?.state, 'failed', bad.log);
  });
}
