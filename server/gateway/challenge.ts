/** How to log in where the client reached the server by another name than it knows of itself: the client cannot be sent to a realm. */
export const basicChallenge = 'Basic realm="chainloop"';

/**
 * The WWW-Authenticate header of a 401 (distribution project, "Token Authentication Specification"; RFC 6750, section 3).
 * `scope` is what the request would have needed.
 */
export function bearerChallenge(options: {
  /** The address of the token endpoint. */
  readonly realm: string;
  readonly scope?: string | undefined;
  readonly error?: 'invalid_token' | 'insufficient_scope' | undefined;
}): string {
  const parameters = { realm: options.realm, service: new URL(options.realm).host, scope: options.scope, error: options.error };
  const shown = Object.entries(parameters).flatMap(([name, value]) => (value === undefined ? [] : [`${name}="${value}"`]));
  return `Bearer ${shown.join(',')}`;
}
