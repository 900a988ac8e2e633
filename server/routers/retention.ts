import { wire } from '../../core/wire.ts';
import { describeRetention, setRetention } from '../../db/retention.ts';
import { collectStep } from '../retention.ts';
import { admin, router, viewer } from '../trpc.ts';

export const retention = router({
  describe: viewer.query(({ ctx: { scope } }) => describeRetention(scope)),
  set: admin.input(wire.retentionSet).mutation(async ({ ctx: { scope, services, caller }, input: { unpushedDays, attestationDays } }) => {
    const kept = await setRetention(scope, {
      ...(unpushedDays !== undefined && { unpushedDays }),
      ...(attestationDays !== undefined && { attestationDays: attestationDays === 'forever' ? null : attestationDays }),
    });
    services.log.info({ audit: true, organizationId: scope.organizationId, by: caller.type, ...kept }, 'retention was set');
    return kept;
  }),
  /** One step of a collection, or of a list of what it would remove. Go on with the cursor while there is more. */
  collect: admin.input(wire.collect).mutation(({ ctx: { scope, services }, input }) => collectStep(services, scope, input)),
});
