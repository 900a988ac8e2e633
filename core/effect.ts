/** What is still to be done because of a push. What is done is not listed. */
export type EffectView = {
  readonly id: string;
  readonly runId: string;
  /** `link`: from the output materials to the attestation. `copy`: of all that the run brought, to a mirror. */
  readonly kind: string;
  /** The storage backend where it is done. */
  readonly casBackend: string | null;
  /** `failed`: tried too often; it waits for an operator. */
  readonly state: 'pending' | 'failed';
  readonly attempts: number;
  readonly createdAt: string;
  /** Null when it failed. */
  readonly nextAttemptAt: string | null;
  readonly errorCode: string | null;
  readonly error: string | null;
};
