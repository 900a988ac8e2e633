import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { needs } from '../needs.ts';
import { build, componentVersion, contract, type PipelineOptions, type Scene, startScene } from './scene.ts';

let opening: Promise<Scene> | undefined;
const scene = (): Promise<Scene> => {
  opening ??= startScene({
    contract: `${contract}  - { type: STRING, name: note, optional: true }\n`,
    binding: { events: ['push', 'merge_request_event'] },
  });
  return opening;
};
after(async () => (await opening)?.[Symbol.asyncDispose]());

function claim(name: string, fn: (scene: Scene) => Promise<void>): void {
  test(name, async (t) => {
    if (needs(t, 'rsync')) await fn(await scene());
  });
}

const attest = (inputs: string, jobs = build): string => `stages: [build, test]
include:
  - component: $CI_SERVER_FQDN/chainloop/attest/attest@${componentVersion}
    inputs:
      workflow: release
${inputs}
${jobs}`;

const needed = '      needs: [build]\n';
const materials = `      materials: |
        binary=dist/app
        sbom=dist/app.cdx.json
        commit=$CI_COMMIT_SHA
`;

/** The value of a variable that the job hands on. */
async function handedOn(file: (path: string) => Promise<string>, name: string): Promise<string | undefined> {
  return new RegExp(`^${name}=(.*)$`, 'm').exec(await file('chainloop.env'))?.[1];
}

claim('one job attests, and leaves what the merge request shows and later jobs use', async ({ pipeline, describe }) => {
  const later = `${build}
later:
  stage: test
  needs: [chainloop-attest]
  script: ['echo "run $CHAINLOOP_RUN_ID is $CHAINLOOP_STATUS"']
`;
  const { jobs, output, file, folder } = await pipeline(attest(needed + materials, later));
  assert.equal(jobs['chainloop-attest']?.exitCode, 0, output);
  const runId = (await handedOn(file, 'CHAINLOOP_RUN_ID')) ?? '';
  const { run, attestation } = await describe(runId);
  assert.deepEqual([run.state, run.runnerAuthenticated], ['success', true]);
  assert.equal(run.identity?.san, 'https://gitlab.com/acme/app//.gitlab-ci.yml@refs/heads/main');
  assert.deepEqual(attestation?.materials.map(({ name }) => name).toSorted(), ['binary', 'commit', 'sbom']);
  assert.match(jobs.later?.log ?? '', new RegExp(`run ${runId} is passed`));
  assert.match(await file('chainloop-summary.md'), /✅ Chainloop attestation: release/);
  const bundle: { readonly mediaType: string } = JSON.parse(await file('chainloop-bundle.json'));
  assert.match(bundle.mediaType, /sigstore\.bundle/);
  const junit = await file('chainloop-junit.xml');
  assert.match(junit, /tests="5" failures="0" errors="0"/);
  for (const name of ['binary', 'sbom', 'commit', 'note', 'attestation']) assert.match(junit, new RegExp(`name="${name}"`));
  // Whoever reads the log, or takes the artifacts or the checkout, has no credential.
  const left = await readdir(folder, { recursive: true, withFileTypes: true });
  const texts = left.filter((entry) => entry.isFile()).map((entry) => readFile(join(entry.parentPath, entry.name), 'latin1'));
  for (const text of [output, ...(await Promise.all(texts))]) assert.doesNotMatch(text, /chl_[a-z]+_[\w-]{20}|eyJ[\w-]{8,}\.eyJ[\w-]+\./);
});

claim('a material that is missing: exit code 3, a red test case, and the run has failed', async ({ pipeline, describe }) => {
  const { jobs, output, file } = await pipeline(attest(`${needed}      materials: binary=dist/app\n`));
  assert.equal(jobs['chainloop-attest']?.exitCode, 3, output);
  assert.equal(jobs['chainloop-attest']?.allowed, false);
  const junit = await file('chainloop-junit.xml');
  assert.match(junit, /name="sbom"><failure message="missing: sbom \(SBOM_CYCLONEDX_JSON\)"/);
  assert.match(junit, /name="binary"><system-out>app@sha256:/);
  assert.equal(await handedOn(file, 'CHAINLOOP_MISSING'), 'sbom,commit');
  assert.match(await file('chainloop-summary.md'), /sbom=/);
  const { run } = await describe((await handedOn(file, 'CHAINLOOP_RUN_ID')) ?? '');
  assert.equal(run.state, 'failed', output);
});

const release = `release:
  script:
    - sh build.sh
    - !reference [.release, script]
`;

claim('a job of the same name builds and attests; when the build fails, a run says so', async ({ pipeline, runs, describe }) => {
  const yaml = attest(`      as: release\n      needs: []\n${materials}`, release);
  const good = await pipeline(yaml);
  assert.deepEqual(
    Object.entries(good.jobs).map(([name, { exitCode }]) => [name, exitCode]),
    [['release', 0]],
    good.output,
  );
  assert.equal((await runs())[0]?.state, 'success');

  const bad = await pipeline(yaml, { files: { 'build.sh': 'exit 7\n' } });
  assert.equal(bad.jobs.release?.exitCode, 7, bad.output);
  const [failed] = await runs();
  assert.equal(failed?.state, 'failed', bad.output);
  assert.match((await describe(failed?.id ?? '')).run.reason ?? '', /job release failed/);
});

claim('when the control plane is away the job fails with 75, which is a warning only where that is allowed', async ({ pipeline, runs }) => {
  const before = (await runs()).length;
  const away = { variables: { CHAINLOOP_URL: 'http://127.0.0.1:9' } };
  const later = `${build}\nlater:\n  stage: test\n  needs: [chainloop-attest]\n  script: [echo later]\n`;
  const inputs = `${needed}${materials}      retry-timeout: 1s\n`;
  const strict = await pipeline(attest(inputs, later), away);
  assert.deepEqual([strict.jobs['chainloop-attest']?.exitCode, strict.jobs['chainloop-attest']?.allowed], [75, false], strict.output);
  const tolerant = await pipeline(attest(`${inputs}      allow-failure-exit-codes: [75]\n`, later), away);
  assert.deepEqual([tolerant.jobs['chainloop-attest']?.exitCode, tolerant.jobs['chainloop-attest']?.allowed], [75, true], tolerant.output);
  assert.equal(tolerant.jobs.later?.exitCode, 0);
  assert.match(await tolerant.file('chainloop-junit.xml'), /name="attestation"><error/);
  // What is allowed is an outage, and nothing else.
  const missing = await pipeline(attest(`${needed}      materials: binary=dist/app\n      allow-failure-exit-codes: [75]\n`, later));
  assert.deepEqual([missing.jobs['chainloop-attest']?.exitCode, missing.jobs['chainloop-attest']?.allowed], [3, false], missing.output);
  const deferred = await pipeline(attest(`${inputs}      on-outage: defer\n`), away);
  assert.equal(deferred.jobs['chainloop-attest']?.exitCode, 0, deferred.output);
  assert.equal(await handedOn(deferred.file, 'CHAINLOOP_STATUS'), 'deferred');
  assert.equal((await runs()).length, before + 1, 'only the run that misses materials is recorded');
});

const inMergeRequest = '      rules: [{ if: $CI_PIPELINE_SOURCE == "merge_request_event" }]\n';
const fork: PipelineOptions = {
  variables: {
    CI_PIPELINE_SOURCE: 'merge_request_event',
    CI_MERGE_REQUEST_PROJECT_ID: '456789',
    CI_MERGE_REQUEST_SOURCE_PROJECT_ID: '777',
  },
  claims: {
    pipeline_source: 'merge_request_event',
    project_id: '777',
    project_path: 'mallory/app',
    namespace_id: '778',
    namespace_path: 'mallory',
  },
};

claim('in a merge request of a fork nothing is attested: skipped, or failed where that is asked for', async ({ pipeline, runs }) => {
  const before = (await runs()).length;
  const skipped = await pipeline(attest(needed + materials + inMergeRequest), fork);
  assert.equal(skipped.jobs['chainloop-attest']?.exitCode, 0, skipped.output);
  assert.equal(await handedOn(skipped.file, 'CHAINLOOP_STATUS'), 'skipped');
  assert.match(skipped.output, /merge request from a fork/);
  const refused = await pipeline(attest(`${needed}${materials}${inMergeRequest}      fork-pr: fail\n`), fork);
  assert.equal(refused.jobs['chainloop-attest']?.exitCode, 5, refused.output);
  assert.equal((await runs()).length, before);
});

claim('a fork that hides that it is one is refused by the control plane', async ({ pipeline, runs }) => {
  const before = (await runs()).length;
  const hidden: PipelineOptions = { ...fork, variables: { CI_PIPELINE_SOURCE: 'merge_request_event' } };
  const { jobs, output } = await pipeline(attest(needed + materials + inMergeRequest), hidden);
  assert.equal(jobs['chainloop-attest']?.exitCode, 5, output);
  assert.equal((await runs()).length, before);
});

claim('a merge request of the project itself attests where the binding has the event', async ({ pipeline }) => {
  const own = { variables: { CI_PIPELINE_SOURCE: 'merge_request_event' }, claims: { pipeline_source: 'merge_request_event' } };
  const { jobs, output } = await pipeline(attest(needed + materials + inMergeRequest), own);
  assert.equal(jobs['chainloop-attest']?.exitCode, 0, output);
});

claim('values with quotes, $, line breaks, ]] and commands are values', async ({ pipeline, describe }) => {
  const text = `it's "quoted" \`touch pwned-1\` $(touch pwned-2); touch pwned-3 ]] $[[ inputs.cli ]] }} \\0 \\n %s $$HOME`;
  const inputs = `${needed}      materials: |
        binary=dist/app
        sbom=dist/app.cdx.json
        commit=$CI_COMMIT_SHA
        note=${text}
        # "]]
        # script: [touch pwned-4]
      annotations: |
        # ' ; touch pwned-5
      materials-file: ""
`;
  const { jobs, output, file, folder } = await pipeline(attest(inputs));
  assert.equal(jobs['chainloop-attest']?.exitCode, 0, output);
  const { attestation } = await describe((await handedOn(file, 'CHAINLOOP_RUN_ID')) ?? '');
  const value = (name: string): string | undefined => attestation?.materials.find((material) => material.name === name)?.value;
  assert.equal(value('note'), text.replace('$$', '$'));
  assert.match(value('commit') ?? '', /^[0-9a-f]{40}$/, 'variables of GitLab are expanded');
  for (let number = 1; number <= 5; number++) assert.equal(existsSync(join(folder, `pwned-${number}`)), false, `pwned-${number}`);
});

claim('what would be a command in other inputs is none', async ({ pipeline }) => {
  const attempts = [
    'cli: "npx --yes chainloop@0.1.0; touch pwned"',
    'cli: "$(touch pwned) npx"',
    `as: "a: { script: [touch pwned] }"
      image: "node:24-slim\\n  script: [touch pwned]"
      signing: key
      signing-key: "$(touch pwned)"
      materials-file: "'; touch pwned #"`,
  ];
  for (const lines of attempts) {
    const { folder, output } = await pipeline(attest(`${needed}      dry-run: "true"\n      ${lines}\n`));
    assert.match(output, / FAIL /, output);
    assert.equal(existsSync(join(folder, 'pwned')), false, `${lines}\n${output}`);
  }
});

claim('what is not as the schema has it is refused before any job starts, with the name of the input', async ({ refusals }) => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['control-plane: http://chainloop.example.com', /`control-plane` input: .*does not match/],
    ['control-plane: https://chainloop.example.com/', /`control-plane` input: .*does not match/],
    ['project: My Project', /`project` input: `My Project` does not match/],
    [`organization: "acme'; exit"`, /`organization` input: .*does not match/],
    ['contract-revision: newest', /`contract-revision` input: `newest` does not match/],
    ['contract-revision: 3', /`contract-revision` input: provided value is not a string/],
    ['on-outage: ignore', /`on-outage` input: `ignore` cannot be used because it is not in the list of allowed options/],
    ['on-violation: nothing', /`on-violation` input: `nothing` cannot be used/],
    ['signing: gpg', /`signing` input: `gpg` cannot be used/],
    ['fork-pr: allow', /`fork-pr` input: `allow` cannot be used/],
    ['dry-run: maybe', /`dry-run` input: `maybe` cannot be used/],
    ['retry-timeout: soon', /`retry-timeout` input: `soon` does not match/],
    ['materials: [binary=dist/app]', /`materials` input: provided value is not a string/],
    ['tags: linux', /`tags` input: provided value is not a array/],
    ['rules: always', /`rules` input: provided value is not a array/],
    ['allow-failure-exit-codes: 75', /`allow-failure-exit-codes` input: provided value is not a array/],
  ];
  const said = await refusals([...cases.map(([line]) => attest(`${needed}      ${line}\n`)), attest(materials)]);
  for (const [index, [line, says]] of cases.entries()) assert.match(said[index] ?? '', says, line);
  assert.match(said.at(-1) ?? '', /`needs` input: required value has not been provided/);
});

claim('a version range is the newest of its releases', async ({ pipeline }) => {
  const { jobs, output } = await pipeline(attest(needed + materials).replace(`@${componentVersion}`, '@1'));
  assert.equal(jobs['chainloop-attest']?.exitCode, 0, output);
});
