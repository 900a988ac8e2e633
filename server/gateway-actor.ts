import type { TokenRole } from '../core/roles.ts';
import type { Actor } from './actor.ts';
import { auditActor } from './audit-actor.ts';
import type { GatewayActor, GatewayKind } from './gateway/actor.ts';

const kinds: Readonly<Record<TokenRole, GatewayKind>> = { owner: 'api', admin: 'api', viewer: 'viewer', attest: 'job' };

/** An actor as the gateway knows it: what its role lets it do with evidence. */
export function gatewayActorOf(actor: Actor): GatewayActor {
  const who = auditActor(actor);
  switch (actor.type) {
    case 'owner':
      return { type: 'owner', who };
    case 'user':
      return { type: 'member', who, organizations: actor.memberships.map(({ id, name, role }) => ({ id, name, kind: kinds[role] })) };
    case 'api':
      return { type: 'member', who, organizations: [{ ...actor.organization, kind: kinds[actor.role] }] };
    case 'service-account':
    case 'run':
      return { type: 'member', who, organizations: [{ ...actor.organization, kind: 'job' }] };
  }
}
