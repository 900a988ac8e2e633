import { createApi } from '../client/api.ts';
import { isChainloopError } from '../core/errors.ts';
import type { Ending } from './ending.ts';
import type { Platform } from './platform.ts';
import { openSession, type SessionPlan } from './session.ts';

/** Ends a run; the answer is what to say about it. Never throws. */
export async function endRun(
  plan: SessionPlan,
  ports: { readonly platform: Platform; readonly token: string | undefined },
  run: Ending & { readonly runId: string },
): Promise<string> {
  const { state, reason } = run;
  try {
    const session = await openSession(plan, ports);
    await createApi(await session.options()).attestation.end.mutate(run);
    return `recorded as ${state}: ${reason}`;
  } catch (error) {
    // Whoever pushed or ended it before has said how it ended.
    if (isChainloopError(error, 'RUN_ALREADY_FINISHED')) return 'it was over before';
    return `not recorded as ${state}: ${error instanceof Error ? error.message : String(error)}; it expires by itself`;
  }
}
