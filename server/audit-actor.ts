import type { AuditActor } from '../core/audit.ts';
import type { Actor } from './actor.ts';

const kinds = { owner: 'owner', api: 'api-token', 'service-account': 'service-account', run: 'job' } as const;

/** How the audit log names who a request speaks for. */
export function auditActor({ type, tokenId, name }: Actor): AuditActor {
  return { kind: kinds[type], id: tokenId, name };
}

/** A part of the control plane that acts by itself. */
export function systemActor(name: 'backend-check' | 'expiry' | 'gateway' | 'outbox' | 'retention' | 'verdicts'): AuditActor {
  return { kind: 'system', id: null, name };
}
