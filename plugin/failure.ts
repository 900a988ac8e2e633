import { ChainloopError, isChainloopError, isOutage } from '../core/errors.ts';
import { withoutSecrets } from '../core/redact.ts';
import type { Inputs } from './inputs.ts';
import { type Found, isViolation, type Outcome } from './outcome.ts';

/** What kept the step from being done, and what that means for the job. */
export function failed(error: unknown, inputs: Inputs | undefined, found: Found): Outcome {
  const command = inputs?.command ?? 'attest';
  if (!isChainloopError(error)) {
    const said = error instanceof Error ? error.message : String(error);
    const message = `unexpected: ${withoutSecrets(said)}; run the job again with debug logging, and report what it shows`;
    return { command, status: 'failed', error: new ChainloopError('INTERNAL', message, { cause: error }), found };
  }
  for (const { name } of found.crafting?.start.contract.materials ?? []) {
    const problems = error.problems.filter(({ path }) => path === name);
    if (problems.length > 0) found.wrong.set(name, problems.map(({ message }) => message.replace(`material "${name}": `, '')).join('; '));
  }
  if (isViolation(error)) return { command, status: 'violations', error, found };
  return { command, status: isDeferred(error, inputs) ? 'deferred' : 'failed', error, found };
}

/** Whether the job goes on, with nothing recorded: some service does not answer, and that was foreseen. */
export function isDeferred(error: unknown, inputs: Pick<Inputs, 'onOutage'> | undefined): error is ChainloopError {
  return inputs?.onOutage === 'defer' && isOutage(error);
}

/** Whether the job goes on although the step has not done what it should. */
export function isTolerated({ status }: Pick<Outcome, 'status'>, { onViolation }: Pick<Inputs, 'onViolation'>): boolean {
  return status === 'deferred' || (status === 'violations' && onViolation === 'warn');
}
