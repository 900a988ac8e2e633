import * as core from '@actions/core';
import { context } from '@actions/github';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { withoutSecrets } from '../core/redact.ts';
import { failed as failedOutcome } from '../plugin/failure.ts';
import { attestationName, type Inputs } from '../plugin/inputs.ts';
import { type Found, finished, nothingFound, type Outcome } from '../plugin/outcome.ts';
import { withoutCredentials } from './fork.ts';
import { readInputs } from './inputs.ts';
import { timed } from './log.ts';
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
  report(outcome, inputs ?? { showSummary: true, onViolation: 'contract' });
}

async function perform(inputs: Inputs, found: Found): Promise<Outcome> {
  const { env } = process;
  const { command } = inputs;
  const fork = inputs.token === undefined ? withoutCredentials(context, env) : undefined;
  const reason = fork === undefined ? undefined : `${fork}, which gets no token from GitHub`;
  const dry = inputs.dryRun || (reason !== undefined && inputs.forkPr === 'dry-run');
  if (reason !== undefined && !dry) {
    if (inputs.forkPr === 'skip') return { command, status: 'skipped', reason, found };
    throw new ChainloopError('UNAUTHENTICATED', `${reason}, and fork-pr is 'fail'`);
  }
  const { attested, tried } = await timed('start', () => import('./perform.ts'));
  if (!dry) return finished(command, await attested(inputs, found), found);
  await tried(inputs, found);
  return { command, status: 'dry-run', reason, found };
}

function failed(error: unknown, inputs: Inputs | undefined, found: Found): Outcome {
  // A defect: its stack is for those who debug.
  if (!isChainloopError(error) && error instanceof Error) core.debug(withoutSecrets(error.stack ?? error.message));
  return failedOutcome(error, inputs, found);
}
