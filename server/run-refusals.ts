import { ChainloopError } from '../core/errors.ts';

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
