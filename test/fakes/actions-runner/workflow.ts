import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { condition, interpolate, interpolateValue, type Scope, toValue, type Value } from './expression.ts';
import { type JobOptions, type JobResult, type Run, runJob } from './job.ts';
import { type CallJob, callOf, parseWorkflow, type StepsJob, type WorkflowFile } from './workflow-file.ts';

export type WorkflowResult = {
  readonly status: 'success' | 'failure' | 'cancelled';
  /** By job id, and by `job id (cell)` in a matrix; jobs of called workflows are `caller / job`. */
  readonly jobs: Readonly<Record<string, JobResult>>;
  /** Of a called workflow. */
  readonly outputs: Readonly<Record<string, string>>;
};

type Call = {
  readonly inputs?: Readonly<Record<string, Value>>;
  readonly secrets?: Readonly<Record<string, string>>;
  readonly prefix?: string;
  /** Of the called workflow: `owner/repository/path@ref`, and the checkout of that repository. */
  readonly workflowRef?: string;
  readonly permissions?: StepsJob['permissions'];
};

export type WorkflowOptions = Pick<JobOptions, 'onLine' | 'prepare' | 'cancel'> & { readonly call?: Call };

type Done = { readonly result: 'success' | 'failure' | 'cancelled' | 'skipped'; readonly outputs: Readonly<Record<string, string>> };

/** Runs all jobs of a workflow, as early as their needs allow. */
export async function runWorkflow(run: Run, text: string, options: WorkflowOptions = {}): Promise<WorkflowResult> {
  const file = parseWorkflow(text);
  const { inputs = {}, prefix = '' } = options.call ?? {};
  const results: Record<string, JobResult> = {};
  const under = new Map<string, Promise<Done>>();
  const contexts = { github: run.github, vars: run.vars ?? {}, inputs, secrets: { ...run.secrets, ...options.call?.secrets } };

  function start(id: string): Promise<Done> {
    const known = under.get(id);
    if (known !== undefined) return known;
    const job = file.jobs[id];
    if (job === undefined) throw new Error(`a job needs '${id}', which is not there`);
    const done = (async (): Promise<Done> => {
      const needs = await Promise.all((job.needs ?? []).map(async (need) => [need, await start(need)] as const));
      const worst = ['cancelled', 'failure', 'skipped'].find((result) => needs.some(([, need]) => need.result === result));
      const scope: Scope = {
        contexts: {
          ...contexts,
          needs: Object.fromEntries(needs.map(([name, need]) => [name, { result: need.result, outputs: need.outputs }])),
        },
        // A skipped need is no success, and no failure either.
        status: worst === 'skipped' ? 'failure' : worst === 'cancelled' || worst === 'failure' ? worst : 'success',
      };
      if (!condition(job.if, scope)) return { result: 'skipped', outputs: {} };
      return 'steps' in job ? runCells(id, job, scope) : runCalled(id, job, scope);
    })();
    under.set(id, done);
    return done;
  }

  async function runCells(id: string, job: StepsJob, scope: Scope): Promise<Done> {
    const cells = cellsOf(job, scope);
    const made = cells.map(async (matrix, index): Promise<Done> => {
      const label = matrix === null || typeof matrix !== 'object' ? '' : ` (${Object.values(matrix).map(String).join(', ')})`;
      const result = await runJob(run, job, {
        id,
        contexts: { ...scope.contexts, matrix, strategy: { 'fail-fast': true, 'job-index': index, 'job-total': cells.length } },
        ...(file.env !== undefined && { env: file.env }),
        permissions: options.call?.permissions ?? file.permissions,
        ...(options.call?.workflowRef !== undefined && { workflowRef: options.call.workflowRef }),
        ...(options.onLine !== undefined && { onLine: options.onLine }),
        ...(options.prepare !== undefined && { prepare: options.prepare }),
        ...(options.cancel !== undefined && { cancel: options.cancel }),
      });
      results[`${prefix}${id}${label}`] = result;
      return { result: result.status, outputs: result.outputs };
    });
    const done = await Promise.all(made);
    // Of a matrix, the cell that ends last gives the outputs (actions/runner#1835).
    return { result: worstOf(done), outputs: Object.assign({}, ...done.map(({ outputs }) => outputs)) };
  }

  async function runCalled(id: string, job: CallJob, scope: Scope): Promise<Done> {
    const { text: called, root, workflowRef } = await findWorkflow(run, job.uses);
    const declared = callOf(parseWorkflow(called));
    if (declared === undefined) throw new Error(`${job.uses}: not reusable, as there is no 'workflow_call' in it`);
    const given = Object.fromEntries(
      Object.entries(job.with ?? {}).map(([name, value]) => [name, typeof value === 'string' ? interpolateValue(value, scope) : value]),
    );
    const unknown = Object.keys(given).filter((name) => !(name in declared.inputs));
    if (unknown.length > 0) throw new Error(`${job.uses}: Invalid input, ${unknown.join(', ')} is not defined in the referenced workflow`);
    const callInputs = Object.entries(declared.inputs).map(([name, { type, required, default: fallback }]) => {
      if (!(name in given) && required === true) throw new Error(`${job.uses}: Input ${name} is required, but not provided`);
      return [name, given[name] ?? fallback ?? (type === 'boolean' ? false : type === 'number' ? 0 : '')] as const;
    });
    const secrets =
      job.secrets === 'inherit'
        ? (run.secrets ?? {})
        : Object.fromEntries(Object.entries(job.secrets ?? {}).map(([name, secret]) => [name, interpolate(secret, scope)]));
    const result = await runWorkflow({ ...run, home: root }, called, {
      ...options,
      call: {
        inputs: Object.fromEntries(callInputs),
        secrets,
        prefix: `${prefix}${id} / `,
        workflowRef,
        permissions: job.permissions ?? file.permissions,
      },
    });
    Object.assign(results, result.jobs);
    return { result: result.status, outputs: result.outputs };
  }

  const done = await Promise.all(Object.keys(file.jobs).map(async (id) => [id, await start(id)] as const));
  return { status: worstOf(done.map(([, one]) => one)), jobs: results, outputs: outputsOf(file, contexts, done) };
}

function outputsOf(
  file: WorkflowFile,
  contexts: Readonly<Record<string, Value>>,
  done: readonly (readonly [string, Done])[],
): Readonly<Record<string, string>> {
  const jobs = Object.fromEntries(done.map(([id, { result, outputs }]) => [id, { result, outputs }]));
  const declared = Object.entries(callOf(file)?.outputs ?? {});
  return Object.fromEntries(declared.map(([name, { value }]) => [name, interpolate(value, { contexts: { ...contexts, jobs } })]));
}

function worstOf(done: readonly Done[]): 'success' | 'failure' | 'cancelled' {
  if (done.some(({ result }) => result === 'cancelled')) return 'cancelled';
  return done.some(({ result }) => result === 'failure') ? 'failure' : 'success';
}

/** All combinations, without those of `exclude`, and with those of `include` added. */
function cellsOf(job: StepsJob, scope: Scope): readonly Value[] {
  const given = job.strategy?.matrix;
  if (given === undefined) return [null];
  const matrix = typeof given === 'string' ? interpolateValue(given, scope) : toValue(given);
  if (matrix === null || typeof matrix !== 'object' || Array.isArray(matrix)) throw new Error('a matrix must be an object');
  let cells: Readonly<Record<string, Value>>[] = [{}];
  for (const [key, value] of Object.entries(matrix)) {
    if (key === 'include' || key === 'exclude') continue;
    const values = typeof value === 'string' ? interpolateValue(value, scope) : value;
    if (!Array.isArray(values)) throw new Error(`matrix.${key} must be a list`);
    cells = cells.flatMap((cell) => values.map((one: Value) => ({ ...cell, [key]: one })));
  }
  const extra = 'include' in matrix && Array.isArray(matrix.include) ? matrix.include.map(toValue) : [];
  return [...cells.filter((cell) => Object.keys(cell).length > 0), ...extra];
}

/** The file of a reusable workflow, and the checkout that it is in. */
async function findWorkflow(run: Run, uses: string) {
  const local = uses.startsWith('./') || uses.startsWith('$/');
  const [, repository = '', path = '', ref = ''] = /^([\w.-]+\/[\w.-]+)\/([^@]+)@(.+)$/.exec(uses) ?? [];
  const source = run.sources[repository];
  const root = local ? run.home : source?.type === 'repository' ? source.root : undefined;
  if (root === undefined) throw new Error(`${uses}: workflow was not found`);
  const full = ref.startsWith('refs/') || /^[0-9a-f]{40}$/.test(ref) ? ref : `refs/tags/${ref}`;
  const workflowRef = local ? `${run.github.repository}/${uses.slice(2)}@${run.github.ref}` : `${repository}/${path}@${full}`;
  return { text: await readFile(join(root, local ? uses.slice(2) : path), 'utf8'), root, workflowRef };
}
