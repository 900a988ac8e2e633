import type { RunState } from './names.ts';
import type { Paged } from './wire.ts';

/** A run whose attestation has the digest that was asked for as a subject. */
export type AttestedView = {
  readonly runId: string;
  readonly state: RunState;
  readonly project: string;
  readonly workflow: string;
  readonly contractName: string;
  readonly contractRevision: number;
  /** Of the bundle: its bytes are at `/v2/<organization>/blobs/<digest>`. */
  readonly attestation: string | null;
  /** The trusted key, or the identity, that the referee accepted. */
  readonly signer: string | null;
  readonly finishedAt: string | null;
  /** When retention removed the attestation. */
  readonly removedAt: string | null;
};

/** A run that brought the artifact as an output, and did not succeed. */
export type UnattestedView = {
  readonly runId: string;
  readonly state: Exclude<RunState, 'success'>;
  readonly reason: string | null;
  readonly project: string;
  readonly workflow: string;
};

/** `unattested`: where there is no attestation, the newest runs that should have made one. */
export type AttestedPage = Paged<AttestedView> & { readonly unattested?: readonly UnattestedView[] };
