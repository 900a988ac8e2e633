import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { parseStatement } from '../core/statement.ts';
import { type Policy, type VerifiedSigner, verifyBundle } from '../core/verify.ts';
import { type AttestedRun, attestationOf } from './run-attestation.ts';

/** What this program found about the attestation of a run, without believing the control plane. */
export type RunCheck =
  | { readonly type: 'verified'; readonly signer: VerifiedSigner }
  | { readonly type: 'refused'; readonly error: ChainloopError };

/** Verifies the bundle of a run under the user's own policy, and that its statement speaks of this run. */
export function verifyRun(description: AttestedRun, policy: Policy): RunCheck {
  const { run } = description;
  try {
    const verified = verifyBundle(JSON.stringify(attestationOf(description).bundle), policy);
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
