/** How long an organization keeps what; `attestationDays` is null for ever. */
export type RetentionView = { readonly unpushedDays: number; readonly attestationDays: number | null };
/** What one step of a collection removed, or would remove. */
export type CollectionStep = {
  readonly attestations: readonly { readonly runId: string; readonly finishedAt: string }[];
  readonly evidence: readonly { readonly digest: string; readonly fileName: string | null; readonly sizeBytes: number }[];
  /** Evidence that a backend did not let go; tried again by a later collection. */
  readonly failed: number;
  /** Where to go on, while there is more. */
  readonly nextCursor?: string | undefined;
  readonly more: boolean;
};
