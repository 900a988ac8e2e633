import assert from 'node:assert/strict';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { databaseKinds, type Kind } from './databases.ts';
import { type CiJob, startGithubJob, startGitlabJob } from './fakes/ci-job.ts';
import { commandLine } from './fakes/command-line.ts';
import { type FederatedPlane, startFederatedPlane } from './fakes/federated.ts';
import { refused, succeeded } from './fakes/workplace.ts';
import { needs } from './needs.ts';

/** The journey of jobs that have no secret: the real command line, as processes, on machines that share nothing. */

const cells = Array.from({ length: 20 }, (_, index) => `binary-${String(index + 1).padStart(2, '0')}`);
const contract = `schemaVersion: v1
materials:
  - { type: STRING, name: commit }
  - { type: ARTIFACT, name: binary, output: true }
  - { type: STRING, name: note, optional: true }
${cells.map((name) => `  - { type: ARTIFACT, name: ${name}, optional: true, output: true }`).join('\n')}
`;

const githubSan = 'https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main';
const gitlabSan = 'https://gitlab.com/acme/app//.gitlab-ci.yml@refs/heads/main';

type Bench = FederatedPlane & {
  /** Of no job: it has neither a token nor, where it is told so, a control plane. */
  readonly verifier: Awaited<ReturnType<typeof commandLine>>;
  readonly operator: NodeJS.ProcessEnv;
};

async function startBench(database: Kind): Promise<Bench> {
  const federated = await startFederatedPlane({ database });
  await federated.api.contract.update.mutate({ name: 'release', format: 'yaml', body: contract });
  await federated.bind('github');
  await federated.bind('gitlab');
  const { token } = await federated.api.apiToken.create.mutate({ name: 'operator' });
  return { ...federated, verifier: await commandLine(), operator: { CHAINLOOP_TOKEN: token, CHAINLOOP_URL: federated.plane.url } };
}

const benches = new Map<Kind, Promise<Bench>>();
after(async () => {
  for (const opening of benches.values()) {
    const bench = await opening;
    await bench.verifier[Symbol.asyncDispose]();
    await bench[Symbol.asyncDispose]();
  }
});

/** A claim, with one control plane for all claims: on both databases, or where the database plays no part, on one. */
function claim(name: string, fn: (bench: Bench) => Promise<void>, kinds: readonly Kind[] = ['pglite']): void {
  for (const kind of kinds) {
    test(`${name} (${kind})`, async (t) => {
      if (kind === 'postgresql' && !needs(t, 'postgresql')) return;
      const opening = benches.get(kind) ?? startBench(kind);
      benches.set(kind, opening);
      await fn(await opening);
    });
  }
}

let runs = 7000;
const newRun = (): string => String(++runs);

const github = (
  { plane, github: issuer }: Bench,
  runId: string,
  options: { readonly name?: string; readonly claims?: Record<string, string> } = {},
) => startGithubJob({ url: plane.url, issuer, ...options, claims: { run_id: runId, ...options.claims } });
const gitlab = (
  { plane, gitlab: issuer }: Bench,
  pipelineId: string,
  options: { readonly name?: string; readonly claims?: Record<string, string> } = {},
) => startGitlabJob({ url: plane.url, issuer, ...options, claims: { pipeline_id: pipelineId, ...options.claims } });

const add = (job: CiJob, name: string, value: string) => job.run('attestation', 'add', '--name', name, '--value', value);

async function addFile(job: CiJob, name: string, content: string): Promise<ReturnType<CiJob['run']>> {
  await writeFile(join(job.checkout, `${name}.bin`), content);
  return add(job, name, `${name}.bin`);
}

const push = async (job: CiJob): Promise<{ readonly runId: string; readonly bundle: string }> => {
  const bundle = join(job.folder, 'bundle.json');
  const pushed: { readonly runId: string } = JSON.parse(
    succeeded(await job.run('attestation', 'push', '--output', 'json', '--bundle', bundle)),
  );
  return { runId: pushed.runId, bundle };
};

/** Verifies as somebody who has the trusted root, the bundle and the artifact, and no network to the control plane. */
async function verified(bench: Bench, bundle: string, identity: string, ...artifacts: readonly string[]): Promise<void> {
  const { verifier } = bench;
  const root = join(verifier.folder, 'root.json');
  succeeded(await verifier.run(['trust-root', 'export', '--output', root], { env: { CHAINLOOP_URL: bench.plane.url } }));
  const args = ['attestation', 'verify', '--bundle', bundle, '--trust-root', root];
  const offline = { env: { CHAINLOOP_URL: 'http://127.0.0.1:9' } };
  succeeded(await verifier.run([...args, '--identity', identity, ...artifacts], offline));
  const other = await verifier.run([...args, '--identity', `${identity}-evil`, ...artifacts], offline);
  assert.equal(other.code, 1, other.stderr);
}

/** Every file below a folder, with what is in it. */
async function filesBelow(folder: string): Promise<readonly { readonly path: string; readonly mode: number; readonly text: string }[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .map(async (entry) => {
        const path = join(entry.parentPath, entry.name);
        return { path, mode: (await stat(path)).mode & 0o777, text: await readFile(path, 'utf8') };
      }),
  );
}

const credentials = /chl_[a-z]+_[\w-]{20}|eyJ[\w-]{8,}\.eyJ[\w-]+\.|request-[0-9a-f]{8}-/;

for (const [platform, start, san] of [
  ['GitHub', github, githubSan],
  ['GitLab', gitlab, gitlabSan],
] as const) {
  claim(
    `a job of ${platform} with no secret at all attests, and the result verifies offline`,
    async (bench) => {
      await using job = await start(bench, newRun());
      const said = [
        await job.run('attestation', 'init'),
        await add(job, 'commit', 'deadbeef'),
        await addFile(job, 'binary', `the binary of ${platform}`),
        await job.run('attestation', 'status', '--full'),
      ];
      said.forEach(succeeded);
      assert.match(said[3]?.stdout ?? '', /ADDED BY JOB/);
      assert.match(said[3]?.stdout ?? '', /'release' \(id \d+/);

      // One file has the credential, and nobody else can read it; no other has any.
      const files = await filesBelow(job.folder);
      const holders = files.filter(({ text }) => credentials.test(text));
      assert.deepEqual(
        holders.map(({ path, mode }) => [path.startsWith(job.state), path.endsWith('/credential.json'), mode]),
        [[true, true, 0o600]],
      );
      assert.ok(!holders.some(({ text }) => /eyJ/.test(text)), 'the token of the CI system is not written');

      const { runId, bundle } = await push(job);
      for (const { stdout, stderr } of said) assert.doesNotMatch(stdout + stderr, credentials);
      assert.doesNotMatch(bench.plane.log.join(''), credentials);
      await verified(bench, bundle, san, join(job.checkout, 'binary.bin'));
      const { run, attestation } = await bench.api.run.describe.query({ id: runId });
      assert.deepEqual([run.state, run.runnerAuthenticated, run.identity?.san], ['success', true, san]);
      assert.deepEqual([attestation?.verified, attestation?.signer], [true, san]);
      refused(await job.run('attestation', 'status'), 6, /has ended \(success\)/);
      refused(await add(job, 'commit', 'late'), 6, /has ended/);
      refused(await job.run('attestation', 'push'), 6, /has ended/);
    },
    databaseKinds,
  );
}

claim('the issuer changes its key in the middle of a job', async (bench) => {
  await using first = await github(bench, newRun());
  succeeded(await first.run('attestation', 'init'));
  await bench.github.rotate({ withdraw: true });
  succeeded(await add(first, 'commit', 'deadbeef'));
  await using second = await github(bench, String(runs), { name: 'another', claims: { check_run_id: '88002' } });
  succeeded(await addFile(second, 'binary', 'after the rotation'));
  const { bundle } = await push(first);
  await verified(bench, bundle, githubSan, join(second.checkout, 'binary.bin'));
});

claim(
  'one job begins, 20 add at once, one finishes; nothing is passed between them, and nothing is lost',
  async (bench) => {
    const runId = newRun();
    await using start = await github(bench, runId, { name: 'start' });
    succeeded(await start.run('attestation', 'init'));
    await using stack = new AsyncDisposableStack();
    const jobs = await Promise.all(
      cells.map((_, index) => github(bench, runId, { name: 'build', claims: { check_run_id: String(9000 + index) } })),
    );
    for (const job of jobs) stack.use(job);
    const added = await Promise.all(jobs.map((job, index) => addFile(job, cells[index] ?? '', `content ${index}`)));
    added.forEach(succeeded);

    await using finish = await github(bench, runId, { name: 'finish', claims: { check_run_id: '9100' } });
    succeeded(await finish.run('attestation', 'init'));
    refused(await finish.run('attestation', 'push'), 3, /'commit'/, /'binary'/);
    succeeded(await add(finish, 'commit', 'deadbeef'));
    succeeded(await addFile(finish, 'binary', 'the binary'));
    const pushed = await push(finish);
    const { attestation } = await bench.api.run.describe.query({ id: pushed.runId });
    assert.deepEqual(attestation?.materials.map(({ name }) => name).toSorted(), ['binary', ...cells, 'commit'].toSorted());
    await verified(bench, pushed.bundle, githubSan, ...jobs.map((job, index) => join(job.checkout, `${cells[index]}.bin`)));
  },
  databaseKinds,
);

claim('any job may come first, and none has to begin', async (bench) => {
  const pipeline = newRun();
  await using build = await gitlab(bench, pipeline, { name: 'build', claims: { job_id: '1' } });
  await using release = await gitlab(bench, pipeline, { name: 'release', claims: { job_id: '2' } });
  refused(await build.run('attestation', 'status'), 2, /attestation init/);
  succeeded(await addFile(build, 'binary', 'built first'));
  succeeded(await add(release, 'commit', 'deadbeef'));
  const { bundle } = await push(release);
  await verified(bench, bundle, gitlabSan, join(build.checkout, 'binary.bin'));
});

claim(
  'the same in two jobs is recorded once; something else is a conflict that names both',
  async (bench) => {
    const runId = newRun();
    await using amd = await github(bench, runId, { name: 'build-amd64', claims: { check_run_id: '1' } });
    await using arm = await github(bench, runId, { name: 'build-arm64', claims: { check_run_id: '2' } });
    succeeded(await addFile(amd, 'binary', 'the same'));
    const again = await addFile(arm, 'binary', 'the same');
    succeeded(again);
    assert.match(again.stderr, /already recorded by job 'build-amd64' \(id 1, attempt 1\)/);
    refused(
      await addFile(arm, 'binary', 'another'),
      6,
      /'build-amd64' \(id 1.*sha256:[0-9a-f]{64}.*'build-arm64' \(id 2.*sha256:[0-9a-f]{64}/,
    );
    const status: { readonly materials: readonly { readonly name: string; readonly job?: string }[] } = JSON.parse(
      succeeded(await arm.run('attestation', 'status', '--output', 'json')),
    );
    assert.equal(status.materials.find(({ name }) => name === 'binary')?.job, "'build-amd64' (id 1, attempt 1)");
  },
  databaseKinds,
);

claim('a re-run goes on with what the first attempt brought, and begins anew after a failure', async (bench) => {
  const runId = newRun();
  await using first = await github(bench, runId);
  succeeded(await first.run('attestation', 'init'));
  succeeded(await add(first, 'commit', 'deadbeef'));
  await using second = await github(bench, runId, { claims: { run_attempt: '2', check_run_id: '88009' } });
  succeeded(await second.run('attestation', 'init'));
  const again = await add(second, 'commit', 'deadbeef');
  assert.match(again.stderr, /already recorded by job 'release' \(id 88001, attempt 1\)/);
  succeeded(await second.run('attestation', 'reset', '--trigger', 'failed', '--reason', 'flaky'));
  refused(await add(first, 'commit', 'deadbeef'), 6, /has ended \(failed\)/);
  await using third = await github(bench, runId, { claims: { run_attempt: '3', check_run_id: '88010' } });
  succeeded(await add(third, 'commit', 'cafe'));
  succeeded(await addFile(third, 'binary', 'third time'));
  const { bundle } = await push(third);
  await verified(bench, bundle, githubSan, join(third.checkout, 'binary.bin'));
});

claim('an init that fails ends nothing that other jobs work on', async (bench) => {
  const { api } = bench;
  await api.contract.create.mutate({ name: 'strict', format: 'yaml', body: `${contract}envAllowList: [RELEASE]\n` });
  await api.workflow.create.mutate({ name: 'strict', project: 'bedrock', contract: 'strict' });
  const id = await bench.bind('github', { workflow: 'bedrock/strict', refs: ['refs/tags/v*'] });
  const runId = newRun();
  const tag = { ref: 'refs/tags/v1' };
  // Two workflows let it in: it has to say which.
  await using build = await github(bench, runId, { name: 'build', claims: tag });
  refused(await addFile(build, 'binary', 'strict'), 6, /bedrock\/release/, /--workflow/);
  build.env.CHAINLOOP_WORKFLOW = 'strict';
  succeeded(await addFile(build, 'binary', 'strict'));
  await using broken = await github(bench, runId, { name: 'broken', claims: { ...tag, check_run_id: '2' } });
  refused(await broken.run('attestation', 'init', '--workflow', 'strict'), 3, /RELEASE/);
  await using good = await github(bench, runId, { name: 'good', claims: { ...tag, check_run_id: '3' } });
  good.env.RELEASE = '1.2.3';
  succeeded(await good.run('attestation', 'init', '--workflow', 'strict'));
  succeeded(await add(good, 'commit', 'deadbeef'));
  // Neither one that comes after it, whose variables do not count any more.
  succeeded(await broken.run('attestation', 'init', '--workflow', 'strict'));
  await push(good);
  await api.binding.remove.mutate({ id });
});

claim('a job that nobody lets in is told why, claim by claim; one that lacks the permission, what to write', async (bench) => {
  await using stranger = await github(bench, newRun(), { claims: { ref: 'refs/heads/feature', event_name: 'workflow_run' } });
  const ended = await stranger.run('attestation', 'init');
  refused(
    ended,
    5,
    /no binding of organization 'acme' lets in this job/,
    /│ CLAIM +│ EXPECTED +│ IN THE TOKEN +│/,
    /│ ref +│ refs\/heads\/main, refs\/tags\/v\* +│ refs\/heads\/feature +│/,
    /│ event_name +│ [^│]*push[^│]* │ workflow_run +│/,
  );
  assert.doesNotMatch(ended.stderr, credentials);
  await using mute = await github(bench, newRun());
  mute.env.ACTIONS_ID_TOKEN_REQUEST_URL = '';
  refused(await mute.run('attestation', 'init'), 5, /id-token: write/);
  await using foreign = await github(bench, newRun());
  foreign.env.CHAINLOOP_TOKEN = 'chl_a_nobody';
  refused(await foreign.run('attestation', 'init'), 5, /CHAINLOOP_TOKEN/);
});

claim('a job is told the identity that it signs as; a command that takes a token says so, also in a job', async (bench) => {
  await using job = await github(bench, newRun());
  const told: { readonly workflow: string; readonly identity: { readonly san: string } } = JSON.parse(
    succeeded(await job.run('auth', 'whoami', '--output', 'json')),
  );
  assert.deepEqual([told.workflow, told.identity.san], ['release', githubSan]);
  const ended = await job.run('identity', 'ls');
  refused(ended, 5, /set CHAINLOOP_TOKEN/);
  assert.doesNotMatch(ended.stderr, /id-token/);
  await using mute = await github(bench, newRun());
  mute.env.ACTIONS_ID_TOKEN_REQUEST_URL = '';
  refused(await mute.run('auth', 'whoami'), 5, /id-token: write/);
});

claim('a job that says init twice is not told of another job', async (bench) => {
  await using job = await github(bench, newRun());
  succeeded(await job.run('attestation', 'init'));
  const again = await job.run('attestation', 'init');
  succeeded(again);
  assert.match(again.stderr, /has begun already; this job goes on with it/);
  assert.doesNotMatch(again.stderr, /[Aa]nother job/);
});

claim('what belongs to one job only is refused where jobs share the attestation', async (bench) => {
  await using job = await github(bench, newRun());
  refused(await job.run('attestation', 'init', '--attestation-id', 'second'), 2, /--attestation-id/);
  refused(await job.run('attestation', 'init', '--replace'), 2, /share/);
});

claim('a token kept in the configuration does not come before what the job proves; a dry run asks nobody', async (bench) => {
  await using job = await github(bench, newRun());
  succeeded(await job.run('config', 'set', 'url', bench.plane.url));
  const config = join(job.folder, 'config', 'chainloop', 'config.json');
  await writeFile(config, JSON.stringify({ url: bench.plane.url, token: bench.operator.CHAINLOOP_TOKEN }));
  succeeded(await job.run('attestation', 'init'));
  succeeded(await job.run('attestation', 'reset'));

  await using dry = await github(bench, newRun());
  await writeFile(join(dry.checkout, 'contract.yaml'), contract);
  dry.env.CHAINLOOP_URL = 'http://127.0.0.1:9';
  succeeded(await dry.run('attestation', 'init', '--dry-run', '--contract', 'contract.yaml'));
  succeeded(await add(dry, 'commit', 'x'));
  succeeded(await addFile(dry, 'binary', 'x'));
  succeeded(await dry.run('attestation', 'push'));
  assert.ok(!(await filesBelow(dry.folder)).some(({ text }) => credentials.test(text)));
});

claim('steps of one GitLab job that run at once exchange its token once', async (bench) => {
  await using job = await gitlab(bench, newRun(), { claims: { job_id: '77' } });
  const steps = await Promise.all([add(job, 'commit', 'x'), add(job, 'note', 'y'), addFile(job, 'binary', 'z')]);
  steps.forEach(succeeded);
  await push(job);
});
