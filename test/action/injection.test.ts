import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import type { JobResult } from '../fakes/actions-runner/job.ts';
import { startFaultProxy } from '../fakes/fault-proxy.ts';
import { checkout, contract, cycloneDx, materials, put, type Scene, startScene } from './scene.ts';

// faults.md S15: nothing that a stranger can write (a file name, a text, a branch, a commit) becomes a command to the runner, an output, a
// variable of later steps or a step of a shell.

const uses = 'chainloop/attest@v1';
let scene: Scene;
before(async () => {
  scene = await startScene();
});
after(async () => {
  await scene?.[Symbol.asyncDispose]();
});

const outputs = [
  'attestation-id',
  'bundle-path',
  'contract-revision',
  'digest',
  'materials',
  'missing-materials',
  'status',
  'subjects',
  'attachments',
  'url',
];
/** Commands of every kind, as a stranger would hide them in a text: at the start of a line, after each kind of line break, anywhere. */
const commands = '::set-output name=pwned::1##[set-output name=pwned]1##[error]pwned';
const breaks = ['\n', '\r', '\r\n', '\u2028', '\u0085', '\v'];

/** Nothing of it worked: only our outputs, no annotation but those that speak of ours, no state and no group of theirs. */
function unharmed(job: JobResult, status: string): void {
  for (const step of [...job.steps, ...job.posts]) {
    assert.deepEqual(
      Object.keys(step.outputs).filter((name) => !outputs.includes(name)),
      [],
      step.raw,
    );
    for (const { message, title } of step.annotations) assert.doesNotMatch(`${title}${message}`, /^pwned/m, step.raw);
    assert.deepEqual(
      Object.keys(step.state).filter((name) => /pwned/.test(name)),
      [],
    );
    assert.deepEqual(
      step.groups.filter((name) => !/^(Contract|Materials|Sign|Push)/.test(name)),
      [],
    );
  }
  assert.equal(job.steps[0]?.outputs.status, status, job.log);
}

test('texts of materials and annotations are no commands', async () => {
  const text = breaks.map((end) => `a${end}${commands}`).join('');
  // A line break ends a line of the input: what is left of the text is then no material at all.
  const job = await scene.job([{ uses, with: { ...scene.inputs, materials: `${materials}\n${text}` } }]);
  unharmed(job, 'failed');
  const inLine = await scene.job([
    { uses, with: { ...scene.inputs, materials: `binary=dist/app\nsbom=dist/app.cdx.json\ncommit=${commands}\u2028${commands}` } },
  ]);
  unharmed(inLine, 'passed');
  const { attestation } = await scene.describe(inLine.steps[0]);
  assert.equal(attestation?.materials.find(({ name }) => name === 'commit')?.value, `${commands}\u2028${commands}`);
});

test('names of files are no commands, whatever is in them', async () => {
  for (const end of ['\n', '\r', '\u2028', '']) {
    const name = `app${end}${commands}|\`</details><img src=x>`.replaceAll('/', '\u2215');
    const job = await scene.job([{ uses, with: { ...scene.inputs, materials: 'binary=dist/app?*\nsbom=dist/x.cdx.json\ncommit=x' } }], {
      async prepare(workspace) {
        await put(workspace, `dist/${name}`, 'content');
        await put(workspace, 'dist/x.cdx.json', cycloneDx);
      },
    });
    unharmed(job, job.steps[0]?.outcome === 'success' ? 'passed' : 'failed');
    assert.doesNotMatch(job.steps[0]?.summary ?? '', /<img|<\/details><img/);
  }
});

test('every input may be hostile: none becomes a command, an output or a path', async () => {
  const names = [
    'command',
    'organization',
    'project',
    'workflow',
    'contract-revision',
    'attestation-id',
    'auth',
    'audience',
    'signing',
    'attach',
    'on-violation',
    'on-outage',
    'retry-timeout',
    'fork-pr',
    'dry-run',
    'show-summary',
    'materials-file',
    'control-plane',
  ];
  for (const hostile of [`x\n${commands}`, 'x\nstatus<<E\npassed\nE', "x'; touch pwned; '", '$(touch pwned)`touch pwned`']) {
    const given = Object.fromEntries(names.map((name) => [name, hostile]));
    const job = await scene.job([
      { uses, with: given },
      { run: 'ls', if: 'always()' },
    ]);
    unharmed(job, 'failed');
    assert.doesNotMatch(job.steps[1]?.raw ?? '', /pwned/);
  }
});

test('a bundle-path of several lines breaks no output', async () => {
  const job = await scene.job([
    { id: 'a', uses, with: { ...scene.inputs, materials, 'bundle-path': `out\nstatus=pwned\n${commands}` } },
    { run: 'echo "${{ steps.a.outputs.status }}"' },
  ]);
  unharmed(job, 'passed');
  assert.equal(job.steps[1]?.raw, 'passed');
});

test('expressions in files are texts: they are never evaluated', async () => {
  const run = scene.newRun({ secrets: { CANARY: 'canary-of-the-repository' } });
  const job = await scene.job([{ uses, with: { ...scene.inputs, 'materials-file': 'm', annotations: '' } }], {
    run,
    async prepare(workspace) {
      await checkout(workspace);
      await put(workspace, 'm', 'binary=dist/app\nsbom=dist/app.cdx.json\ncommit=${{ secrets.CANARY }} ${{ github.token }}\n');
    },
  });
  unharmed(job, 'passed');
  const { attestation } = await scene.describe(job.steps[0]);
  assert.equal(attestation?.materials.find(({ name }) => name === 'commit')?.value, '${{ secrets.CANARY }} ${{ github.token }}');
});

test('names of a matrix, of a job and of a branch are no commands', async () => {
  const branch = `topic|\`${commands}\`</details>`;
  const run = scene.newRun({
    event: { ref: `refs/heads/${branch}`, ref_name: branch, head_ref: branch, actor: commands },
    claims: { ref: 'refs/heads/main', actor: 'alice' },
  });
  const job = await scene.job([{ uses, with: { ...scene.inputs, materials } }], {
    run,
    contexts: { matrix: { arch: `x\n${commands}`, more: { deep: commands } } },
  });
  unharmed(job, 'passed');
});

test('a commit of a stranger is no command', async () => {
  await using repository = await mkdtempDisposable(join(tmpdir(), 'chainloop-stranger-'));
  const git = async (...args: readonly string[]): Promise<string> =>
    (await promisify(execFile)('git', args, { cwd: repository.path })).stdout.trim();
  await git('init', '--quiet');
  const author = ['-c', `user.name=x ${commands}`, '-c', 'user.email=x@example.com'];
  await git(...author, 'commit', '--quiet', '--allow-empty', '--message', `m\n\n${commands}\n::error::pwned`);
  await git('remote', 'add', 'origin', 'https://user:canary-password@example.com/acme/app.git');
  const sha = await git('rev-parse', 'HEAD');
  const job = await scene.job([{ uses, with: { ...scene.inputs, materials } }], {
    run: scene.newRun({ event: { sha } }),
    async prepare(workspace) {
      await checkout(workspace);
      await cp(join(repository.path, '.git'), join(workspace, '.git'), { recursive: true });
    },
  });
  unharmed(job, 'passed');
  const described = JSON.stringify(await scene.describe(job.steps[0]));
  assert.match(described, new RegExp(`"commit":"${sha}"`));
  assert.doesNotMatch(described, /canary-password/);
});

test('what a control plane answers is no command', async () => {
  await using proxy = await startFaultProxy({ target: scene.plane.url });
  const message = `no\n${commands}\r${commands}`;
  const body = JSON.stringify({
    error: { message, code: -32_603, data: { code: 'FORBIDDEN', httpStatus: 403, problems: [{ message }], requestId: commands } },
  });
  proxy.inject({ type: 'status', status: 403, headers: { 'content-type': 'application/json' }, body, times: 100 });
  const job = await scene.job([{ uses, with: { ...scene.inputs, 'control-plane': proxy.origin, materials } }]);
  assert.equal(job.status, 'failure');
  unharmed(job, 'failed');
});

test('only the variables that the contract names, and those of the runner, are in the attestation', async () => {
  await using own = await startScene({ contract: `${contract}envAllowList: [BUILD_ID]\n` });
  const env = { BUILD_ID: '42', AWS_SECRET_ACCESS_KEY: 'canary-of-aws', npm_config_token: 'canary-of-npm', BUILD_ID_2: 'canary-of-build' };
  const job = await own.job([{ uses, env, with: { ...own.inputs, materials } }]);
  const { attestation } = await own.describe(job.steps[0]);
  assert.equal(attestation?.env.BUILD_ID, '42', job.log);
  assert.doesNotMatch(JSON.stringify(attestation), /canary-of/);
});

test('a later step gets no variable and no path from ours', async () => {
  const job = await scene.job([
    { run: 'env | sort | grep -v "^_=\\|FILE_COMMANDS\\|GITHUB_\\(OUTPUT\\|ENV\\|STATE\\|PATH\\|STEP_SUMMARY\\|ACTION\\)="' },
    { uses, with: { ...scene.inputs, materials } },
    { run: 'env | sort | grep -v "^_=\\|FILE_COMMANDS\\|GITHUB_\\(OUTPUT\\|ENV\\|STATE\\|PATH\\|STEP_SUMMARY\\|ACTION\\)="' },
  ]);
  assert.equal(job.steps[0]?.raw, job.steps[2]?.raw);
});
