/** What a person may do in an organization, from most to least: each may also do what the ones after it may. */
export const roles = ['owner', 'admin', 'viewer'] as const;
export type Role = (typeof roles)[number];

/** An API token has a role, or may only attest: any workflow of its organization, and nothing else. */
export const tokenRoles = [...roles, 'attest'] as const;
export type TokenRole = (typeof tokenRoles)[number];

/** True when who has the one role may do what needs the other. To attest, a viewer is not enough. */
export function mayAct(own: TokenRole, needed: TokenRole): boolean {
  if (needed === 'attest') return own !== 'viewer';
  return own !== 'attest' && roles.indexOf(own) <= roles.indexOf(needed);
}
