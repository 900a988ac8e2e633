import { wire } from '../../core/wire.ts';
import { describeRun } from '../../db/runs.ts';
import { router, viewer } from '../trpc.ts';

export const verdicts = router({
  /** The verdict on a run. Of a success that has none yet, one is issued now. NOT_FOUND. */
  describe: viewer
    .input(wire.verdictDescribe)
    .query(async ({ ctx: { scope, services }, input }) => services.verdicts.describe(await describeRun(scope, input.runId))),
});
