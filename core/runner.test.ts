import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runnerTypes } from './names.ts';
import { detectRunner, displayRunnerType, type Env, jobKey, jobWorkspace, runnerVariables } from './runner.ts';

const github: Env = {
  CI: 'true',
  GITHUB_ACTIONS: 'true',
  GITHUB_SERVER_URL: 'https://github.com',
  GITHUB_REPOSITORY: 'acme/app',
  GITHUB_RUN_ID: '3411479373',
  GITHUB_RUN_ATTEMPT: '2',
  GITHUB_JOB: 'release',
  GITHUB_WORKFLOW_REF: 'acme/app/.github/workflows/release.yml@refs/heads/main',
  GITHUB_WORKSPACE: '/home/runner/work/app/app',
  RUNNER_ENVIRONMENT: 'github-hosted',
  RUNNER_NAME: 'GitHub Actions 5',
};
const gitlab: Env = {
  CI: 'true',
  GITLAB_CI: 'true',
  CI_SERVER_URL: 'https://gitlab.example.com',
  CI_JOB_ID: '42',
  CI_JOB_URL: 'https://gitlab.example.com/acme/app/-/jobs/42',
  CI_CONFIG_PATH: '.gitlab-ci.yml',
};
const azure: Env = {
  TF_BUILD: 'True',
  BUILD_BUILDID: '7',
  SYSTEM_COLLECTIONURI: 'https://dev.azure.com/acme/',
  SYSTEM_TEAMPROJECT: 'the app',
  SYSTEM_JOBID: 'j-1',
};
const circle: Env = { CI: 'true', CIRCLECI: 'true', CIRCLE_BUILD_URL: 'https://circleci.com/gh/acme/app/9' };
const buildkite: Env = {
  BUILDKITE: 'true',
  BUILDKITE_BUILD_URL: 'https://buildkite.com/acme/app/builds/5',
  BUILDKITE_JOB_ID: '0183-ab',
};
const bitbucket: Env = {
  BITBUCKET_BUILD_NUMBER: '12',
  BITBUCKET_STEP_UUID: '{a}',
  BITBUCKET_REPO_FULL_NAME: 'acme/app',
};
const teamcity: Env = { TEAMCITY_VERSION: '2026.1', BUILD_URL: 'https://teamcity.example.com/build/77', BUILD_NUMBER: '77' };
const jenkins: Env = {
  JENKINS_URL: 'https://ci.example.com/',
  JOB_NAME: 'app',
  BUILD_NUMBER: '3',
  BUILD_URL: 'https://ci.example.com/job/app/3/',
};
const tekton: Env = {
  KUBERNETES_SERVICE_HOST: '10.0.0.1',
  HOSTNAME: 'release-x7-build-pod',
  TEKTON_DASHBOARD_URL: 'https://tekton.example.com/',
  TEKTON_NAMESPACE: 'ci',
  TEKTON_PIPELINERUN_NAME: 'release-x7',
};

const recognised = [
  {
    env: github,
    context: {
      type: 'GITHUB_ACTION',
      url: 'https://github.com/acme/app/actions/runs/3411479373/attempts/2',
      environment: 'github-hosted',
      workflowFilePath: '.github/workflows/release.yml',
      authenticated: false,
    },
  },
  {
    env: gitlab,
    context: {
      type: 'GITLAB_PIPELINE',
      url: 'https://gitlab.example.com/acme/app/-/jobs/42',
      workflowFilePath: '.gitlab-ci.yml',
      authenticated: false,
    },
  },
  {
    env: azure,
    context: {
      type: 'AZURE_PIPELINE',
      url: 'https://dev.azure.com/acme/the%20app/_build/results?buildId=7&view=logs&j=j-1',
      authenticated: false,
    },
  },
  { env: circle, context: { type: 'CIRCLECI_BUILD', url: 'https://circleci.com/gh/acme/app/9', authenticated: false } },
  {
    env: buildkite,
    context: { type: 'BUILDKITE_PIPELINE', url: 'https://buildkite.com/acme/app/builds/5#0183-ab', authenticated: false },
  },
  {
    env: bitbucket,
    context: { type: 'BITBUCKET_PIPELINE', url: 'https://bitbucket.org/acme/app/pipelines/results/12', authenticated: false },
  },
  { env: teamcity, context: { type: 'TEAMCITY_PIPELINE', url: 'https://teamcity.example.com/build/77', authenticated: false } },
  { env: jenkins, context: { type: 'JENKINS_JOB', url: 'https://ci.example.com/job/app/3/', authenticated: false } },
  {
    env: tekton,
    context: {
      type: 'TEKTON_PIPELINE',
      url: 'https://tekton.example.com/#/namespaces/ci/pipelineruns/release-x7',
      authenticated: false,
    },
  },
] as const;

for (const { env, context } of recognised) {
  test(`${context.type} is recognised, with the page of its run`, () => assert.deepEqual(detectRunner(env), context));
}

test('every CI system that a contract may ask for can be recognised', () => {
  assert.deepEqual(recognised.map((row) => row.context.type).toSorted(), runnerTypes.toSorted());
});

test('outside of CI there is no runner and no job', () => {
  const env = { PATH: '/usr/bin', HOME: '/root', CI: 'true' };
  assert.deepEqual(detectRunner(env), { authenticated: false });
  assert.deepEqual(jobKey(env), []);
  assert.equal(jobWorkspace(env), undefined);
});

const nested = [
  {
    what: 'a GitLab job whose runner was started by a Jenkins agent is a GitLab job',
    env: { ...jenkins, ...gitlab },
    type: 'GITLAB_PIPELINE',
  },
  { what: 'a GitHub job on a machine with TeamCity variables is a GitHub job', env: { ...teamcity, ...github }, type: 'GITHUB_ACTION' },
  { what: 'a Jenkins job in a pod is a Jenkins job', env: { ...tekton, ...jenkins }, type: 'JENKINS_JOB' },
  {
    what: 'a TeamCity build with the generic names of Jenkins is a TeamCity build',
    env: { ...jenkins, ...teamcity },
    type: 'TEAMCITY_PIPELINE',
  },
  {
    what: 'Jenkins with a plugin for Bitbucket Server is a Jenkins job',
    env: { ...jenkins, BITBUCKET_BUILD_NUMBER: '1' },
    type: 'JENKINS_JOB',
  },
] as const;
for (const { what, env, type } of nested) test(what, () => assert.equal(detectRunner(env).type, type));

test('runner detection does not depend on the order of the variables', () => {
  const all = { ...tekton, ...jenkins, ...teamcity, ...bitbucket, ...buildkite, ...circle, ...azure, ...gitlab, ...github };
  const reversed = Object.fromEntries(Object.entries(all).toReversed());
  assert.deepEqual(detectRunner(reversed), detectRunner(all));
  assert.equal(detectRunner(all).type, 'GITHUB_ACTION');
});

test('the run URL follows GITHUB_SERVER_URL and has the attempt', () => {
  const env = { ...github, GITHUB_SERVER_URL: 'https://github.acme.example' };
  assert.equal(detectRunner(env).url, 'https://github.acme.example/acme/app/actions/runs/3411479373/attempts/2');
  assert.equal(detectRunner({ ...env, GITHUB_RUN_ATTEMPT: undefined }).url, 'https://github.acme.example/acme/app/actions/runs/3411479373');
});

const refusedUrls = [
  ['credentials', 'https://user:secret@ci.example.com/job/1'],
  ['a user', 'https://token@ci.example.com/job/1'],
  ['a script', 'javascript:alert(1)'],
  ['a file', 'file:///etc/passwd'],
  ['no URL at all', 'not a url'],
  ['too many letters', `https://ci.example.com/${'a'.repeat(2048)}`],
] as const;
for (const [what, url] of refusedUrls) {
  test(`a run URL with ${what} is left out`, () => {
    assert.deepEqual(detectRunner({ ...jenkins, BUILD_URL: url }), { type: 'JENKINS_JOB', authenticated: false });
  });
}

test('a re-run, another job and another machine each have a job key of their own', () => {
  const keys = [
    github,
    { ...github, GITHUB_RUN_ATTEMPT: '3' },
    { ...github, GITHUB_JOB: 'build' },
    { ...github, RUNNER_NAME: 'GitHub Actions 6' },
    { ...github, GITHUB_REPOSITORY: 'acme/lib' },
  ].map((env) => JSON.stringify(jobKey(env)));
  assert.equal(new Set(keys).size, keys.length);
});

test('the variables that are recorded for GitHub are those of the introduction', () => {
  const shown = ['GITHUB_ACTOR', 'GITHUB_REF', 'GITHUB_REPOSITORY', 'GITHUB_REPOSITORY_OWNER', 'GITHUB_RUN_ID', 'GITHUB_SHA'];
  const recorded = runnerVariables('GITHUB_ACTION');
  for (const name of [...shown, 'RUNNER_NAME', 'RUNNER_OS']) assert.ok(recorded.includes(name), name);
  assert.deepEqual(runnerVariables(undefined), []);
});

test('no variable that is recorded by default may hold a secret', () => {
  for (const type of runnerTypes) {
    for (const name of runnerVariables(type)) assert.doesNotMatch(name, /TOKEN|SECRET|PASSWORD|KEY$|CREDENTIAL|REPOSITORY_URL|REPO$/, name);
  }
});

test('a CI system is shown as the introduction shows it', () => {
  assert.equal(displayRunnerType('GITHUB_ACTION'), 'Github action');
  assert.equal(displayRunnerType(null), 'unspecified');
});
