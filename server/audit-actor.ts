import type { AuditActor } from '../core/audit.ts';
import type { Actor } from './actor.ts';

const kinds = { owner: 'owner', user: 'person', api: 'api-token', 'service-account': 'service-account', run: 'job' } as const;

/** How the audit log names who a request speaks for. */
export function auditActor(actor: Actor): AuditActor {
  return { kind: kinds[actor.type], id: actor.type === 'user' ? actor.user.id : actor.tokenId, name: actor.name };
}

/** A part of the control plane that acts by itself. */
export function systemActor(name: 'backend-check' | 'expiry' | 'gateway' | 'outbox' | 'retention' | 'verdicts'): AuditActor {
  return { kind: 'system', id: null, name };
}
