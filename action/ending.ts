import * as core from '@actions/core';
import { createApi } from '../client/api.ts';
import { isChainloopError } from '../core/errors.ts';
import type { Ending } from './finish.ts';
import { directoryOf } from './inputs.ts';
import { openSession, type SessionPlan } from './session.ts';

/** All calls together have less than two seconds. */
const retryBudgetMs = 500;

/** Ends a run; the answer is what to say about it. Never throws. */
export async function endRun(plan: SessionPlan, token: string | undefined, run: Ending & { readonly runId: string }): Promise<string> {
  const { env } = process;
  const { state, reason } = run;
  try {
    const session = await openSession({ ...plan, retryBudgetMs }, { env, token, workspace: directoryOf(env), mask: core.setSecret });
    await createApi(await session.options()).attestation.end.mutate(run);
    return `recorded as ${state}: ${reason}`;
  } catch (error) {
    // Whoever pushed or ended it before has said how it ended.
    if (isChainloopError(error, 'RUN_ALREADY_FINISHED')) return 'it was over before';
    return `not recorded as ${state}: ${error instanceof Error ? error.message : String(error)}; it expires by itself`;
  }
}
