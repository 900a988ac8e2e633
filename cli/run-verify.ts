import { basename } from 'node:path';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { parseStatement } from '../core/statement.ts';
import { type TrustedKey, verifyBundle } from '../core/verify.ts';
import type { RunDescription } from '../core/wire.ts';

/** A run and the bundle that the control plane gave for it. */
type AttestedRun = {
  readonly run: Pick<RunDescription['run'], 'id' | 'state'>;
  readonly attestation: null | { readonly bundle?: unknown };
};

/** What this program found about the attestation of a run, without believing the control plane. */
export type RunCheck =
  | { readonly type: 'verified'; readonly signer: string }
  | { readonly type: 'refused'; readonly error: ChainloopError };

/** Verifies the bundle of a run with public keys from files, and that its statement speaks of this run. Throws for unreadable keys. */
export async function verifyRun(description: AttestedRun, keyPaths: readonly string[]): Promise<RunCheck> {
  const keys = await readTrustedKeys(keyPaths);
  const { attestation, run } = description;
  try {
    if (attestation === null) throw new ChainloopError('NOT_FOUND', `run ${run.id} has no attestation: its state is ${run.state}`);
    const verified = verifyBundle(JSON.stringify(attestation.bundle), { type: 'keys', keys });
    const { predicate } = parseStatement(verified.payload);
    if (predicate.metadata.workflowRunID !== run.id) {
      throw new ChainloopError(
        'STATEMENT_MISMATCH',
        `attestation: it was made for run ${predicate.metadata.workflowRunID ?? 'none'}, not ${run.id}`,
      );
    }
    return { type: 'verified', signer: verified.signer.name };
  } catch (error) {
    if (isChainloopError(error)) return { type: 'refused', error };
    throw error;
  }
}

/** Public keys from PEM files, each called by the name of its file. */
export async function readTrustedKeys(paths: readonly string[]): Promise<readonly TrustedKey[]> {
  const { readPublicKey } = await import('../core/adapters/keys.ts');
  return Promise.all(paths.map(async (path) => ({ name: basename(path), pem: (await readPublicKey(path)).pem })));
}
