import { limits } from '../core/limits.ts';
import type { TokenView } from '../core/wire.ts';
import type { TokenRow } from '../db/tokens.ts';

/** A token as lists show it: everything but the token. */
export function tokenView(row: TokenRow): TokenView {
  const { id, name, kind, workflow, project } = row;
  return {
    id,
    name,
    kind,
    role: kind === 'api' ? (row.role ?? 'admin') : null,
    workflow,
    project,
    createdAt: row.createdAt.toISOString(),
    expiresAt: row.expiresAt?.toISOString() ?? null,
    revokedAt: row.revokedAt?.toISOString() ?? null,
    lastUsedAt: row.lastUsedAt?.toISOString() ?? null,
  };
}

/** When a token ends that is made now. */
export function expiryOf(now: Date, expiresInDays: number | undefined): Date {
  return new Date(now.getTime() + (expiresInDays === undefined ? limits.tokenLifetimeMs : expiresInDays * 24 * 60 * 60 * 1000));
}
