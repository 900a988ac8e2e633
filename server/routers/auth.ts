import { authenticated, router } from '../trpc.ts';

export const auth = router({
  /** Whom the token speaks for, and until when. */
  whoami: authenticated.query(({ ctx: { caller } }) => ({
    kind: caller.type,
    name: caller.name,
    organization: caller.type === 'owner' ? null : caller.organization.name,
    workflow: caller.type === 'service-account' ? caller.workflow.name : null,
    project: caller.type === 'service-account' ? caller.workflow.project : null,
    expiresAt: caller.expiresAt?.toISOString() ?? null,
  })),
});
