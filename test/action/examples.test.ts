import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createRegistryClient } from '../../core/adapters/oci/client.ts';
import { parseDigest } from '../../core/digest.ts';
import { pushEvent, tagEvent } from '../fakes/actions-runner/event.ts';
import type { JobResult, Run } from '../fakes/actions-runner/job.ts';
import { runWorkflow } from '../fakes/actions-runner/workflow.ts';
import { commandLine } from '../fakes/command-line.ts';
import { startRegistry } from '../fakes/docker-registry.ts';
import { fakeDocker, fakeNpx } from '../fakes/tools.ts';
import { needs } from '../needs.ts';
import { cycloneDx, put, root, type Scene, spdx, standIns, startScene } from './scene.ts';

// Every workflow of examples/github, as it is in the file: our action is the committed bundle, `run` is bash, and GitHub's own actions are
// stand-ins that copy folders. The operator's part is the contract beside it, and binding.yaml.

const example = (name: string): Promise<string> => readFile(join(root, 'examples', 'github', name), 'utf8');

/** A project as a checkout brings it: scripts that write what they say. */
async function project(workspace: string): Promise<void> {
  const script = (path: string, text: string) =>
    put(workspace, path, `#!/bin/sh\nset -e\n${text}`).then(() => chmod(join(workspace, path), 0o755));
  await script(
    'build.sh',
    `mkdir -p dist\nprintf '#!/bin/sh\\necho hello from %s\\n' "$1" > "dist/app\${1:+-$1}"\nchmod +x dist/app*\ncp sbom.json dist/app.cdx.json\n`,
  );
  await script('sbom.sh', 'cp image.json.in image.spdx.json\n');
  await put(workspace, 'sbom.json', cycloneDx);
  await put(workspace, 'image.json.in', spdx);
  await put(workspace, 'Dockerfile', 'FROM scratch\n');
}

type Stage = {
  readonly scene: Scene;
  readonly folder: string;
  readonly artifacts: string;
  run(change?: Partial<Run>): Run;
  [Symbol.asyncDispose](): Promise<void>;
};

/** The operator's part, done with the files of the example. */
async function prepare(options: {
  readonly contract: string;
  readonly project?: (workspace: string) => Promise<void>;
  readonly binding?: Readonly<Record<string, unknown>>;
}): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const scene = stack.use(await startScene({ contract: await example(options.contract), bound: false }));
  // There are others: a job says whom it trusts.
  await scene.plane.createOrganization('other');
  const folder = stack.use(await mkdtempDisposable(join(tmpdir(), 'chainloop-example-'))).path;
  const artifacts = join(folder, 'artifacts');
  await mkdir(artifacts);
  await scene.bind('github', options.binding);
  const resources = stack.move();
  return {
    ...{ scene, folder, artifacts },
    run: (change = {}) => scene.newRun({ sources: standIns(options.project ?? project, artifacts), vars: scene.vars, ...change }),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

const logs = (jobs: Readonly<Record<string, JobResult>>): string =>
  Object.entries(jobs)
    .map(([name, { log }]) => `== ${name}\n${log}`)
    .join('\n');

test('one-step.yml', async () => {
  await using stage = await prepare({ contract: 'one-step.contract.yaml' });
  const { status, jobs } = await runWorkflow(stage.run(), await example('one-step.yml'));
  assert.equal(status, 'success', logs(jobs));
  const step = jobs.release?.steps.at(-1);
  assert.equal(step?.outputs.status, 'passed');
  assert.equal((await stage.scene.describe(step)).run.state, 'success');
});

test('matrix.yml: two builds, one attestation; when a build fails, the push says what is missing', async () => {
  await using stage = await prepare({ contract: 'matrix.contract.yaml' });
  const { status, jobs } = await runWorkflow(stage.run(), await example('matrix.yml'));
  assert.equal(status, 'success', logs(jobs));
  assert.deepEqual(Object.keys(jobs).toSorted(), ['build (amd64)', 'build (arm64)', 'finish', 'start']);
  const { attestation } = await stage.scene.describe(jobs.finish?.steps[0]);
  assert.deepEqual(
    attestation?.materials.map(({ name }) => name),
    ['binary-amd64', 'binary-arm64'],
  );
  assert.equal(jobs.finish?.steps[1]?.raw, jobs.finish?.steps[0]?.outputs.url);

  const broken = async (workspace: string): Promise<void> => {
    await project(workspace);
    await put(workspace, 'build.sh', '#!/bin/sh\n[ "$1" = amd64 ] && exit 1\nmkdir dist\necho x > dist/app-$1\n');
  };
  const failing = await runWorkflow({ ...stage.run(), sources: standIns(broken, stage.artifacts) }, await example('matrix.yml'));
  assert.equal(failing.status, 'failure');
  assert.equal(failing.jobs.finish?.steps[0]?.outputs['missing-materials'], '["binary-amd64"]', logs(failing.jobs));
});

test('container-image.yml: the image is bound to its digest in a real registry, and has its attestation there', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry();
  await using stage = await prepare({ contract: 'container-image.contract.yaml' });
  await stage.scene.api.workflow.create.mutate({ name: 'image', project: 'bedrock', contract: 'release' });
  await stage.scene.bind('github', { workflow: 'bedrock/image' });
  const tools = await fakeDocker(stage.folder);
  const run = stage.run({ tools: [tools], vars: { ...stage.scene.vars, REGISTRY: registry.host } });
  const { status, jobs } = await runWorkflow(run, await example('container-image.yml'));
  assert.equal(status, 'success', logs(jobs));
  const step = jobs.image?.steps.at(-1);
  const { attestation } = await stage.scene.describe(step);
  const image = attestation?.materials.find(({ name }) => name === 'image');
  assert.match(image?.digest ?? '', /^sha256:[0-9a-f]{64}$/);
  assert.equal(jobs.image?.steps[2]?.outputs.digest, image?.digest);
  assert.match(step?.outputs.subjects ?? '', new RegExp(image?.digest ?? 'none'));
  const client = createRegistryClient({ origin: registry.origin, repository: 'acme/app' });
  const [referrer] = await client.referrers(parseDigest(image?.digest ?? ''));
  assert.equal(referrer?.artifactType, 'application/vnd.dev.sigstore.bundle.v0.3+json');
  assert.match(step?.outputs.attachments ?? '', new RegExp(`"referrer":"${referrer?.digest}","error":null`));
});

test('reusable-workflow.yml: signed by the workflow that attests, and a binding lets in no other', async () => {
  const called = 'chainloop/attest/.github/workflows/attest.yml@refs/tags/v1';
  await using stage = await prepare({ contract: 'one-step.contract.yaml', binding: { jobWorkflowRef: called } });
  const run = stage.run({ github: tagEvent('v1.4.0', { run_id: '501' }) });
  const { status, jobs } = await runWorkflow(run, await example('reusable-workflow.yml'));
  assert.equal(status, 'success', logs(jobs));
  const step = jobs['attest / attest']?.steps.find(({ id }) => id === 'attest');
  const { run: described, attestation } = await stage.scene.describe(step);
  assert.equal(described.identity?.san, `https://github.com/${called}`);
  assert.equal(described.claims?.repository, 'acme/app');
  assert.equal(attestation?.verified, true);
  assert.equal(jobs.report?.steps[0]?.raw, `${step?.outputs.url} ${step?.outputs.digest}`);
  assert.deepEqual(
    jobs['attest / attest']?.steps.map(({ name }) => name).filter((name) => name.startsWith('Run ./build')),
    [],
  );
  const bundle: { readonly mediaType: string } = JSON.parse(
    await readFile(join(stage.artifacts, 'chainloop-bundle', 'bundle.json'), 'utf8'),
  );
  assert.match(bundle.mediaType, /sigstore\.bundle/);

  // The same repository, attesting by itself.
  const direct = await runWorkflow(stage.run({ github: pushEvent({ run_id: '502' }) }), await example('one-step.yml'));
  assert.equal(direct.status, 'failure');
  assert.match(logs(direct.jobs), /job_workflow_ref: is 'acme\/app/);
});

test('release-gate.yml: what verifies is deployed; whatever else happens, nothing is', async () => {
  await using stage = await prepare({ contract: 'one-step.contract.yaml' });
  const tools = await fakeNpx(stage.folder);
  await using line = await commandLine({ CHAINLOOP_URL: stage.scene.plane.url });
  const trustRoot = join(line.folder, 'trust-root.json');
  const exported = await line.run(['trust-root', 'export', '--output', trustRoot]);
  assert.equal(exported.code, 0, exported.stderr);
  const rootText = await readFile(trustRoot, 'utf8');
  let runs = 600;
  const deploy = async (change: (workspace: string) => Promise<void> = async () => {}, tampered?: string) => {
    const checkedOut = async (workspace: string): Promise<void> => {
      await project(workspace);
      await put(workspace, '.chainloop/trust-root.json', rootText);
      await change(workspace);
    };
    const sources = standIns(checkedOut, stage.artifacts);
    const upload = sources['actions/upload-artifact'];
    const swapping: typeof sources = {
      ...sources,
      'actions/upload-artifact': {
        type: 'stand-in',
        async run(step) {
          if (upload?.type === 'stand-in') await upload.run(step);
          if (tampered !== undefined) await writeFile(join(stage.artifacts, 'release', tampered), 'something else');
          return {};
        },
      },
    };
    const run = stage.run({ github: tagEvent('v1.4.0', { run_id: String(++runs) }), sources: swapping, tools: [tools] });
    const { jobs, status } = await runWorkflow(run, await example('release-gate.yml'));
    return { jobs, status, gate: jobs.gate, deployed: jobs.deploy !== undefined };
  };

  const good = await deploy();
  assert.equal(good.status, 'success', logs(good.jobs));
  assert.equal(good.jobs.deploy?.steps[1]?.raw, 'hello from');

  const refusals: readonly (readonly [string, Awaited<ReturnType<typeof deploy>>])[] = [
    ['another binary', await deploy(undefined, 'app')],
    ['another bundle', await deploy(undefined, 'app.sigstore.json')],
    ['no trusted root', await deploy((workspace) => put(workspace, '.chainloop/trust-root.json', ''))],
    [
      'another trusted root',
      await deploy((workspace) =>
        put(workspace, '.chainloop/trust-root.json', rootText.replace(/"rawBytes": ?"[^"]{40}/, '"rawBytes":"AAAA')),
      ),
    ],
    ['a failing build', await deploy((workspace) => put(workspace, 'build.sh', '#!/bin/sh\nexit 1\n'))],
  ];
  for (const [what, { status, deployed, jobs }] of refusals) {
    assert.equal(status, 'failure', `${what}\n${logs(jobs)}`);
    assert.equal(deployed, false, `${what} was deployed\n${logs(jobs)}`);
  }
});
