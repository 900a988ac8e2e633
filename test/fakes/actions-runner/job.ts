import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import type { Issuer } from '../issuer.ts';
import type { ActionSources } from './actions.ts';
import { claimsOf, type GithubContext } from './event.ts';
import { condition, interpolate, type Scope, type Value } from './expression.ts';
import { type IdTokens, startIdTokens } from './id-tokens.ts';
import { createMachine, type StageResult, skipped } from './machine.ts';
import { type Post, runStep } from './step.ts';
import { mayAskIdToken, type ProgramStep, Step, type StepsJob } from './workflow-file.ts';

/** What a workflow run is: all of its jobs share it. */
export type Run = {
  /** Where the machines of the jobs are made; whoever made it removes it. */
  readonly folder: string;
  readonly github: GithubContext;
  readonly sources: ActionSources;
  /** Signs the tokens of jobs with `id-token: write`. */
  readonly issuer?: Issuer;
  /** So many requests for a token fail in each job, before one is answered. */
  readonly idTokenFailures?: number;
  /** Changes the claims of all tokens of the run. */
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly vars?: Readonly<Record<string, string>>;
  readonly secrets?: Readonly<Record<string, string>>;
  /** The repository that the workflow is in, for `$/path`. */
  readonly home?: string;
  readonly debug?: boolean;
  /** Folders of programs that the machines have. */
  readonly tools?: readonly string[];
};

export type JobOptions = {
  readonly id?: string;
  readonly contexts?: Readonly<Record<string, Value>>;
  /** Of the workflow. */
  readonly env?: Readonly<Record<string, string>>;
  readonly permissions?: StepsJob['permissions'];
  /** The called workflow's ref, where one holds the job. */
  readonly workflowRef?: string;
  /** Cancels the job. */
  readonly cancel?: AbortSignal;
  readonly onLine?: (shown: string) => void;
  /** Puts files into the workspace before the first step. */
  readonly prepare?: (workspace: string) => Promise<void>;
};

export type StepResult = StageResult & {
  readonly id: string | undefined;
  readonly name: string;
  /** What counts: a failure that `continue-on-error` allows is a success. */
  readonly conclusion: StageResult['outcome'];
};

export type JobResult = {
  readonly status: 'success' | 'failure' | 'cancelled' | 'skipped';
  readonly steps: readonly StepResult[];
  /** In the order in which they ran: reversed. */
  readonly posts: readonly StepResult[];
  readonly outputs: Readonly<Record<string, string>>;
  /** As the last post left them. */
  readonly workspace: string;
  readonly temp: string;
  /** All that people see, and all that was written. */
  readonly log: string;
  readonly raw: string;
  /** The secrets of this job: request token, runtime token, every OIDC token. */
  readonly secrets: readonly string[];
};

let checkRuns = 88_000;

/** A job from steps alone: `id-token: write`, on ubuntu-latest. */
export function stepsJob(steps: readonly Step[], more: Partial<StepsJob> = {}): StepsJob {
  return { 'runs-on': 'ubuntu-latest', permissions: { contents: 'read', 'id-token': 'write' }, ...more, steps: z.array(Step).parse(steps) };
}

/** Runs a job on a machine of its own. */
export async function runJob(run: Run, job: StepsJob, options: JobOptions = {}): Promise<JobResult> {
  const { id = 'attest', contexts = {}, cancel = new AbortController().signal, onLine } = options;
  const folder = join(run.folder, `${id}-${randomUUID().slice(0, 8)}`);
  await mkdir(folder, { recursive: true });
  const checkRunId = ++checkRuns;
  const environment = typeof job.environment === 'string' ? job.environment : job.environment?.name;
  await using stack = new AsyncDisposableStack();
  let idTokens: IdTokens | undefined;
  if (run.issuer !== undefined && mayAskIdToken(job.permissions, options.permissions)) {
    const claims = claimsOf(run.github, { checkRunId, environment, workflowRef: options.workflowRef });
    idTokens = stack.use(await startIdTokens(run.issuer, { ...claims, ...run.claims }, run.idTokenFailures));
  }
  const machine = await createMachine({
    folder,
    github: run.github,
    job: id,
    idTokenEnv: idTokens?.env ?? {},
    secrets: Object.values(run.secrets ?? {}),
    debug: run.debug ?? false,
    tools: run.tools ?? [],
    ...(onLine !== undefined && { onLine }),
  });
  await options.prepare?.(machine.workspace);

  const never = new AbortController().signal;
  let status: 'success' | 'failure' = 'success';
  const now = (): 'success' | 'failure' | 'cancelled' => (cancel.aborted ? 'cancelled' : status);
  const stepContexts: Record<string, Value> = {};
  const base: Record<string, Value> = {
    ...{ env: {}, vars: run.vars ?? {}, secrets: { ...run.secrets, GITHUB_TOKEN: run.github.token ?? '' }, inputs: {}, needs: {} },
    matrix: null,
    strategy: { 'fail-fast': true, 'job-index': 0, 'job-total': 1, 'max-parallel': 1 },
    ...contexts,
  };
  const scope = (): Scope => ({
    contexts: {
      ...base,
      github: machine.github,
      runner: machine.runner,
      job: { status: now(), check_run_id: checkRunId, ...calledContext(run, options.workflowRef) },
      steps: stepContexts,
      env: { ...env, ...Object.fromEntries(machine.env) },
    },
    status: now(),
  });
  const jobScope: Scope = { contexts: { ...base, github: machine.github } };
  const texts = { ...options.env, ...job.env };
  const env = Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, interpolate(text, jobScope)]));

  const [steps, posts, waitingPosts]: [StepResult[], StepResult[], Post[]] = [[], [], []];
  const background = new Map<string, { readonly done: Promise<void>; readonly stop: AbortController }>();

  /** A cancelled job ends a step, unless the step's condition holds even then: `always()`. */
  function signalOf(step: ProgramStep, stop: AbortSignal): AbortSignal {
    const own = new AbortController();
    const end = (): void => {
      if (!condition(step.if, { ...scope(), status: 'cancelled' })) own.abort();
    };
    if (!cancel.aborted) cancel.addEventListener('abort', end, { once: true });
    return AbortSignal.any([own.signal, stop]);
  }

  async function one(step: ProgramStep, stop: AbortSignal): Promise<void> {
    const signal = signalOf(step, stop);
    const name = step.name ?? ('uses' in step ? `Run ${step.uses}` : `Run ${step.run.split('\n')[0]}`);
    let main: StageResult = skipped;
    if (condition(step.if, scope())) {
      const begun = await runStep(step, scope(), { machine, sources: run.sources, home: run.home, env, cancelled: signal }).catch(
        failedToBegin,
      );
      main = begun.main;
      if (begun.post !== undefined) waitingPosts.push(begun.post);
    }
    const tolerated = main.outcome === 'failure' && interpolate(String(step['continue-on-error'] ?? false), scope()) === 'true';
    const conclusion = tolerated ? 'success' : main.outcome;
    if (conclusion === 'failure') status = 'failure';
    steps.push({ ...main, id: step.id, name, conclusion });
    if (step.id !== undefined) stepContexts[step.id] = { outputs: main.outputs, outcome: main.outcome, conclusion };
  }
  const start = (step: ProgramStep): void => {
    const stop = new AbortController();
    background.set(step.id ?? randomUUID(), { done: one(step, stop.signal), stop });
  };
  const wait = async (ids: readonly string[]): Promise<void> => {
    await Promise.all(ids.map((one) => background.get(one)?.done));
    for (const one of ids) background.delete(one);
  };
  for (const step of job.steps) {
    if ('parallel' in step) {
      const before = new Set(background.keys());
      for (const each of step.parallel) start(each);
      await wait([...background.keys()].filter((key) => !before.has(key)));
    } else if ('wait' in step) await wait([step.wait].flat());
    else if ('wait-all' in step) await wait([...background.keys()]);
    else if ('cancel' in step) {
      background.get(step.cancel)?.stop.abort();
      await wait([step.cancel]);
    } else if (step.background === true) start(step);
    else await one(step, never);
  }
  await wait([...background.keys()]);

  for (const post of waitingPosts.toReversed()) {
    if (!condition(post.condition, scope())) continue;
    const result = await post.run(scope(), never);
    if (result.outcome === 'failure') status = 'failure';
    posts.push({ ...result, id: undefined, name: post.name, conclusion: result.outcome });
  }
  const outputs = Object.entries(job.outputs ?? {}).map(([name, text]) => [name, interpolate(text, scope())]);
  return {
    status: now(),
    ...{ steps, posts, outputs: Object.fromEntries(outputs) },
    ...{ workspace: machine.workspace, temp: machine.temp },
    log: [...steps, ...posts].map(({ log }) => log).join('\n'),
    raw: [...steps, ...posts].map(({ raw }) => raw).join('\n'),
    secrets: [machine.runtimeToken, ...(idTokens === undefined ? [] : [idTokens.requestToken, ...idTokens.minted])],
  };
}

/** What a job of a called workflow knows of the file that it is in. */
function calledContext({ github }: Run, workflowRef: string | undefined): Readonly<Record<string, Value>> {
  const [, repository, path, ref] = /^([^/]+\/[^/]+)\/(.+)@(.+)$/.exec(workflowRef ?? '') ?? [];
  if (workflowRef === undefined || repository === undefined || path === undefined || ref === undefined) return {};
  // A called workflow of another repository has a commit of its own.
  const sha = repository === github.repository ? (github.sha ?? '') : 'd'.repeat(40);
  return { workflow_ref: workflowRef, workflow_repository: repository, workflow_sha: sha, workflow_file_path: path };
}

/** The step could not begin: its action or its metadata is not as it should be. */
function failedToBegin(error: unknown): { readonly main: StageResult; readonly post?: Post } {
  const message = error instanceof Error ? error.message : String(error);
  return { main: { ...skipped, outcome: 'failure', annotations: [{ level: 'error', message }], log: `##[error]${message}` } };
}
