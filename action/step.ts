import * as core from '@actions/core';
import { context } from '@actions/github';
import { ChainloopError, errorTable, isChainloopError } from '../core/errors.ts';
import { withoutSecrets } from '../core/redact.ts';
import { withoutCredentials } from './fork.ts';
import { attestationName, type Inputs, readInputs } from './inputs.ts';
import { timed } from './log.ts';
import { type Found, isViolation, nothingFound, type Outcome } from './outcome.ts';
import { report } from './report.ts';
import { saved } from './state.ts';

/** One step, from its inputs to its report. What it needs to say and hear of the runner goes through `@actions/core`. */
export async function step(): Promise<void> {
  const { env } = process;
  const found = nothingFound();
  let inputs: Inputs | undefined;
  let outcome: Outcome;
  try {
    inputs = readInputs((name) => core.getInput(name, { trimWhitespace: false }), env);
    saved.command(inputs.command, attestationName(inputs));
    found.given = inputs.materials.map(({ name }) => name);
    outcome = await perform(inputs, found);
  } catch (error) {
    outcome = failed(error, inputs, found);
  }
  saved.outcome(outcome, inputs === undefined ? '' : attestationName(inputs));
  await report(outcome, inputs ?? { showSummary: true, onViolation: 'contract' });
}

async function perform(inputs: Inputs, found: Found): Promise<Outcome> {
  const { env } = process;
  const { command } = inputs;
  const reason = inputs.token === undefined ? withoutCredentials(context, env) : undefined;
  const dry = inputs.dryRun || (reason !== undefined && inputs.forkPr === 'dry-run');
  if (reason !== undefined && !dry) {
    if (inputs.forkPr === 'skip') return { command, status: 'skipped', reason, found };
    throw new ChainloopError('UNAUTHENTICATED', `${reason}: GitHub gives it no token, and fork-pr is 'fail'`);
  }
  const { attested, tried } = await timed('start', () => import('./perform.ts'));
  if (!dry) return { command, status: await attested(inputs, found), found };
  await tried(inputs, found);
  return { command, status: 'dry-run', reason, found };
}

/** What kept the step from being done, and what that means for the job. */
function failed(error: unknown, inputs: Inputs | undefined, found: Found): Outcome {
  const command = inputs?.command ?? 'attest';
  if (!isChainloopError(error)) {
    // A defect: its stack is for those who debug.
    if (error instanceof Error) core.debug(withoutSecrets(error.stack ?? error.message));
    const said = error instanceof Error ? error.message : String(error);
    const message = `unexpected: ${withoutSecrets(said)}; run the job again with debug logging, and report what it shows`;
    return { command, status: 'failed', error: new ChainloopError('INTERNAL', message, { cause: error }), found };
  }
  for (const { name } of found.crafting?.start.contract.materials ?? []) {
    const problems = error.problems.filter(({ path }) => path === name);
    if (problems.length > 0) found.wrong.set(name, problems.map(({ message }) => message.replace(`material "${name}": `, '')).join('; '));
  }
  if (isViolation(error)) return { command, status: 'violations', error, found };
  const outage = errorTable[error.code].exit === 75;
  return { command, status: outage && inputs?.onOutage === 'defer' ? 'deferred' : 'failed', error, found };
}
