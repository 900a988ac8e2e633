import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { evaluate } from '../fakes/actions-runner/expression.ts';
import type { StepResult } from '../fakes/actions-runner/job.ts';
import { commandLine } from '../fakes/command-line.ts';
import { githubJob } from '../fakes/issuer.ts';
import { needs } from '../needs.ts';
import { checkout, contract, materials, put, type Scene, startScene } from './scene.ts';

// Acceptance list of the Action: rows 1 and 4, and what a developer sees when the evidence is not right.

let scene: Scene;
before(async () => {
  scene = await startScene();
});
after(async () => {
  await scene?.[Symbol.asyncDispose]();
});

const uses = 'chainloop/attest@v1';

/** What a step said in its first error. */
function errorOf(step: StepResult | undefined): { readonly title: string; readonly message: string } {
  const found = step?.annotations.find(({ level }) => level === 'error');
  return { title: found?.title ?? '', message: found?.message ?? '' };
}

test('one step, no secret: evidence in an OCI registry, a keyless bundle that verifies offline, every output', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using own = await startScene({ storage: true });
  const job = await own.job([
    { id: 'a', uses, with: { ...own.inputs, materials } },
    { run: 'echo "${{ steps.a.outputs.status }} $URL"', env: { URL: '${{ steps.a.outputs.url }}' } },
  ]);
  const [step, later] = job.steps;
  assert.equal(job.status, 'success', job.log);
  const outputs = step?.outputs ?? {};
  assert.deepEqual(Object.keys(outputs).toSorted(), [
    'attachments',
    'attestation-id',
    'bundle-path',
    'contract-revision',
    'digest',
    'materials',
    'missing-materials',
    'status',
    'subjects',
    'url',
  ]);
  assert.equal(outputs.status, 'passed');
  assert.equal(outputs['contract-revision'], '2');
  assert.equal(outputs['missing-materials'], '[]');
  assert.equal(later?.raw, `passed ${outputs.url}`);
  assert.match(outputs.url ?? '', new RegExp(`^${own.plane.url}/.*${outputs['attestation-id']}`));

  const { run, attestation } = await own.describe(step);
  assert.equal(run.state, 'success');
  assert.equal(run.runnerAuthenticated, true);
  assert.equal(attestation?.digest, outputs.digest);
  assert.equal(attestation?.verified, true);
  assert.equal(run.identity?.san, `https://github.com/${githubJob.workflow_ref}`);
  assert.equal(run.claims?.commit, githubJob.sha);

  const listed = evaluate('fromJSON(github.list)', { contexts: { github: { list: outputs.materials ?? '' } } });
  assert.ok(Array.isArray(listed));
  assert.deepEqual(
    listed.map((row) => [row.name, row.kind]),
    [
      ['binary', 'ARTIFACT'],
      ['commit', 'STRING'],
      ['sbom', 'SBOM_CYCLONEDX_JSON'],
    ],
  );
  const subjects: { readonly name: string; readonly digest: string }[] = JSON.parse(outputs.subjects ?? '');
  assert.deepEqual(
    subjects.map(({ name }) => name),
    ['app'],
  );

  assert.deepEqual(step?.groups, ['Contract release@2', 'Materials (3)', 'Sign', 'Push']);
  const lines = step?.log.split('\n') ?? [];
  assert.match(lines.at(-2) ?? '', /^Attestation passed: http/);
  assert.equal(lines.at(-1), `Digest ${outputs.digest}`);
  assert.deepEqual(step?.annotations, []);

  // Anybody, later, with nothing but files.
  await using line = await commandLine({ CHAINLOOP_URL: own.plane.url });
  const bundle = outputs['bundle-path'] ?? '';
  assert.ok(bundle.startsWith(job.temp), bundle);
  const root = join(line.folder, 'root.json');
  const exported = await line.run(['trust-root', 'export', '--output', root]);
  assert.equal(exported.code, 0, exported.stderr);
  const identity = `https://github.com/${githubJob.workflow_ref}`;
  const verify = (...more: string[]) =>
    line.run(['attestation', 'verify', '--bundle', bundle, '--trust-root', root, ...more], {
      env: { CHAINLOOP_URL: 'http://127.0.0.1:1' },
    });
  const verified = await verify('--identity', identity, join(job.workspace, 'dist/app'));
  assert.equal(verified.code, 0, verified.stderr);
  // As the summary says it.
  const [, shown = ''] = /```bash\n([\s\S]*?)```/.exec(step?.summary ?? '') ?? [];
  const commands = shown.replaceAll(' \\\n', '').trim().split('\n');
  assert.equal(commands.length, 3, shown);
  const last = (commands[2]?.match(/[^\s']+/g) ?? []).slice(1);
  assert.ok(last.includes('--source-repository'), shown);
  const inSummary = await line.run(
    last.map((word) => ({ 'attestation.sigstore.json': bundle, 'trusted-root.json': root })[word] ?? word),
    { cwd: job.workspace },
  );
  assert.equal(inSummary.code, 0, `${shown}\n${inSummary.stderr}`);
  const other = await verify('--identity', `${identity}-evil`, join(job.workspace, 'dist/app'));
  assert.notEqual(other.code, 0);
});

test('the defaults are enough: control plane from CHAINLOOP_URL, workflow from the binding', async () => {
  const { status, steps } = await scene.job([{ uses, env: { CHAINLOOP_URL: scene.plane.url }, with: { materials } }]);
  assert.equal(status, 'success', steps[0]?.log);
  assert.equal(steps[0]?.outputs.status, 'passed');
});

test('every problem of a bad materials block is said at once, before anything is sent', async () => {
  const bad = 'binary\nsbom:SBOM=x\n=y\ncommit=\nbinary=dist/app\nbinary=dist/other\nNOT A NAME=z';
  const before = (await scene.runs()).length;
  const { steps, status } = await scene.job([
    { id: 'a', uses, with: { ...scene.inputs, materials: bad, 'on-outage': 'perhaps', 'retry-timeout': 'soon', annotations: 'x' } },
  ]);
  assert.equal(status, 'failure');
  const { message } = errorOf(steps[0]);
  for (const says of [
    /'binary' is not NAME=VALUE/,
    /'SBOM' is no kind/,
    /'commit' has no value/,
    /'binary' is given twice/,
    /'NOT A NAME' is no name/,
    /on-outage/,
    /retry-timeout/,
    /annotations/,
  ])
    assert.match(message, says);
  assert.equal(steps[0]?.outputs.status, 'failed');
  assert.equal((await scene.runs()).length, before, 'nothing was sent');
});

test('a required material that is missing: one annotation with its name and kind, the line to add, exit not 0, the run fails', async () => {
  const { steps, posts, status } = await scene.job([
    { id: 'a', uses, with: { ...scene.inputs, materials: 'binary=dist/app\ncommit=${{ github.sha }}' } },
  ]);
  assert.equal(status, 'failure');
  const [step] = steps;
  assert.equal(step?.annotations.length, 1, step?.log);
  const { title, message } = errorOf(step);
  assert.match(title, /Chainloop: contract .*release@2.* not satisfied/);
  assert.match(message, /sbom.*SBOM_CYCLONEDX_JSON/);
  assert.equal(step?.outputs.status, 'violations');
  assert.equal(step?.outputs['missing-materials'], '["sbom"]');
  assert.match(step?.summary ?? '', /❌.*contract not satisfied/);
  assert.match(step?.summary ?? '', /sbom=/);
  const { run } = await scene.describe(step);
  assert.equal(run.state, 'failed', posts[0]?.log);
  assert.match(run.reason ?? '', /sbom/);
});

test('paths that are not there, all together, with what was meant, before a run is opened', async () => {
  const before = (await scene.runs()).length;
  const { steps } = await scene.job([{ uses, with: { ...scene.inputs, materials: 'binary=dist/ap\nsbom=dist/*.xml\ncommit=x' } }]);
  const { message } = errorOf(steps[0]);
  assert.match(message, /"binary": no such file dist\/ap \(did you mean dist\/app\?\)/);
  assert.match(message, /"sbom": no file matches dist\/\*\.xml/);
  assert.equal(steps[0]?.outputs.status, 'failed');
  assert.equal((await scene.runs()).length, before, 'the control plane is untouched');
});

test('an SBOM of the wrong kind: what was found and what is wanted', async () => {
  const { steps } = await scene.job([{ uses, with: { ...scene.inputs, materials: 'binary=dist/app\nsbom=dist/app.spdx.json\ncommit=x' } }]);
  const { message } = errorOf(steps[0]);
  assert.match(message, /sbom/);
  assert.match(message, /SPDX/);
  assert.match(message, /CycloneDX|SBOM_CYCLONEDX_JSON/i);
});

test('a name that the contract does not have: its names, and the nearest', async () => {
  const { steps } = await scene.job([{ uses, with: { ...scene.inputs, materials: 'binry=dist/app\nsbom=dist/app.cdx.json\ncommit=x' } }]);
  const { message } = errorOf(steps[0]);
  assert.match(message, /binry.*binary, sbom, commit/s);
  assert.match(message, /did you mean '?binary/);
});

test('patterns match one file, with excludes; two files are a problem', async () => {
  const prepare = async (workspace: string): Promise<void> => {
    await checkout(workspace);
    await put(workspace, 'dist/app-debug', 'debug');
  };
  const excluded = 'binary=dist/app*\nbinary=!**/*.json\nbinary=!dist/*-debug\nsbom=dist/*.cdx.json\ncommit=x';
  const { steps, status } = await scene.job([{ uses, with: { ...scene.inputs, materials: excluded } }], { prepare });
  assert.equal(status, 'success', steps[0]?.log);
  assert.match(steps[0]?.outputs.subjects ?? '', /"app"/);
  const two = await scene.job([{ uses, with: { ...scene.inputs, materials: excluded.replace('binary=!dist/*-debug\n', '') } }], {
    prepare,
  });
  assert.match(errorOf(two.steps[0]).message, /binary[\s\S]*dist\/app-debug/);
});

test('a list that is too long for a workflow file comes from materials-file', async () => {
  const prepare = async (workspace: string): Promise<void> => {
    await checkout(workspace);
    await put(workspace, 'ci/evidence.txt', '# evidence\nbinary=dist/app\n\nsbom=dist/app.cdx.json\n');
  };
  const { steps, status } = await scene.job(
    [{ uses, with: { ...scene.inputs, 'materials-file': 'ci/evidence.txt', materials: 'commit=x' } }],
    { prepare },
  );
  assert.equal(status, 'success', steps[0]?.log);
});

test('annotations that the contract asks for are recorded; one that it does not have ends the run', async () => {
  await using own = await startScene({ contract: `${contract}annotations: [{ name: severity }, { name: ticket }]\n` });
  const { steps } = await own.job([{ uses, with: { ...own.inputs, materials, annotations: 'severity=low\nticket=OPS-1=2' } }]);
  const { attestation } = await own.describe(steps[0]);
  assert.deepEqual(attestation?.annotations, { severity: 'low', ticket: 'OPS-1=2' }, steps[0]?.log);
  const unknown = await own.job([{ uses, with: { ...own.inputs, materials, annotations: 'severity=low\nticket=1\nsevrity=low' } }]);
  const { message } = errorOf(unknown.steps[0]);
  assert.match(message, /sevrity/);
  assert.doesNotMatch(message, /missing: binary/, 'what was brought is not called missing');
  assert.equal((await own.describe(unknown.steps[0])).run.state, 'failed', unknown.posts[0]?.log);
});

test('what keeps an attestation from beginning is said in the summary too, what was brought is not called missing, and the run is as it says', async () => {
  await using own = await startScene({ contract: `${contract}envAllowList: [RELEASE_NAME]\n` });
  const attest = await own.job([{ uses, with: { ...own.inputs, materials } }]);
  const [step] = attest.steps;
  assert.match(errorOf(step).message, /^contract: variable 'RELEASE_NAME' is required/);
  assert.match(step?.summary ?? '', /variable 'RELEASE&#95;NAME' is required/);
  assert.doesNotMatch(step?.summary ?? '', /missing|asks for more/);
  assert.match(step?.summary ?? '', /recorded as \*failed\* when the job ends/);
  assert.equal((await own.describe(step)).run.state, 'failed', attest.posts[0]?.log);

  const init = await own.job([{ uses, with: { ...own.inputs, command: 'init' } }]);
  assert.match(errorOf(init.steps[0]).message, /^contract: variable 'RELEASE_NAME' is required/);
  assert.doesNotMatch(init.steps[0]?.summary ?? '', /missing|asks for more/);
  assert.match(init.steps[0]?.summary ?? '', /recorded as \*failed\* if this fails the job/);
  assert.equal((await own.describe(init.steps[0])).run.state, 'failed', init.posts[0]?.log);

  // With a token, nobody shares the run: it is given up at once.
  const { token } = await own.api.serviceAccount.create.mutate({ name: 'ci', workflow: 'release', project: 'bedrock' });
  const alone = await own.job([{ uses, with: { ...own.inputs, materials, token, auth: 'token' } }]);
  assert.match(alone.steps[0]?.summary ?? '', /variable 'RELEASE&#95;NAME' is required[\s\S]*^Nothing was pushed\.$/m);
  assert.equal((await own.runs())[0]?.state, 'cancelled');
});

test('a dry run validates and renders, and asks nobody', async () => {
  const before = (await scene.runs()).length;
  const { steps, status, secrets } = await scene.job([{ uses, with: { ...scene.inputs, materials, 'dry-run': 'true' } }]);
  assert.equal(status, 'success', steps[0]?.log);
  assert.equal(steps[0]?.outputs.status, 'dry-run');
  assert.match(steps[0]?.summary ?? '', /dry run/);
  assert.equal((await scene.runs()).length, before);
  assert.equal(secrets.length, 2, 'no token was asked for');
});

test('with continue-on-error the job is green, and the output and the summary tell the truth', async () => {
  const { steps, status } = await scene.job([
    { id: 'a', uses, 'continue-on-error': true, with: { ...scene.inputs, materials: 'binary=dist/nothing' } },
    { run: 'test "${{ steps.a.outputs.status }}" = passed && exit 1; echo "${{ steps.a.outputs.status }}"' },
  ]);
  assert.equal(steps[0]?.outcome, 'failure');
  assert.equal(steps[0]?.conclusion, 'success');
  assert.equal(steps[1]?.raw, 'failed');
  assert.match(steps[0]?.summary ?? '', /FAILED/);
  assert.equal(status, 'success');
});

test('on-violation: warn is a warning, and the status says violations', async () => {
  const { steps, status } = await scene.job([{ uses, with: { ...scene.inputs, materials: 'binary=dist/app', 'on-violation': 'warn' } }]);
  assert.equal(steps[0]?.outputs.status, 'violations');
  assert.equal(steps[0]?.annotations[0]?.level, 'warning');
  assert.equal(status, 'success', steps[0]?.log);
});

test('show-summary: false leaves the summary alone', async () => {
  const { steps } = await scene.job([{ uses, with: { ...scene.inputs, materials, 'show-summary': 'false' } }]);
  assert.equal(steps[0]?.summary, '');
});

test('the bundle is where bundle-path says, and nothing else is in the workspace', async () => {
  const { steps, workspace } = await scene.job([
    { uses, with: { ...scene.inputs, materials, 'bundle-path': 'out/bundle.json' } },
    { run: 'find . -type f | sort' },
  ]);
  assert.deepEqual(steps[1]?.raw.split('\n'), ['./dist/app', './dist/app.cdx.json', './dist/app.spdx.json', './out/bundle.json']);
  const bundle: { readonly mediaType: string } = JSON.parse(await readFile(join(workspace, 'out/bundle.json'), 'utf8'));
  assert.match(bundle.mediaType, /^application\/vnd\.dev\.sigstore\.bundle/);
  await rm(workspace, { recursive: true });
});

test('status shows an open run and reset ends it', async () => {
  const run = scene.newRun();
  const opened = await scene.job(
    [
      { uses, with: { ...scene.inputs, command: 'init' } },
      { id: 's', uses, with: { ...scene.inputs, command: 'status' } },
    ],
    { run },
  );
  assert.equal(opened.steps[1]?.outputs.status, 'open', opened.log);
  assert.match(opened.steps[1]?.log ?? '', /sbom/);
  const reset = await scene.job([{ uses, with: { ...scene.inputs, command: 'reset' } }], { run });
  assert.equal(reset.status, 'success', reset.log);
  assert.equal((await scene.describe(opened.steps[0])).run.state, 'cancelled');
});

test('an unknown command, and one that takes no materials, are said', async () => {
  const unknown = await scene.job([{ uses, with: { ...scene.inputs, command: 'atest' } }]);
  assert.match(errorOf(unknown.steps[0]).message, /atest.*attest/s);
  const push = await scene.job([{ uses, with: { ...scene.inputs, command: 'push', materials } }]);
  assert.match(errorOf(push.steps[0]).message, /materials/);
});

test('each alias does its one command', async () => {
  const run = scene.newRun();
  const files = { materials };
  const results: string[] = [];
  for (const [alias, more] of [
    ['init', {}],
    ['add', files],
    ['status', {}],
    ['push', {}],
  ] as const) {
    const { steps } = await scene.job([{ uses: `chainloop/attest/action/${alias}@v1`, with: { ...scene.inputs, ...more } }], { run });
    results.push(`${alias} ${steps[0]?.outputs.status}`);
  }
  assert.deepEqual(results, ['init open', 'add open', 'status open', 'push passed']);
  const attest = await scene.job([{ uses: 'chainloop/attest/action/attest@v1', with: { ...scene.inputs, materials } }]);
  assert.equal(attest.steps[0]?.outputs.status, 'passed', attest.log);
});
