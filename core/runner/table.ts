import type { RunnerType } from '../names.ts';

/** Environment variables, as a process has them. */
export type Env = Readonly<Record<string, string | undefined>>;

/** One CI system. The names are those that its own documentation gives; what it does not document is not used. */
export type RunnerRow = {
  readonly type: RunnerType;
  readonly label: string;
  readonly recognise: (env: Env) => boolean;
  /** The page of the run; undefined when a part of it is missing. */
  readonly url: (env: Env) => string | undefined;
  /** Who runs the machine, in the words of the CI system. Absent when it does not say. */
  readonly environment?: (env: Env) => string | undefined;
  /** Where the workflow is written, inside the repository. */
  readonly workflowFilePath?: (env: Env) => string | undefined;
  /** Recorded in every attestation when set. Nothing here may hold a secret. */
  readonly variables: readonly string[];
  /** Together unique for one execution of one job: a re-run is another job. */
  readonly job: readonly string[];
  /** The variable with the name of the job, for people. */
  readonly jobName?: string;
  /** The variable with the checkout folder. */
  readonly workspace?: string;
};

/**
 * The first row that recognises the environment wins, so the order is a decision:
 *
 * 1. Systems whose marker is their own word and which set it in every job. They cannot be taken for one another.
 * 2. TeamCity, then Jenkins. Both use names without a prefix (BUILD_URL, BUILD_NUMBER), and an agent of another system that a Jenkins
 *    or TeamCity agent started, or that runs on the same machine, inherits them: the inner system is the one that has the job.
 * 3. Tekton, which sets nothing of its own: it is recognised by its pod, and jobs of GitLab, Jenkins and others run in pods too.
 */
export const runners: readonly RunnerRow[] = [
  {
    type: 'GITHUB_ACTION',
    label: 'Github action',
    recognise: (env) => env.GITHUB_ACTIONS === 'true' && isSet(env.GITHUB_RUN_ID),
    url: (env) => {
      // The server is a variable because of GitHub Enterprise; without the attempt, a re-run would show another run's page.
      const run = join(env.GITHUB_SERVER_URL, '/', env.GITHUB_REPOSITORY, '/actions/runs/', env.GITHUB_RUN_ID);
      return join(run, '/attempts/', env.GITHUB_RUN_ATTEMPT) ?? run;
    },
    environment: (env) => env.RUNNER_ENVIRONMENT,
    workflowFilePath: githubWorkflowFile,
    variables: [
      'GITHUB_ACTOR',
      'GITHUB_REF',
      'GITHUB_REPOSITORY',
      'GITHUB_REPOSITORY_OWNER',
      'GITHUB_RUN_ID',
      'GITHUB_SHA',
      'RUNNER_NAME',
      'RUNNER_OS',
      // Set in pull requests only: the run is on GitHub's merge commit, and these say of what into what.
      'GITHUB_HEAD_REF',
      'GITHUB_BASE_REF',
    ],
    job: ['GITHUB_SERVER_URL', 'GITHUB_REPOSITORY', 'GITHUB_RUN_ID', 'GITHUB_RUN_ATTEMPT', 'GITHUB_JOB', 'RUNNER_NAME'],
    jobName: 'GITHUB_JOB',
    workspace: 'GITHUB_WORKSPACE',
  },
  {
    type: 'GITLAB_PIPELINE',
    label: 'Gitlab pipeline',
    recognise: (env) => env.GITLAB_CI === 'true',
    url: (env) => env.CI_JOB_URL,
    workflowFilePath: (env) => env.CI_CONFIG_PATH,
    variables: [
      'CI_COMMIT_REF_NAME',
      'CI_COMMIT_SHA',
      'CI_JOB_ID',
      'CI_PIPELINE_ID',
      'CI_PIPELINE_SOURCE',
      'CI_PROJECT_PATH',
      'CI_RUNNER_DESCRIPTION',
      'CI_RUNNER_ID',
      'CI_SERVER_URL',
      'GITLAB_USER_LOGIN',
      // Set in merge requests only.
      'CI_MERGE_REQUEST_SOURCE_BRANCH_SHA',
    ],
    job: ['CI_SERVER_URL', 'CI_JOB_ID'],
    jobName: 'CI_JOB_NAME',
    workspace: 'CI_PROJECT_DIR',
  },
  {
    type: 'AZURE_PIPELINE',
    label: 'Azure pipeline',
    recognise: (env) => env.TF_BUILD?.toLowerCase() === 'true' && isSet(env.BUILD_BUILDID),
    url: azureUrl,
    variables: [
      'BUILD_BUILDID',
      'BUILD_BUILDNUMBER',
      'BUILD_DEFINITIONNAME',
      'BUILD_REASON',
      'BUILD_REPOSITORY_NAME',
      'BUILD_REQUESTEDFOR',
      'BUILD_SOURCEBRANCH',
      'BUILD_SOURCEVERSION',
      'SYSTEM_TEAMPROJECT',
      'SYSTEM_PULLREQUEST_SOURCECOMMITID',
    ],
    job: ['SYSTEM_COLLECTIONID', 'BUILD_BUILDID', 'SYSTEM_JOBID', 'SYSTEM_JOBATTEMPT'],
    workspace: 'BUILD_SOURCESDIRECTORY',
  },
  {
    type: 'CIRCLECI_BUILD',
    label: 'CircleCI build',
    recognise: (env) => env.CIRCLECI === 'true',
    url: (env) => env.CIRCLE_BUILD_URL,
    variables: [
      'CIRCLE_BRANCH',
      'CIRCLE_BUILD_NUM',
      'CIRCLE_JOB',
      'CIRCLE_NODE_TOTAL',
      'CIRCLE_PR_USERNAME',
      'CIRCLE_PROJECT_REPONAME',
      'CIRCLE_PROJECT_USERNAME',
      'CIRCLE_SHA1',
      'CIRCLE_TAG',
      'CIRCLE_USERNAME',
      'CIRCLE_WORKFLOW_ID',
    ],
    job: ['CIRCLE_WORKFLOW_ID', 'CIRCLE_WORKFLOW_JOB_ID', 'CIRCLE_BUILD_NUM', 'CIRCLE_NODE_INDEX'],
  },
  {
    type: 'BUILDKITE_PIPELINE',
    label: 'Buildkite pipeline',
    recognise: (env) => env.BUILDKITE === 'true',
    url: (env) => join(env.BUILDKITE_BUILD_URL, '#', env.BUILDKITE_JOB_ID) ?? env.BUILDKITE_BUILD_URL,
    variables: [
      'BUILDKITE_AGENT_NAME',
      'BUILDKITE_BRANCH',
      'BUILDKITE_BUILD_CREATOR',
      'BUILDKITE_BUILD_ID',
      'BUILDKITE_BUILD_NUMBER',
      'BUILDKITE_COMMIT',
      'BUILDKITE_JOB_ID',
      'BUILDKITE_ORGANIZATION_SLUG',
      'BUILDKITE_PIPELINE_SLUG',
      'BUILDKITE_TAG',
    ],
    // A retried job has an id of its own.
    job: ['BUILDKITE_JOB_ID'],
    workspace: 'BUILDKITE_BUILD_CHECKOUT_PATH',
  },
  {
    type: 'BITBUCKET_PIPELINE',
    label: 'Bitbucket pipeline',
    // Plugins for Bitbucket Server set BITBUCKET_* in Jenkins; only Pipelines has steps.
    recognise: (env) => isSet(env.BITBUCKET_BUILD_NUMBER) && isSet(env.BITBUCKET_STEP_UUID),
    url: (env) => join('https://bitbucket.org/', env.BITBUCKET_REPO_FULL_NAME, '/pipelines/results/', env.BITBUCKET_BUILD_NUMBER),
    variables: [
      'BITBUCKET_BRANCH',
      'BITBUCKET_BUILD_NUMBER',
      'BITBUCKET_COMMIT',
      'BITBUCKET_PIPELINE_UUID',
      'BITBUCKET_PR_ID',
      'BITBUCKET_REPO_FULL_NAME',
      'BITBUCKET_STEP_TRIGGERER_UUID',
      'BITBUCKET_TAG',
    ],
    job: ['BITBUCKET_REPO_UUID', 'BITBUCKET_PIPELINE_UUID', 'BITBUCKET_STEP_UUID', 'BITBUCKET_STEP_RUN_NUMBER'],
    workspace: 'BITBUCKET_CLONE_DIR',
  },
  {
    type: 'TEAMCITY_PIPELINE',
    label: 'TeamCity pipeline',
    recognise: (env) => isSet(env.TEAMCITY_VERSION),
    url: (env) => env.BUILD_URL,
    variables: ['BUILD_NUMBER', 'BUILD_VCS_NUMBER', 'TEAMCITY_BUILDCONF_NAME', 'TEAMCITY_PROJECT_NAME', 'TEAMCITY_VERSION'],
    // The build properties file has a new name in every build.
    job: ['TEAMCITY_PROJECT_NAME', 'TEAMCITY_BUILDCONF_NAME', 'BUILD_NUMBER', 'TEAMCITY_BUILD_PROPERTIES_FILE'],
  },
  {
    type: 'JENKINS_JOB',
    label: 'Jenkins job',
    // BUILD_TAG is documented as jenkins-${JOB_NAME}-${BUILD_NUMBER}; JENKINS_URL is missing when nobody configured it.
    recognise: (env) =>
      isSet(env.JOB_NAME) && isSet(env.BUILD_NUMBER) && (isSet(env.JENKINS_URL) || env.BUILD_TAG?.startsWith('jenkins-') === true),
    url: (env) => env.BUILD_URL,
    variables: ['BRANCH_NAME', 'BUILD_NUMBER', 'CHANGE_ID', 'GIT_BRANCH', 'GIT_COMMIT', 'JOB_NAME', 'NODE_NAME'],
    job: ['JENKINS_URL', 'JOB_NAME', 'BUILD_NUMBER', 'EXECUTOR_NUMBER', 'NODE_NAME'],
    workspace: 'WORKSPACE',
  },
  {
    type: 'TEKTON_PIPELINE',
    label: 'Tekton pipeline',
    // Tekton names the pod of a TaskRun `<name>-pod`, `<name>-pod-retryN`. A Task may say more with $(context.taskRun.name) and the like.
    recognise: (env) =>
      isSet(env.TEKTON_TASKRUN_NAME) ||
      isSet(env.TEKTON_PIPELINERUN_NAME) ||
      (isSet(env.KUBERNETES_SERVICE_HOST) && /-pod(-retry\d+)?$/.test(env.HOSTNAME ?? '')),
    url: tektonUrl,
    variables: [
      'HOSTNAME',
      'TEKTON_NAMESPACE',
      'TEKTON_PIPELINE_NAME',
      'TEKTON_PIPELINERUN_NAME',
      'TEKTON_PIPELINE_TASK_NAME',
      'TEKTON_TASKRUN_NAME',
      'TEKTON_TASK_NAME',
    ],
    job: ['TEKTON_NAMESPACE', 'TEKTON_TASKRUN_NAME', 'HOSTNAME'],
  },
];

function githubWorkflowFile(env: Env): string | undefined {
  // owner/repository/.github/workflows/release.yml@refs/heads/main; the path may hold an @ as well as the ref.
  const prefix = `${env.GITHUB_REPOSITORY}/`;
  const reference = env.GITHUB_WORKFLOW_REF;
  if (reference?.startsWith(prefix) !== true) return undefined;
  const end = reference.indexOf('@refs/');
  return reference.slice(prefix.length, end === -1 ? undefined : end);
}

function azureUrl(env: Env): string | undefined {
  const { SYSTEM_COLLECTIONURI, SYSTEM_TEAMFOUNDATIONCOLLECTIONURI, SYSTEM_TEAMPROJECT, BUILD_BUILDID, SYSTEM_JOBID } = env;
  const collection = SYSTEM_COLLECTIONURI ?? SYSTEM_TEAMFOUNDATIONCOLLECTIONURI;
  if (collection === undefined || SYSTEM_TEAMPROJECT === undefined || BUILD_BUILDID === undefined) return undefined;
  const query = new URLSearchParams({ buildId: BUILD_BUILDID, view: 'logs' });
  if (SYSTEM_JOBID !== undefined) query.set('j', SYSTEM_JOBID);
  return `${collection.replace(/\/$/, '')}/${encodeURIComponent(SYSTEM_TEAMPROJECT)}/_build/results?${query}`;
}

function tektonUrl(env: Env): string | undefined {
  // Only for those who run the dashboard and say where.
  const namespace = join(env.TEKTON_DASHBOARD_URL?.replace(/\/$/, ''), '/#/namespaces/', env.TEKTON_NAMESPACE);
  return join(namespace, '/pipelineruns/', env.TEKTON_PIPELINERUN_NAME) ?? join(namespace, '/taskruns/', env.TEKTON_TASKRUN_NAME);
}

/** The parts as one text; undefined when one of them is missing or empty. */
function join(...parts: readonly (string | undefined)[]): string | undefined {
  return parts.every(isSet) ? parts.join('') : undefined;
}

function isSet(text: string | undefined): text is string {
  return text !== undefined && text !== '';
}
