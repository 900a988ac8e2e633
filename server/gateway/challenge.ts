import type { IncomingMessage } from 'node:http';
import type { DistributionError } from './errors.ts';
import { actionOf, type Route } from './route.ts';
import { scopeFor } from './scope.ts';

/**
 * The WWW-Authenticate header of a 401 (distribution project, "Token Authentication Specification"; RFC 6750, section 3): where a token is
 * to be had, and what to ask for. Says nothing that the client did not say itself. Without an origin, when we do not know how the client
 * reaches us, it can be sent nowhere: it may use Basic.
 */
export function challengeOf(
  origin: string | undefined,
  request: IncomingMessage,
  route: Route | undefined,
  refusal: DistributionError,
): string {
  // At the token endpoint itself it is the password that is wrong.
  if (origin === undefined || route?.type === 'token') return 'Basic realm="chainloop"';
  const action = route && actionOf(route, request.method ?? '');
  const scope = route !== undefined && 'organization' in route && action !== undefined ? scopeFor(route.organization, action) : undefined;
  const refused = request.headers.authorization === undefined ? undefined : 'invalid_token';
  // What has no code of ours is a good token with too little in it.
  const error = refusal.failure === undefined ? 'insufficient_scope' : refused;
  const parameters = { realm: `${origin}/v2/token`, service: new URL(origin).host, scope, error };
  const shown = Object.entries(parameters).flatMap(([name, value]) => (value === undefined ? [] : [`${name}="${value}"`]));
  return `Bearer ${shown.join(',')}`;
}
