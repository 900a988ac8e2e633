import { limits } from '../../core/limits.ts';
import { Name } from '../../core/names.ts';
import { type Action, type GatewayActor, mayEnter } from './actor.ts';

/** What may be done in a repository, in the words of the distribution project ("Docker Registry v2 token scope and access"). */
export const permissions = ['pull', 'push', 'delete'] as const;
export type Permission = (typeof permissions)[number];

/** What a registry token is good for: permissions by organization. */
export type Access = ReadonlyMap<string, readonly Permission[]>;

/** Those that are not here need none: to be known is enough. */
const permissionOf: Readonly<Partial<Record<Action, Permission>>> = {
  statBlob: 'pull',
  readBlob: 'pull',
  uploadBlob: 'push',
  statManifest: 'pull',
  readManifest: 'pull',
  writeManifest: 'push',
  list: 'pull',
  delete: 'delete',
};

/** True when a token with that access (undefined: a chainloop token, which has all) is good for the action there. */
export function covers(access: Access | undefined, organization: string, action: Action): boolean {
  const needed = permissionOf[action];
  return access === undefined || needed === undefined || access.get(organization)?.includes(needed) === true;
}

/** What a client has to ask for to do it. Undefined for what cannot be a repository of ours, which must not get into a header. */
export function scopeFor(organization: string, action: Action): string | undefined {
  const permission = permissionOf[action];
  if (permission === undefined || !Name.safeParse(organization).success) return undefined;
  // Who pushes also asks what is there.
  return `repository:${organization}:${permission === 'push' ? 'pull,push' : permission}`;
}

/**
 * What of the scopes that a client asks for (`repository:acme:pull,push`, several separated by spaces) this actor may have. Looks up
 * nothing: for whoever is no owner, all other organizations are the same. What cannot be granted is left out, as the token specification
 * says.
 */
export function grant(actor: GatewayActor, scopes: readonly string[]): Access {
  const access = new Map<string, readonly Permission[]>();
  for (const scope of scopes.flatMap((text) => text.split(' '))) {
    const [, name = '', actions = ''] = /^repository:([^:]*):([^:]*)$/.exec(scope) ?? [];
    if (!Name.safeParse(name).success || !mayEnter(actor, name)) continue;
    const asked = actions.split(',');
    const before = access.get(name) ?? [];
    const granted = permissions.filter((permission) => before.includes(permission) || asked.includes(permission) || asked.includes('*'));
    if (granted.length > 0 && (access.has(name) || access.size < limits.registryTokenScopes)) access.set(name, granted);
  }
  return access;
}

/** The scopes in words, as the answer of the token endpoint has them. */
export function formatAccess(access: Access): string {
  return [...access].map(([name, granted]) => `repository:${name}:${granted.join(',')}`).join(' ');
}
