import { ChainloopError } from '../core/errors.ts';
import type { RunContext } from '../db/runs.ts';

/** The same words for a run that does not exist and for one that is somebody else's. */
export function runNotFound(runId: string): ChainloopError {
  return new ChainloopError('NOT_FOUND', `run ${runId}: not found in this organization`);
}

export function expired(runId: string): ChainloopError {
  return new ChainloopError(
    'RUN_EXPIRED',
    `run ${runId}: it was open for too long and has expired; start a new one with: chainloop attestation init`,
  );
}

export function finished(runId: string, state: string): ChainloopError {
  const how = state === 'success' ? 'success, with another attestation' : state;
  return new ChainloopError(
    'RUN_ALREADY_FINISHED',
    `run ${runId}: it has ended (${how}); start a new one with: chainloop attestation init`,
  );
}

/** Throws RUN_EXPIRED, also when nobody has expired it yet, and RUN_ALREADY_FINISHED. */
export function assertOpen({ id, state, expiresAt }: Pick<RunContext, 'id' | 'state' | 'expiresAt'>, now: Date): void {
  if (state === 'expired' || (state === 'initialized' && expiresAt <= now)) throw expired(id);
  if (state !== 'initialized') throw finished(id, state);
}
