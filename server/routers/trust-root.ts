import { auditActor } from '../audit-actor.ts';
import { anyone, instanceOwner, router } from '../trpc.ts';

export const trustRoots = router({
  /** A Sigstore trusted root: what a verifier needs to check certificates and timestamps of this control plane. Open to all. */
  get: anyone.query(({ ctx: { services } }) => services.authority.trustRoot()),
  /** New keys for the certificate authority; what the old ones signed keeps verifying. Verifiers must fetch the trust root again. */
  rotate: instanceOwner.mutation(async ({ ctx: { services, caller } }) => {
    const { generation, createdAt } = await services.authority.rotate(auditActor(caller));
    services.log.info({ generation }, 'certificate authority was rotated');
    return { generation, createdAt: createdAt.toISOString() };
  }),
});
