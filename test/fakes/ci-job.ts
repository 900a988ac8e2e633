import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { commandLine, type Ended } from './command-line.ts';
import { githubJob, gitlabJob, type Issuer } from './issuer.ts';

/**
 * A job of a CI system on a machine of its own: a home, a checkout, a folder for temporary files, and in its environment nothing but what
 * the CI system gives it and the address of the control plane.
 */
export type CiJob = {
  readonly folder: string;
  /** Where the commands run. */
  readonly checkout: string;
  /** Where the job's state is, below its temporary folder or home. */
  readonly state: string;
  readonly env: NodeJS.ProcessEnv;
  run(...args: readonly string[]): Promise<Ended>;
  [Symbol.asyncDispose](): Promise<void>;
};

type JobOptions = {
  readonly url: string;
  readonly issuer: Issuer;
  /** As its CI system proves it, and says it in the environment. */
  readonly claims?: Readonly<Record<string, string>>;
  readonly name?: string;
  readonly env?: NodeJS.ProcessEnv;
};

export async function startGithubJob({ url, issuer, claims = {}, name = 'release', env = {} }: JobOptions): Promise<CiJob> {
  const { run_id: runId, run_attempt: runAttempt } = { ...githubJob, ...claims };
  return startJob(url, 'temp/chainloop', (folder) => ({
    GITHUB_ACTIONS: 'true',
    GITHUB_SERVER_URL: 'https://github.com',
    GITHUB_REPOSITORY: githubJob.repository,
    GITHUB_RUN_ID: runId,
    GITHUB_RUN_ATTEMPT: runAttempt,
    GITHUB_SHA: githubJob.sha,
    GITHUB_JOB: name,
    GITHUB_WORKSPACE: join(folder, 'checkout'),
    RUNNER_NAME: 'GitHub Actions 7',
    RUNNER_TEMP: join(folder, 'temp'),
    ...issuer.jobEnv(claims),
    ...env,
  }));
}

export async function startGitlabJob({ url, issuer, claims = {}, name = 'release', env = {} }: JobOptions): Promise<CiJob> {
  const { pipeline_id: pipelineId, job_id: jobId } = { ...gitlabJob, ...claims };
  const token = await issuer.gitlab({ audience: url, claims });
  return startJob(url, '.local/state/chainloop', (folder) => ({
    GITLAB_CI: 'true',
    CI_SERVER_URL: 'https://gitlab.com',
    CI_PROJECT_PATH: gitlabJob.project_path,
    CI_PIPELINE_ID: pipelineId,
    CI_JOB_ID: jobId,
    CI_JOB_NAME: name,
    CI_PROJECT_DIR: join(folder, 'checkout'),
    CHAINLOOP_ID_TOKEN: token,
    ...env,
  }));
}

async function startJob(url: string, state: string, envOf: (folder: string) => NodeJS.ProcessEnv): Promise<CiJob> {
  // The CI system's own folders count here, and not the one of the tests.
  const line = await commandLine({ CHAINLOOP_URL: url, CHAINLOOP_STATE_DIR: '', CHAINLOOP_RETRY_SECONDS: '20' });
  const checkout = join(line.folder, 'checkout');
  await mkdir(checkout);
  const env = envOf(line.folder);
  return {
    folder: line.folder,
    checkout,
    state: join(line.folder, state),
    env,
    run: (...args) => line.run(args, { env, cwd: checkout }),
    [Symbol.asyncDispose]: () => line[Symbol.asyncDispose](),
  };
}
