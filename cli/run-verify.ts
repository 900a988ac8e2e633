import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { parseStatement } from '../core/statement.ts';
import { type Policy, type VerifiedSigner, verifyBundle } from '../core/verify.ts';
import type { RunDescription } from '../core/wire.ts';

/** A run and the bundle that the control plane gave for it. */
type AttestedRun = {
  readonly run: Pick<RunDescription['run'], 'id' | 'state'>;
  readonly attestation: null | { readonly bundle?: unknown };
};

/** What this program found about the attestation of a run, without believing the control plane. */
export type RunCheck =
  | { readonly type: 'verified'; readonly signer: VerifiedSigner }
  | { readonly type: 'refused'; readonly error: ChainloopError };

/** Verifies the bundle of a run under the user's own policy, and that its statement speaks of this run. */
export function verifyRun(description: AttestedRun, policy: Policy): RunCheck {
  const { attestation, run } = description;
  try {
    if (attestation === null) throw new ChainloopError('NOT_FOUND', `run ${run.id} has no attestation: its state is ${run.state}`);
    const verified = verifyBundle(JSON.stringify(attestation.bundle), policy);
    const { predicate } = parseStatement(verified.payload);
    if (predicate.metadata.workflowRunID !== run.id) {
      throw new ChainloopError(
        'STATEMENT_MISMATCH',
        `attestation: it was made for run ${predicate.metadata.workflowRunID ?? 'none'}, not ${run.id}`,
      );
    }
    return { type: 'verified', signer: verified.signer };
  } catch (error) {
    if (isChainloopError(error)) return { type: 'refused', error };
    throw error;
  }
}
