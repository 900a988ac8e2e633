import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Annotation } from './commands.ts';
import { blockedVariables, parsePairs, parsePaths, summaryLimitBytes } from './environment-files.ts';
import type { GithubContext } from './event.ts';
import { textOf } from './expression.ts';
import { createMasker, type Masker } from './masker.ts';
import { runProcess } from './process.ts';
import { createStepLog, type StepLog } from './step-log.ts';

/** The computer of one job: its folders, and what earlier steps left to later ones. */
export type Machine = {
  readonly workspace: string;
  readonly temp: string;
  readonly home: string;
  readonly github: GithubContext;
  readonly runner: Readonly<Record<string, string>>;
  readonly masker: Masker;
  readonly idTokenEnv: Readonly<Record<string, string>>;
  /** ACTIONS_RUNTIME_TOKEN, which actions get and scripts do not. */
  readonly runtimeToken: string;
  readonly debug: boolean;
  /** From GITHUB_ENV and GITHUB_PATH, added to as steps end. */
  readonly env: Map<string, string>;
  readonly path: string[];
  readonly onLine: (shown: string) => void;
};

/** What became of one program of a step: its main, or its post. */
export type StageResult = {
  readonly outcome: 'success' | 'failure' | 'cancelled' | 'skipped';
  readonly exitCode: number | undefined;
  readonly durationMs: number;
  readonly outputs: Readonly<Record<string, string>>;
  readonly state: Readonly<Record<string, string>>;
  readonly annotations: readonly Annotation[];
  readonly groups: readonly string[];
  /** As people see it. */
  readonly log: string;
  /** As it was written, before masking: nobody sees it. */
  readonly raw: string;
  /** Masked, as people see it; empty when it was over the limit. */
  readonly summary: string;
};

export const skipped: StageResult = {
  outcome: 'skipped',
  exitCode: undefined,
  durationMs: 0,
  ...{ outputs: {}, state: {}, annotations: [], groups: [], log: '', raw: '', summary: '' },
};

/** The keys of the github context that are variables too (the runner's own list). */
const exported =
  'action action_path action_ref action_repository actor actor_id api_url base_ref env event_name event_path graphql_url head_ref job output path ref ref_name ref_protected ref_type repository repository_id repository_owner repository_owner_id retention_days run_attempt run_id run_number server_url sha state step_summary triggering_actor workflow workflow_ref workflow_sha workspace'.split(
    ' ',
  );

export async function createMachine(options: {
  readonly folder: string;
  readonly github: GithubContext;
  readonly job: string;
  readonly idTokenEnv?: Readonly<Record<string, string>>;
  readonly secrets?: readonly string[];
  readonly debug?: boolean;
  /** Folders of programs that this machine has, before those of every machine. */
  readonly tools?: readonly string[];
  readonly onLine?: (shown: string) => void;
}): Promise<Machine> {
  const { folder, job, idTokenEnv = {}, debug = false, onLine = () => {} } = options;
  const name = textOf(options.github.repository ?? 'acme/app').split('/')[1] ?? 'app';
  const [workspace, temp, home, tools] = [join(folder, name, name), join(folder, '_temp'), join(folder, 'home'), join(folder, '_tool')];
  const eventPath = join(temp, '_github_workflow', 'event.json');
  for (const path of [workspace, dirname(eventPath), join(temp, '_runner_file_commands'), home, tools])
    await mkdir(path, { recursive: true });
  await writeFile(eventPath, JSON.stringify(options.github.event ?? {}, null, 2));
  const masker = createMasker();
  const runtimeToken = `runtime-${randomUUID()}`;
  const known = [
    runtimeToken,
    textOf(options.github.token ?? ''),
    idTokenEnv.ACTIONS_ID_TOKEN_REQUEST_TOKEN ?? '',
    ...(options.secrets ?? []),
  ];
  for (const secret of known) if (secret !== '') masker.add(secret);
  return {
    ...{ workspace, temp, home, masker, idTokenEnv, runtimeToken, debug, onLine },
    github: { ...options.github, job, workspace, event_path: eventPath },
    runner: {
      os: 'Linux',
      arch: process.arch.toUpperCase(),
      name: 'Hosted Agent',
      environment: 'github-hosted',
      temp,
      tool_cache: tools,
      workspace: dirname(workspace),
      ...(debug && { debug: '1' }),
    },
    env: new Map(),
    path: [...(options.tools ?? [])],
  };
}

/** Runs one program with an environment that is all its own, and reads the files that it wrote. */
export async function runStage(
  machine: Machine,
  stage: {
    readonly program: string;
    readonly args: readonly string[];
    readonly cwd?: string;
    /** Of workflow, job and step. */
    readonly env: Readonly<Record<string, string>>;
    /** INPUT_ and STATE_ variables. */
    readonly own?: Readonly<Record<string, string>>;
    readonly action: string;
    readonly cancelled: AbortSignal;
    readonly begin?: (log: StepLog) => void;
    /** What is said when the program fails, as for `run`. */
    readonly sayExitCode?: boolean;
  },
): Promise<StageResult> {
  const { masker, debug, onLine } = machine;
  const log = createStepLog(masker, onLine, debug);
  stage.begin?.(log);
  const files = Object.fromEntries(
    ['output', 'env', 'state', 'path', 'step_summary'].map((name) => [
      name,
      join(machine.temp, '_runner_file_commands', `${name}_${randomUUID()}`),
    ]),
  );
  for (const path of Object.values(files)) await writeFile(path, '');
  const { code, durationMs } = await runProcess({
    program: stage.program,
    args: stage.args,
    cwd: stage.cwd ?? machine.workspace,
    env: environmentOf(machine, { ...stage.env, ...Object.fromEntries(machine.env) }, { ...stage.own }, { ...files, action: stage.action }),
    onLine: log.line,
    cancelled: stage.cancelled,
  });
  if (stage.sayExitCode === true && code !== 0) log.annotate({ level: 'error', message: `Process completed with exit code ${code}.` });

  let broken = false;
  /** A file that cannot be read fails the step, and says so. */
  const read = async <T>(name: string, parse: (text: string) => T, none: T): Promise<T> => {
    const text = await readFile(files[name] ?? '', 'utf8').catch(() => '');
    try {
      return parse(text);
    } catch (error) {
      broken = true;
      log.annotate({ level: 'error', message: `Unable to process file command '${name}' successfully.` });
      log.annotate({ level: 'error', message: error instanceof Error ? error.message : String(error) });
      return none;
    }
  };
  const nothing: ReadonlyMap<string, string> = new Map();
  const [outputs, env, state] = [
    await read('output', parsePairs, nothing),
    await read('env', parsePairs, nothing),
    await read('state', parsePairs, nothing),
  ];
  for (const [name, value] of env) {
    if (!blockedVariables.includes(name.toUpperCase())) machine.env.set(name, value);
    else log.annotate({ level: 'error', message: `Can't store ${name} output parameter using '$GITHUB_ENV' command.` });
  }
  machine.path.push(...(await read('path', parsePaths, [])));
  const summary = await readFile(files.step_summary ?? '', 'utf8').catch(() => '');
  const bytes = Buffer.byteLength(summary);
  if (bytes > summaryLimitBytes) {
    const limit = `supports content up to a size of ${summaryLimitBytes / 1024}k, got ${Math.ceil(bytes / 1024)}k`;
    log.annotate({ level: 'error', message: `$GITHUB_STEP_SUMMARY upload aborted, ${limit}.` });
  }
  for (const path of Object.values(files)) await rm(path, { force: true });

  return {
    outcome: stage.cancelled.aborted ? 'cancelled' : code !== 0 || log.failed || broken ? 'failure' : 'success',
    exitCode: code,
    durationMs,
    outputs: Object.fromEntries([...log.outputs, ...outputs]),
    state: Object.fromEntries([...log.state, ...state]),
    annotations: log.annotations,
    groups: log.groups,
    log: log.shown.join('\n'),
    raw: log.raw.join('\n'),
    summary: bytes > summaryLimitBytes ? '' : masker.mask(summary),
  };
}

/** Nothing of the tests' own environment but the PATH, and the runner's variables win over everybody's. */
function environmentOf(
  machine: Machine,
  env: Readonly<Record<string, string>>,
  own: Readonly<Record<string, string>>,
  ofStep: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const github = { ...machine.github, ...ofStep };
  const path = [...machine.path.toReversed(), dirname(process.execPath), '/usr/local/bin', '/usr/bin', '/bin', '/usr/sbin', '/sbin'].join(
    ':',
  );
  return {
    HOME: machine.home,
    LANG: 'C.UTF-8',
    CI: 'true',
    PATH: path,
    ...env,
    ...own,
    ...machine.idTokenEnv,
    ACTIONS_RUNTIME_URL: 'https://pipelines.actions.githubusercontent.com/runtime/',
    ACTIONS_RESULTS_URL: 'https://results-receiver.actions.githubusercontent.com/',
    GITHUB_ACTIONS: 'true',
    ...Object.fromEntries(
      exported.flatMap((key) => (github[key] === undefined ? [] : [[`GITHUB_${key.toUpperCase()}`, textOf(github[key])]])),
    ),
    ...Object.fromEntries(Object.entries(machine.runner).map(([key, value]) => [`RUNNER_${key.toUpperCase()}`, value])),
  };
}
