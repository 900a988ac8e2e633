import { ChainloopError } from '../core/errors.ts';

/** What the database said: the SQLSTATE, and the constraint that was broken, if one was. */
export type DatabaseRefusal = { readonly state: string; readonly constraint?: string | undefined };

/** The database's own words in an error, however deep drizzle has wrapped them. */
export function databaseRefusal(error: unknown): DatabaseRefusal | undefined {
  for (let inner = error; inner instanceof Error; inner = inner.cause) {
    // A SQLSTATE has a digit; EPIPE, which is as long, has none.
    if (!('code' in inner) || typeof inner.code !== 'string' || !/^(?=.*[0-9])[0-9A-Z]{5}$/.test(inner.code)) continue;
    return { state: inner.code, constraint: 'constraint' in inner && typeof inner.constraint === 'string' ? inner.constraint : undefined };
  }
  return undefined;
}

/**
 * Runs a query; a broken constraint that `refusals` names becomes that error of ours. Constraints live in the database, so that
 * two requests at once cannot both pass; this is where the one that lost is told.
 */
export async function refusing<T>(refusals: Readonly<Record<string, () => ChainloopError>>, query: Promise<T>): Promise<T> {
  try {
    return await query;
  } catch (error) {
    const constraint = databaseRefusal(error)?.constraint;
    const refusal = constraint === undefined ? undefined : refusals[constraint];
    throw refusal === undefined ? error : refusal();
  }
}

/** The row that a query by a natural key must have found. */
export function found<T>(row: T | undefined, what: string): T {
  if (row === undefined) throw new ChainloopError('NOT_FOUND', `${what}: not found in this organization`);
  return row;
}
