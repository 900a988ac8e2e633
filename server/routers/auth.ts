import { isJob } from '../actor.ts';
import { authenticated, router } from '../trpc.ts';

export const auth = router({
  /** Whom the token speaks for, and until when. */
  whoami: authenticated.query(({ ctx: { caller } }) => ({
    kind: caller.type,
    name: caller.name,
    organization: caller.type === 'owner' ? null : caller.organization.name,
    workflow: isJob(caller) ? caller.workflow.name : null,
    project: isJob(caller) ? caller.workflow.project : null,
    identity: isJob(caller) ? caller.identity : null,
    expiresAt: caller.expiresAt?.toISOString() ?? null,
  })),
});
