import { type Actor, roleOf } from './actor.ts';
import { auditActor } from './audit-actor.ts';
import type { GatewayActor } from './gateway/actor.ts';

/** An actor as the gateway knows it: what its role lets it do with evidence. */
export function gatewayActorOf(actor: Actor): GatewayActor {
  const who = auditActor(actor);
  if (actor.type === 'owner') return { kind: 'owner', who };
  const role = roleOf(actor);
  return { kind: role === 'attest' ? 'job' : role === 'viewer' ? 'viewer' : 'api', organization: actor.organization, who };
}
