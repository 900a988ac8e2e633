import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createRegistryClient } from '../../core/adapters/oci/client.ts';
import { parseDigest } from '../../core/digest.ts';
import { cycloneDx, spdx } from '../action/scene.ts';
import { commandLine } from '../fakes/command-line.ts';
import { startRegistry } from '../fakes/docker-registry.ts';
import { fakeDocker } from '../fakes/tools.ts';
import { succeeded } from '../fakes/workplace.ts';
import { needs } from '../needs.ts';
import { type Files, type Pipeline, root, type Scene, startScene } from './scene.ts';

// Every pipeline of examples/gitlab, as it is in the file. The operator's part is the contract beside it, and a binding.

const example = (name: string): Promise<string> => readFile(join(root, 'examples', 'gitlab', name), 'utf8');

const buildScript = `#!/bin/sh
set -e
mkdir -p dist
printf '#!/bin/sh\\necho hello from %s\\n' "$1" > "dist/app\${1:+-$1}"
chmod +x dist/app*
cp sbom.json dist/app.cdx.json
`;
const files: Files = {
  'build.sh': buildScript,
  'sbom.sh': '#!/bin/sh\ncp image.json.in image.spdx.json\n',
  'sbom.json': cycloneDx,
  'image.json.in': spdx,
  Dockerfile: 'FROM scratch\n',
};

async function sceneFor(contract: string, binding: Readonly<Record<string, unknown>> = {}): Promise<Scene> {
  return startScene({ contract: await example(contract), binding });
}

function endings({ jobs }: Pipeline): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(jobs).map(([name, { exitCode }]) => [name, exitCode]));
}

test('one-job.yml', async (t) => {
  if (!needs(t, 'rsync')) return;
  await using scene = await sceneFor('one-job.contract.yaml');
  const pipeline = await scene.pipeline(await example('one-job.yml'), { files });
  assert.deepEqual(endings(pipeline), { build: 0, 'chainloop-attest': 0 }, pipeline.output);
  assert.equal((await scene.runs())[0]?.state, 'success');
});

test('multi-job.yml: two builds, one attestation; when a build fails, the push says what is missing', async (t) => {
  if (!needs(t, 'rsync')) return;
  await using scene = await sceneFor('multi-job.contract.yaml');
  const good = await scene.pipeline(await example('multi-job.yml'), { files });
  assert.deepEqual(endings(good), { 'build: [amd64]': 0, 'build: [arm64]': 0, 'chainloop-init': 0, 'chainloop-push': 0 }, good.output);
  const [run] = await scene.runs();
  assert.equal(run?.state, 'success');
  const failing = { ...files, 'build.sh': buildScript.replace('set -e', '[ "$1" != amd64 ] || exit 1\nset -e') };
  const bad = await scene.pipeline(await example('multi-job.yml'), { files: failing });
  assert.equal(bad.jobs['chainloop-push']?.exitCode, 3, bad.output);
  assert.match(await bad.file('chainloop.env'), /^CHAINLOOP_MISSING=binary-amd64$/m);
});

test('container-image.yml: the image is bound to its digest in a real registry, and has its attestation there, with the credentials that GitLab gives the job', async (t) => {
  if (!needs(t, 'rsync', 'docker-registry')) return;
  await using registry = await startRegistry({ auth: 'basic' });
  await using scene = await sceneFor('container-image.contract.yaml', { workflow: 'bedrock/release' });
  await scene.api.workflow.create.mutate({ name: 'image', project: 'bedrock', contract: 'release' });
  await scene.bind('gitlab', { workflow: 'bedrock/image' });
  // A service would be a container.
  const yaml = (await example('container-image.yml')).replace(/^ {2}services: .*\n/m, '');
  const pipeline = await scene.pipeline(yaml, {
    files,
    tools: await fakeDocker(scene.folder, registry),
    variables: {
      CI_REGISTRY: registry.host,
      CI_REGISTRY_IMAGE: `${registry.host}/acme/app`,
      CI_REGISTRY_USER: registry.username,
      CI_REGISTRY_PASSWORD: registry.password,
    },
  });
  assert.deepEqual(endings(pipeline), { container: 0, 'chainloop-attest': 0 }, pipeline.output);
  const { items } = await scene.api.run.list.query({ workflow: 'image', project: 'bedrock' });
  const { attestation } = await scene.describe(items[0]?.id ?? '');
  const image = attestation?.materials.find(({ name }) => name === 'image');
  assert.match(image?.digest ?? '', /^sha256:[0-9a-f]{64}$/);
  assert.match(await pipeline.file('image.env'), new RegExp(`@${image?.digest}`));
  const { username, password } = registry;
  const client = createRegistryClient({
    origin: registry.origin,
    repository: 'acme/app',
    credentials: { type: 'basic', username, password },
  });
  const [referrer] = await client.referrers(parseDigest(image?.digest ?? ''));
  assert.equal(referrer?.artifactType, 'application/vnd.dev.sigstore.bundle.v0.3+json');
});

test('merge-request.yml: a merge request is checked and sends nothing, the default branch is attested', async (t) => {
  if (!needs(t, 'rsync')) return;
  await using scene = await sceneFor('one-job.contract.yaml');
  const yaml = await example('merge-request.yml');
  const variables = {
    CI_PIPELINE_SOURCE: 'merge_request_event',
    CI_MERGE_REQUEST_PROJECT_ID: '1',
    CI_MERGE_REQUEST_SOURCE_PROJECT_ID: '1',
  };
  for (const source of ['1', '2']) {
    const checked = await scene.pipeline(yaml, { files, variables: { ...variables, CI_MERGE_REQUEST_SOURCE_PROJECT_ID: source } });
    assert.deepEqual(endings(checked), { build: 0, 'chainloop-attest': 0 }, checked.output);
    assert.match(await checked.file('chainloop.env'), /^CHAINLOOP_STATUS=dry-run$/m);
  }
  assert.deepEqual(await scene.runs(), []);
  const typo = await scene.pipeline(yaml.replace('binary=dist/app', 'binary=dist/ap'), { files, variables });
  assert.equal(typo.jobs['chainloop-attest']?.exitCode, 2, typo.output);
  const pushed = await scene.pipeline(yaml, { files });
  assert.equal(pushed.jobs['chainloop-attest']?.exitCode, 0, pushed.output);
  assert.equal((await scene.runs())[0]?.state, 'success');
});

test('release-gate.yml: what verifies is deployed, and nothing else', async (t) => {
  if (!needs(t, 'rsync')) return;
  await using scene = await sceneFor('one-job.contract.yaml');
  await using line = await commandLine({ CHAINLOOP_URL: scene.plane.url });
  const path = join(line.folder, 'trust-root.json');
  succeeded(await line.run(['trust-root', 'export', '--output', path]));
  const rooted: Files = { ...files, '.chainloop/trust-root.json': await readFile(path, 'utf8') };
  const yaml = await example('release-gate.yml');
  const good = await scene.pipeline(yaml, { files: rooted });
  assert.deepEqual(endings(good), { build: 0, 'chainloop-attest': 0, 'chainloop-verify': 0, deploy: 0 }, good.output);
  assert.match(good.jobs.deploy?.log ?? '', /^hello from/m);
  const rootless = await scene.pipeline(yaml, { files });
  assert.equal(rootless.jobs['chainloop-verify']?.exitCode, 2, rootless.output);
  assert.equal(rootless.jobs.deploy, undefined);
});
