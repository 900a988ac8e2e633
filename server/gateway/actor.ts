import type { AuditActor } from '../../core/audit.ts';
import type { Access } from './scope.ts';

/** An organization, as its storage and its records are found. */
export type GatewayOrganization = { readonly id: string; readonly name: string };

/** Who asks. The owner token is of the instance: the organization is the one in the path. */
export type GatewayActor = (
  | { readonly kind: 'owner' }
  | { readonly kind: 'api' | 'viewer' | 'job'; readonly organization: GatewayOrganization }
) & {
  readonly who: AuditActor;
  /** Of a registry token: what it was asked for, and so all that it is good for. */
  readonly access?: Access | undefined;
};

/** True when the actor may enter the organization of that name, whether there is one or not. */
export function mayEnter(actor: GatewayActor, name: string): boolean {
  return actor.kind === 'owner' || actor.organization.name === name;
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
export function mayDo(kind: GatewayActor['kind'], action: Action): boolean {
  switch (kind) {
    case 'job':
      return jobActions.has(action);
    case 'viewer':
      return viewerActions.has(action);
    case 'owner':
    case 'api':
      return true;
  }
}
