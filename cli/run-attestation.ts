import { digestOf } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';
import type { RunDescription } from '../core/wire.ts';

/** A run, and what the control plane gave for its attestation. */
export type AttestedRun = {
  readonly run: Pick<RunDescription['run'], 'id' | 'state'>;
  readonly attestation: null | {
    readonly digest: string;
    readonly verificationError: string | null;
    /** Null when it cannot be read. */
    readonly statement?: unknown;
    readonly bundle?: unknown;
  };
};

/** The attestation with its documents. NOT_FOUND for a run without one; EVIDENCE_MISSING when storage has lost or changed it. */
export function attestationOf({ run: { id, state }, attestation }: AttestedRun): NonNullable<AttestedRun['attestation']> {
  if (attestation === null) throw new ChainloopError('NOT_FOUND', `run ${id} has no attestation: its state is ${state}`);
  // The record of the run outlives its document: it says why there is none.
  if (attestation.bundle === undefined || attestation.bundle === null) {
    throw new ChainloopError('EVIDENCE_MISSING', attestation.verificationError ?? `attestation ${attestation.digest}: it cannot be read`);
  }
  return attestation;
}

/** The very bytes of the stored bundle, which is canonical: JSON without white space. DIGEST_MISMATCH when they are others. */
export function bundleText({ bundle, digest }: Pick<NonNullable<AttestedRun['attestation']>, 'bundle' | 'digest'>): string {
  const text = JSON.stringify(bundle);
  if (digestOf(text) === digest) return text;
  throw new ChainloopError('DIGEST_MISMATCH', `attestation ${digest}: the control plane answers with other bytes (${digestOf(text)})`);
}
