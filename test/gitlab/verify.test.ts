import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { commandLine } from '../fakes/command-line.ts';
import { succeeded } from '../fakes/workplace.ts';
import { needs } from '../needs.ts';
import { componentVersion, type Files, project, type Scene, startScene } from './scene.ts';

type Stage = { readonly scene: Scene; readonly trustRoot: string };
let opening: Promise<Stage> | undefined;
const open = (): Promise<Stage> => {
  opening ??= prepare();
  return opening;
};
after(async () => (await opening)?.scene[Symbol.asyncDispose]());

async function prepare(): Promise<Stage> {
  const scene = await startScene();
  await using line = await commandLine({ CHAINLOOP_URL: scene.plane.url });
  const path = join(line.folder, 'trust-root.json');
  succeeded(await line.run(['trust-root', 'export', '--output', path]));
  return { scene, trustRoot: await readFile(path, 'utf8') };
}

const identity = 'identity: https://gitlab.com/acme/app//.gitlab-ci.yml@refs/heads/main';

const release = `  - component: $CI_SERVER_FQDN/chainloop/attest/attest@${componentVersion}
    inputs:
      workflow: release
      stage: build
      as: release
      needs: []
      materials: |
        binary=dist/app
        sbom=dist/app.cdx.json
        commit=$CI_COMMIT_SHA
release:
  script: [sh build.sh, !reference [.release, script]]
`;

/** A deployment behind a gate, after a job that can do what it likes with the files. */
const gated = (inputs: readonly string[], { before = '', tamper = 'true' } = {}): string => `stages: [build, verify, deploy]
include:
  - component: $CI_SERVER_FQDN/chainloop/attest/verify@${componentVersion}
    inputs:
      stage: verify
      needs: [tamper]
      ${inputs.join('\n      ')}
${before}
tamper:
  stage: build
  needs: ${before === '' ? '[]' : '[release]'}
  script: [${JSON.stringify(tamper)}]
deploy:
  stage: deploy
  needs: [chainloop-verify]
  script: [sh dist/app]
`;

/** A project that builds `extra` beside its program. */
const files = (trustRoot: string, extra = ''): Files => ({
  ...project,
  'build.sh': `${project['build.sh']}echo 'echo deployed' > dist/app\n${extra}`,
  '.chainloop/trust-root.json': trustRoot,
});

test('what verifies is deployed; whatever else happens, nothing is', async (t) => {
  if (!needs(t, 'rsync')) return;
  const { scene, trustRoot } = await open();
  const good = [identity, 'artifacts: dist/app'];
  const all = [...good, `identity-issuer: ${scene.gitlab.issuer}`, 'source-repository: https://gitlab.com/acme/app'];
  const passed = await scene.pipeline(gated(all, { before: release }), { files: files(trustRoot) });
  assert.equal(passed.jobs['chainloop-verify']?.exitCode, 0, passed.output);
  assert.match(passed.jobs.deploy?.log ?? '', /^deployed$/m);

  // What the build has left.
  const left: Files = {
    'dist/app': await passed.file('dist/app'),
    'chainloop-bundle.json': await passed.file('chainloop-bundle.json'),
    '.chainloop/trust-root.json': trustRoot,
    'other.txt': 'not attested',
  };
  const deploy = (inputs: readonly string[], tamper?: string) => scene.pipeline(gated(inputs, { tamper }), { files: left });
  const again = await deploy(['identity-prefix: https://gitlab.com/acme/app//', 'artifacts: dist/app']);
  assert.equal(again.jobs['chainloop-verify']?.exitCode, 0, again.output);

  const refusals: readonly (readonly [string, Awaited<ReturnType<typeof deploy>>])[] = [
    ['another binary', await deploy(good, 'echo evil > dist/app')],
    ['no binary', await deploy(good, 'rm dist/app')],
    ['another bundle', await deploy(good, 'echo {} > chainloop-bundle.json')],
    ['another trusted root', await deploy(good, 'echo {} > .chainloop/trust-root.json')],
    ['another identity', await deploy([`${identity}-evil`, 'artifacts: dist/app'])],
    ['an identity that is not set', await deploy(['identity: $NOT_SET', 'artifacts: dist/app'])],
    ['an issuer that is not set', await deploy([...good, 'identity-issuer: $NOT_SET'])],
    ['another repository', await deploy([...good, 'source-repository: https://gitlab.com/acme/other'])],
    ['nobody who is trusted', await deploy(['artifacts: dist/app'])],
    ['artifacts that are not set', await deploy([identity, 'artifacts: $NOT_SET'])],
    ['one of two artifacts that is not attested', await deploy([identity, 'artifacts: "dist/app\\nother.txt"'])],
    ['a pattern', await deploy([identity, 'artifacts: dist/a*'])],
    ['a program that is not there', await deploy([...good, 'cli: /nowhere/chainloop'])],
  ];
  for (const [what, { jobs, output }] of refusals) {
    assert.ok((jobs['chainloop-verify']?.exitCode ?? 0) > 0, `${what}\n${output}`);
    assert.equal(jobs['chainloop-verify']?.allowed, false, what);
    assert.equal(jobs.deploy, undefined, `${what} was deployed\n${output}`);
  }
});

test('a gate needs artifacts, and takes paths with quotes and blanks as they are', async (t) => {
  if (!needs(t, 'rsync')) return;
  const { scene, trustRoot } = await open();
  const [missing = ''] = await scene.refusals([gated([identity])]);
  assert.match(missing, /`artifacts` input: required value has not been provided/);
  const artifacts = `artifacts: "dist/app\\ndist/it's; touch pwned\\n"`;
  const { jobs, output, file } = await scene.pipeline(gated([identity, artifacts], { before: release }), {
    files: files(trustRoot, `cp dist/app "dist/it's; touch pwned"\n`),
  });
  assert.equal(jobs['chainloop-verify']?.exitCode, 0, output);
  assert.equal(await file('pwned'), '');
});
