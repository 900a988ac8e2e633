import { isChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { readBytes } from '../body.ts';
import { tokenOf } from '../tokens.ts';
import type { Authentication } from './authentication.ts';
import { DistributionError } from './errors.ts';
import { type Answering, sendJson } from './exchange.ts';
import { formatAccess } from './scope.ts';

/**
 * The token endpoint, as docker and others know it: GET with Basic (distribution project, "Token Authentication Specification"), or POST
 * of a form ("Docker Registry v2 authentication using OAuth2"). The user may be called anything; the password, or the refresh token, is a
 * chainloop token. No refresh token is given out: clients keep the chainloop token, and what is revoked ends at once.
 */
export async function answerToken(arrival: Answering & { readonly query: URLSearchParams }, authentication: Authentication): Promise<void> {
  const { request, query } = arrival;
  const form = request.method === 'POST' ? await formOf(arrival) : undefined;
  const token = form === undefined ? tokenOf(request.headers.authorization) : tokenInForm(form);
  const { token: sold, issuedAt, access } = await authentication.sell(request, token, (form ?? query).getAll('scope'));
  const answer = {
    token: sold,
    access_token: sold,
    scope: formatAccess(access),
    expires_in: limits.registryTokenLifetimeMs / 1000,
    issued_at: issuedAt.toISOString(),
  };
  // RFC 6749, section 5.1.
  sendJson(arrival, answer, { 'cache-control': 'no-store' });
}

async function formOf({ request, traffic }: Answering): Promise<URLSearchParams> {
  const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase();
  if (type !== 'application/x-www-form-urlencoded') throw malformed('it must be a form: application/x-www-form-urlencoded');
  const bytes = await readBytes(request, limits.tokenRequestSizeBytes, limits.requestTimeoutMs).catch((error: unknown) => {
    throw isChainloopError(error, 'USAGE') ? malformed(error.message) : error;
  });
  traffic.receivedBytes += bytes.byteLength;
  return new URLSearchParams(bytes.toString('utf8'));
}

function tokenInForm(form: URLSearchParams): string | undefined {
  switch (form.get('grant_type')) {
    case 'password':
      return form.get('password') ?? undefined;
    case 'refresh_token':
      return form.get('refresh_token') ?? undefined;
    default:
      throw malformed('grant_type must be password or refresh_token');
  }
}

function malformed(reason: string): DistributionError {
  return new DistributionError('UNSUPPORTED', `the request for a token is not acceptable: ${reason}`, { status: 400 });
}
