import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { needs } from '../needs.ts';
import { componentVersion, type Scene, startScene } from './scene.ts';

const contract = `schemaVersion: v1
materials:
  - { type: ARTIFACT, name: binary-amd64, output: true }
  - { type: ARTIFACT, name: binary-arm64, output: true }
  - { type: STRING, name: commit, optional: true }
`;

let opening: Promise<Scene> | undefined;
const scene = (): Promise<Scene> => (opening ??= startScene({ contract }));
after(async () => (await opening)?.[Symbol.asyncDispose]());

const component = (name: string, inputs = ''): string =>
  `  - component: $CI_SERVER_FQDN/chainloop/attest/${name}@${componentVersion}\n    inputs:\n      workflow: release\n${inputs}`;

const build = `build:
  extends: .chainloop-add
  stage: build
  parallel: { matrix: [{ ARCH: [amd64, arm64] }] }
  variables:
    CHAINLOOP_MATERIALS: binary-$ARCH=dist/app-$ARCH
  script:
    - sh build.sh "$ARCH"
    - !reference [.chainloop-add, script]
`;

const shared = `stages: [build, test]
include:
${component('init')}${component('add', '      needs: [chainloop-init]\n      stage: build\n      materials: commit=$CI_COMMIT_SHA\n')}${component('push', '      needs: [build, chainloop-add]\n')}
${build}`;

const builds = { 'build.sh': 'set -e\nmkdir -p dist\necho "hello from $1" > "dist/app-$1"\n' };

test('jobs of a pipeline share an attestation, and pass nothing to one another', async (t) => {
  if (!needs(t, 'rsync')) return;
  const { pipeline, runs, describe } = await scene();
  const { jobs, output, file } = await pipeline(shared, { files: builds });
  assert.deepEqual(
    Object.entries(jobs)
      .map(([name, { exitCode }]) => [name, exitCode])
      .toSorted(),
    [
      ['build: [amd64]', 0],
      ['build: [arm64]', 0],
      ['chainloop-add', 0],
      ['chainloop-init', 0],
      ['chainloop-push', 0],
    ],
    output,
  );
  const [run] = await runs();
  const { run: described, attestation } = await describe(run?.id ?? '');
  assert.equal(described.state, 'success');
  assert.deepEqual(attestation?.materials.map(({ name }) => name).toSorted(), ['binary-amd64', 'binary-arm64', 'commit']);
  assert.match(await file('chainloop-junit.xml'), /binary-arm64.*by .*build: \[arm64\]/);
});

test('a build that fails: push runs nevertheless and says what is missing; retried, the pipeline goes on with what is there', async (t) => {
  if (!needs(t, 'rsync')) return;
  const { pipeline, runs, describe } = await scene();
  const files = { 'build.sh': `[ "$1" != amd64 ] || exit 7\n${builds['build.sh']}` };
  const { jobs, output, file, id } = await pipeline(shared, { files });
  assert.equal(jobs['build: [amd64]']?.exitCode, 7, output);
  assert.equal(jobs['build: [arm64]']?.exitCode, 0, output);
  assert.equal(jobs['chainloop-push']?.exitCode, 3, output);
  assert.match(await file('chainloop-junit.xml'), /name="binary-amd64"><failure message="missing: binary-amd64 \(ARTIFACT\)/);
  assert.match(await file('chainloop.env'), /^CHAINLOOP_MISSING=binary-amd64$/m);
  const [first] = await runs();
  assert.equal(first?.state, 'initialized');
  // As GitLab retries failed jobs: the pipeline is the same.
  const again = await pipeline(shared, { files: builds, id });
  assert.equal(again.jobs['chainloop-push']?.exitCode, 0, again.output);
  const [second] = await runs();
  assert.deepEqual([second?.id, second?.state], [first?.id, 'success']);
  const { attestation } = await describe(first?.id ?? '');
  assert.equal(attestation?.materials.length, 3);
});
