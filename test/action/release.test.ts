import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import packageFile from '../../package.json' with { type: 'json' };
import { tagEvent } from '../fakes/actions-runner/event.ts';
import { runWorkflow, type WorkflowResult } from '../fakes/actions-runner/workflow.ts';
import { cycloneDx, put, root, standIns, startScene } from './scene.ts';

// .github/workflows/release.yml, as it is: npm, git and gh are stand-ins that say what they were asked, everything else is real.

const tag = `v${packageFile.version}`;
const text = (file: string): Promise<string> => readFile(join(root, file), 'utf8');

/** Of this project at GitHub, as the tests call it. */
const attestedBy = `acme/app/.github/workflows/attest.yml@refs/tags/${tag}`;

/** What the release asked of the world outside, in order. */
async function release(
  options: { readonly contract?: string; readonly tag?: string } = {},
): Promise<WorkflowResult & { readonly published: readonly string[] }> {
  await using scene = await startScene({ contract: options.contract ?? (await text('.github/release.contract.yaml')) });
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-release-'));
  const artifacts = join(folder.path, 'artifacts');
  await mkdir(artifacts);
  const [tools, published] = [join(folder.path, 'tools'), join(folder.path, 'published')];
  const programs = {
    npm: `case "$1" in
  pack) echo '> building'; echo app > release/chainloop-${packageFile.version}.tgz; echo chainloop-${packageFile.version}.tgz;;
  sbom) cat <<'END'\n${cycloneDx}\nEND\n;;
  publish) echo "npm $*" >> '${published}';;
esac`,
    git: 'exit 0',
    gh: `echo "gh $*" >> '${published}'`,
  };
  for (const [name, program] of Object.entries(programs)) {
    await put(tools, name, `#!/bin/sh\n${program}\n`);
    await chmod(join(tools, name), 0o755);
  }
  const project = (workspace: string) => put(workspace, 'package.json', JSON.stringify({ version: packageFile.version }));
  const ref = options.tag ?? tag;
  const run = scene.newRun({
    github: tagEvent(ref, { run_id: '8001' }),
    sources: { ...standIns(project, artifacts), 'actions/setup-node': { type: 'stand-in', run: async () => ({}) } },
    vars: { CHAINLOOP_URL: scene.plane.url },
    tools: [tools],
    home: root,
  });
  const result = await runWorkflow(run, await text('.github/workflows/release.yml'));
  return { ...result, published: (await readFile(published, 'utf8').catch(() => '')).trim().split('\n').filter(Boolean) };
}

test('a release is attested by its own action, then published with its bundle; v1 and v1.2 move', async () => {
  const { status, jobs, published } = await release();
  assert.equal(
    status,
    'success',
    Object.values(jobs)
      .map(({ log }) => log)
      .join('\n'),
  );
  const attested = jobs['attest / attest'];
  assert.equal(attested?.outputs.status, 'passed');
  assert.match(attested?.log ?? '', new RegExp(`^signed by https://github.com/${attestedBy}$`, 'm'));
  const [major, minor] = packageFile.version.split('.');
  assert.match(published[0] ?? '', /^npm publish --access public release\/chainloop-.*\.tgz$/);
  assert.match(
    published[1] ?? '',
    new RegExp(`^gh release create ${tag} .*release/bundle.json release/chainloop-.*tgz release/sbom.cdx.json$`),
  );
  assert.deepEqual(
    published.slice(2).map((line) => /tags\/(\S+)/.exec(line)?.[1]),
    [`v${major}`, `v${major}.${minor}`],
  );
});

test('nothing is published that is not attested', async () => {
  const unsatisfied = await release({
    contract: 'schemaVersion: v1\nmaterials:\n  - { type: ARTIFACT, name: package, output: true }\n  - { type: ARTIFACT, name: more }\n',
  });
  assert.equal(unsatisfied.status, 'failure');
  assert.deepEqual(unsatisfied.published, []);
});

test('a tag that is not the version of the package is no release', async () => {
  const other = await release({ tag: 'v999.0.0' });
  assert.equal(other.status, 'failure');
  assert.deepEqual(other.published, []);
});
