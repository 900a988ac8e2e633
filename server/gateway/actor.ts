import type { AuditActor } from '../../core/audit.ts';
import type { Access } from './scope.ts';

/** An organization, as its storage and its records are found. */
export type GatewayOrganization = { readonly id: string; readonly name: string };

/** What may be done with evidence: everything, reading alone, or what brings evidence. */
export type GatewayKind = 'api' | 'viewer' | 'job';

/** Who asks. The owner token is of the instance, a person may be in several organizations: which one is in the path. */
export type GatewayActor = (
  | { readonly type: 'owner' }
  | { readonly type: 'member'; readonly organizations: readonly (GatewayOrganization & { readonly kind: GatewayKind })[] }
) & {
  readonly who: AuditActor;
  /** Of a registry token: what it was asked for, and so all that it is good for. */
  readonly access?: Access | undefined;
};

/** Who asks, inside one organization. */
export type GatewayCaller = { readonly kind: GatewayKind; readonly who: AuditActor };

/** True when the actor may enter the organization of that name, whether there is one or not. */
export function mayEnter(actor: GatewayActor, name: string): boolean {
  return actor.type === 'owner' || actor.organizations.some((organization) => organization.name === name);
}

/** What a request wants to do: one word for each rule. */
export type Action =
  | 'ping'
  | 'login'
  | 'statBlob'
  | 'readBlob'
  | 'uploadBlob'
  | 'statManifest'
  | 'readManifest'
  | 'writeManifest'
  | 'list'
  | 'delete';

/** A CI job brings evidence, and sees none: it asks whether its own file is there already, uploads it, and describes it. */
const jobActions: ReadonlySet<Action> = new Set(['ping', 'statBlob', 'uploadBlob', 'statManifest', 'writeManifest']);

/** Whoever may only read. */
const viewerActions: ReadonlySet<Action> = new Set(['ping', 'statBlob', 'readBlob', 'statManifest', 'readManifest', 'list']);

/** True when a credential of that kind may do it inside its own organization. */
export function mayDo(kind: GatewayKind, action: Action): boolean {
  switch (kind) {
    case 'job':
      return jobActions.has(action);
    case 'viewer':
      return viewerActions.has(action);
    case 'api':
      return true;
  }
}
