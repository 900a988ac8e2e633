import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ActionSources, findAction } from './actions.ts';
import { interpolate, type Scope, type Value } from './expression.ts';
import { type Machine, runStage, type StageResult, skipped } from './machine.ts';
import { type ActionMetadata, readAction } from './metadata.ts';
import { createStepLog } from './step-log.ts';
import type { ProgramStep } from './workflow-file.ts';

/** A post that waits for the end of the job. */
export type Post = {
  readonly name: string;
  readonly condition: string | undefined;
  run(scope: Scope, cancelled: AbortSignal): Promise<StageResult>;
};

export type StepContext = {
  readonly machine: Machine;
  readonly sources: ActionSources;
  /** The repository of the workflow file. */
  readonly home: string | undefined;
  /** Of workflow and job. */
  readonly env: Readonly<Record<string, string>>;
  readonly cancelled: AbortSignal;
};

/** What an action's defaults may speak of; anything else is refused, as the runner does. */
const contextsOfDefaults = ['github', 'strategy', 'matrix', 'job', 'runner'];

/** Runs the main of a step; `post` is there when its action has one and has begun. */
export async function runStep(
  step: ProgramStep,
  scope: Scope,
  context: StepContext,
): Promise<{ readonly main: StageResult; readonly post?: Post }> {
  const { machine, cancelled } = context;
  const all = (texts: Readonly<Record<string, string>> = {}) => mapValues(texts, (text) => interpolate(text, scope));
  const env = { ...context.env, ...all(step.env) };
  if ('run' in step) {
    const script = join(machine.temp, `${crypto.randomUUID()}.sh`);
    await writeFile(script, interpolate(step.run, scope));
    const args = step.shell === 'bash' ? ['--noprofile', '--norc', '-eo', 'pipefail', script] : ['-e', script];
    const cwd = join(machine.workspace, interpolate(step['working-directory'] ?? '', scope));
    return { main: await runStage(machine, { program: 'bash', args, cwd, env, action: step.id ?? '__run', cancelled, sayExitCode: true }) };
  }

  const given = all(step.with);
  const source = findAction(step.uses, context.sources, machine, context.home);
  if (source.type === 'stand-in') return { main: await standIn(source.run, given, machine) };
  const { folder, ref, repository } = source;
  const metadata = await readAction(folder);
  const { runs } = metadata;
  const action = step.id ?? `__${repository.replace('/', '_')}`;
  const ofAction = { ...env, ...(repository !== '' && { GITHUB_ACTION_REPOSITORY: repository, GITHUB_ACTION_REF: ref }) };
  const stage = (program: string, now: Scope, state: Readonly<Record<string, string>>, signal: AbortSignal) =>
    runStage(machine, {
      program: process.execPath,
      args: [join(folder, program)],
      env: ofAction,
      own: { ...inputsOf(metadata, given, now), ...state, ACTIONS_RUNTIME_TOKEN: machine.runtimeToken },
      action,
      cancelled: signal,
      begin(log) {
        const unknown = Object.keys(given).filter(
          (name) => !Object.keys(metadata.inputs).some((known) => known.toLowerCase() === name.toLowerCase()),
        );
        const valid = Object.keys(metadata.inputs).map((name) => `'${name}'`);
        if (unknown.length > 0) {
          const message = `Unexpected input(s) ${unknown.map((name) => `'${name}'`).join(', ')}, valid inputs are [${valid.join(', ')}]`;
          log.annotate({ level: 'warning', message });
        }
        log.say(`##[group]Run ${step.uses}`);
        for (const [name, value] of Object.entries(given)) log.say(`  ${name}: ${value}`);
        log.say('##[endgroup]');
      },
    });
  const main = await stage(runs.main, scope, {}, cancelled);
  if (runs.post === undefined) return { main };
  const { post } = runs;
  const state = Object.fromEntries(Object.entries(main.state).map(([name, value]) => [`STATE_${name}`, value]));
  return {
    main,
    post: {
      name: `Post Run ${step.uses}`,
      condition: runs['post-if'] ?? 'always()',
      // Inputs and defaults are evaluated again: `job.status` is the job's end now.
      run: (now, signal) => stage(post, now, state, signal),
    },
  };
}

/** INPUT_ variables: what was given, and the defaults of the rest. */
function inputsOf(metadata: ActionMetadata, given: Readonly<Record<string, string>>, scope: Scope): Record<string, string> {
  const contexts: Record<string, Value> = {};
  for (const name of contextsOfDefaults) if (name in scope.contexts) contexts[name] = scope.contexts[name] ?? null;
  const names = Object.keys(given).map((name) => name.toLowerCase());
  const defaults = Object.entries(metadata.inputs)
    .filter(([name]) => !names.includes(name.toLowerCase()))
    .map(([name, input]) => [name, interpolate(input.default ?? '', { contexts })] as const);
  return Object.fromEntries(
    [...Object.entries(given), ...defaults].map(([name, value]) => [`INPUT_${name.replaceAll(' ', '_').toUpperCase()}`, value]),
  );
}

async function standIn(
  run: (step: {
    inputs: Readonly<Record<string, string>>;
    machine: Machine;
    say: (line: string) => void;
  }) => Promise<Readonly<Record<string, string>>>,
  inputs: Readonly<Record<string, string>>,
  machine: Machine,
): Promise<StageResult> {
  const log = createStepLog(machine.masker, machine.onLine);
  try {
    const outputs = await run({ inputs, machine, say: log.say });
    return { ...skipped, outcome: 'success', exitCode: 0, outputs, log: log.shown.join('\n') };
  } catch (error) {
    log.annotate({ level: 'error', message: error instanceof Error ? error.message : String(error) });
    return { ...skipped, outcome: 'failure', exitCode: 1, annotations: log.annotations, log: log.shown.join('\n') };
  }
}

function mapValues(texts: Readonly<Record<string, string>>, map: (text: string) => string): Record<string, string> {
  return Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, map(text)]));
}
