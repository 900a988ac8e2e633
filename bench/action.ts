import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createApi } from '../client/api.ts';
import { startInstalledServer } from '../test/fakes/installed-server.ts';
import { githubJob, startIssuer } from '../test/fakes/issuer.ts';
import { run, type Sample } from '../test/fakes/process.ts';
import { bundled } from './bundled.ts';
import type { Group } from './context.ts';
import { pairs, spread, timed } from './measure.ts';
import { compared } from './report.ts';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'action', 'dist');
const program = join(dist, 'main.js');
const files = ['one', 'two', 'three', 'four'];
/** As the step says them in its debug log. */
const parts = ['start', 'exchange', 'check', 'init', 'upload', 'sign', 'push'];

/** G9: what the step of the Action costs a job: its start alone, and all of it for four files of 1 MB, each time in a new process. */
export const action: Group = async function* ({ installed, home, runs }) {
  const temp = join(home, 'runner');
  const workspace = join(home, 'workspace');
  await mkdir(temp);
  await mkdir(workspace);
  for (const name of files) await writeFile(join(workspace, name), randomBytes(1_000_000));
  const fork = join(home, 'fork.json');
  await writeFile(fork, JSON.stringify({ pull_request: { head: { repo: { id: 1 } }, base: { repo: { id: 2 } } } }));

  const told = { GITHUB_OUTPUT: join(home, 'output'), GITHUB_STATE: join(home, 'state'), GITHUB_STEP_SUMMARY: join(home, 'summary') };
  const event = { GITHUB_EVENT_NAME: 'pull_request', GITHUB_EVENT_PATH: fork, 'INPUT_CONTROL-PLANE': 'http://127.0.0.1:1' };
  const skipped = { program: process.execPath, args: [program], env: { RUNNER_TEMP: temp, ...event, ...told } };
  const node = timed({ program: process.execPath, args: ['-e', '0'] });
  yield compared('G9 (a) the step of a pull request from a fork', await pairs(runs.short, timed(skipped), node), {
    unit: 's',
    reference: 'node -e 0',
    goal: { of: 'ratio', atMost: 1.4 },
  });

  const signing = join(home, 'signing.mjs');
  const late = (await readdir(dist)).filter((name) => /^(perform|judge)-/.test(name));
  await writeFile(signing, late.map((name) => `await import(${JSON.stringify(join(dist, name))});\n`).join(''));
  const eager = timed({ program: process.execPath, args: [await bundled('eager', home)] });
  yield compared(
    'G9 (b) what a keyless step loads',
    await pairs(runs.short, timed({ program: process.execPath, args: [signing] }), eager),
    {
      unit: 's',
      reference: 'one eager bundle',
      goal: { of: 'ratio', atMost: 0.7 },
    },
  );

  await using issuer = await startIssuer();
  const issuers = join(home, 'issuers.json');
  await writeFile(
    issuers,
    JSON.stringify({ issuers: [{ issuer: issuer.issuer, kind: 'github', serverUrl: 'https://github.com', allowInsecure: true }] }),
  );
  await using server = await startInstalledServer({ bin: installed.bin, args: ['--issuers', issuers] });
  const operator = createApi({ url: server.url, token: server.env.CHAINLOOP_TOKEN ?? '', organization: 'acme' });
  const contract = `schemaVersion: v1\nmaterials:\n${files.map((name) => `  - { type: ARTIFACT, name: ${name}, output: true }\n`).join('')}`;
  await operator.contract.create.mutate({ name: 'release', format: 'yaml', body: contract });
  await operator.workflow.create.mutate({ name: 'release', project: 'app', contract: 'release' });
  const { repository, repository_id, repository_owner_id } = githubJob;
  const binding = { workflow: 'app/release', issuer: issuer.issuer, repository, repositoryId: repository_id, ownerId: repository_owner_id };
  await operator.binding.create.mutate({ format: 'json', body: JSON.stringify({ ...binding, refs: ['refs/heads/main'] }) });

  const samples: Sample[] = [];
  let number = 0;
  const step = async (): Promise<number> => {
    await rm(join(temp, 'chainloop'), { recursive: true, force: true });
    for (const name of files) await writeFile(join(workspace, name), randomBytes(1_000_000));
    issuer.setJob({ ...githubJob, run_id: String(++number) });
    const sample = await run({
      program: process.execPath,
      args: [program],
      cwd: workspace,
      env: {
        ...{ GITHUB_ACTIONS: 'true', GITHUB_WORKSPACE: workspace, RUNNER_TEMP: temp, GITHUB_RUN_ID: String(number), ...issuer.githubEnv },
        'INPUT_CONTROL-PLANE': server.url,
        INPUT_MATERIALS: files.map((name) => `${name}=${name}`).join('\n'),
      },
    });
    samples.push(sample);
    return sample.seconds;
  };
  yield compared('the step, four files of 1 MB, keyless', await pairs(runs.long, step, node), {
    unit: 's',
    reference: 'node -e 0',
    goal: { of: 'ours', atMost: 2 },
  });
  for (const part of parts) {
    const found = samples
      .slice(1)
      .flatMap(({ stdout }) => Number(new RegExp(`^::debug::${part} took (\\d+) ms$`, 'm').exec(stdout)?.[1] ?? []));
    yield { type: 'measured', name: `  of that: ${part}`, ours: { ...spread(found), unit: 'ms' } };
  }
};
