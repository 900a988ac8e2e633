import { and, count, desc, eq, inArray, lte, min, ne, or } from 'drizzle-orm';
import { ChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { OrgScope, SystemScope, Tx } from './client.ts';
import { casBackends } from './schema.ts';
import { found, refusing } from './violation.ts';

export type CasBackendRow = typeof casBackends.$inferSelect;

export type NewCasBackend = Pick<CasBackendRow, 'name' | 'provider' | 'location' | 'insecure'> &
  Partial<Pick<CasBackendRow, 'region' | 'virtualHost'>> & {
    /** Ciphertext, or null when there are none. */
    readonly credentials: Uint8Array | null;
    readonly isDefault: boolean;
  };

export type BackendCount = Pick<CasBackendRow, 'provider' | 'status'> & { readonly backends: number; readonly oldestCheck: Date | null };

/** Adds a backend that was just validated. Throws ALREADY_EXISTS. */
export function createCasBackend(scope: OrgScope, backend: NewCasBackend, now: Date): Promise<CasBackendRow> {
  const { organizationId } = scope;
  return refusing(
    {
      cas_backends_name_key: () =>
        new ChainloopError('ALREADY_EXISTS', `CAS backend '${backend.name}' exists already; choose another name`),
      cas_backends_one_default: collision,
    },
    scope.run(async (tx) => {
      if (backend.isDefault) await dropDefault(tx, scope);
      const [row] = await tx
        .insert(casBackends)
        .values({ ...backend, organizationId, status: 'ok', validatedAt: now, checkDueAt: dueAfter(null, now) })
        .returning();
      return found(row, `CAS backend '${backend.name}'`);
    }),
  );
}

/** All backends, newest first; there are few. */
export function listCasBackends(scope: OrgScope): Promise<CasBackendRow[]> {
  return scope.read((tx) =>
    tx
      .select()
      .from(casBackends)
      .where(eq(casBackends.organizationId, scope.organizationId))
      .orderBy(desc(casBackends.createdAt), desc(casBackends.id)),
  );
}

/** One backend: by name, by id, or the default. Throws NOT_FOUND. */
export async function describeCasBackend(
  scope: OrgScope,
  which: { readonly name: string } | { readonly id: string } | 'default',
): Promise<CasBackendRow> {
  const condition =
    which === 'default' ? casBackends.isDefault : 'name' in which ? eq(casBackends.name, which.name) : eq(casBackends.id, which.id);
  const [row] = await scope.read((tx) =>
    tx
      .select()
      .from(casBackends)
      .where(and(eq(casBackends.organizationId, scope.organizationId), condition)),
  );
  return found(row, which === 'default' ? 'default CAS backend' : `CAS backend '${'name' in which ? which.name : which.id}'`);
}

/**
 * Where new evidence goes: the default backend, or, while that one is invalid, the fallback, unless that is invalid too. Evidence that is
 * stored stays where it is.
 */
export async function describeCurrentCasBackend(scope: OrgScope): Promise<CasBackendRow> {
  const rows = await scope.read((tx) =>
    tx
      .select()
      .from(casBackends)
      .where(and(eq(casBackends.organizationId, scope.organizationId), or(casBackends.isDefault, casBackends.isFallback))),
  );
  return found(currentOf(rows), 'default CAS backend');
}

/** The one of an organization's backends that new evidence goes to. */
export function currentOf(rows: readonly CasBackendRow[]): CasBackendRow | undefined {
  const usual = rows.find(({ isDefault }) => isDefault);
  const fallback = rows.find(({ isFallback, status }) => isFallback && status === 'ok');
  return usual?.status === 'invalid' ? (fallback ?? usual) : usual;
}

/** Makes a backend the default, instead of the one that was; a mirror is none any more. Throws NOT_FOUND. */
export function setDefaultCasBackend(scope: OrgScope, name: string): Promise<CasBackendRow> {
  return refusing(
    { cas_backends_one_default: collision },
    scope.run(async (tx) => {
      await dropDefault(tx, scope);
      const [row] = await tx
        .update(casBackends)
        .set({ isDefault: true, isFallback: false, isMirror: false })
        .where(named(scope, name))
        .returning();
      return found(row, `CAS backend '${name}'`);
    }),
  );
}

/** Says whether what runs bring from now on is copied there. Throws NOT_FOUND, and CONFLICT for the default. */
export function setMirror(scope: OrgScope, name: string, isMirror: boolean): Promise<CasBackendRow> {
  return refusing(
    {
      cas_backends_mirror: () =>
        new ChainloopError('CONFLICT', `CAS backend '${name}' is the default, where everything goes first: make a mirror of another one`),
    },
    scope.run(async (tx) => {
      const [row] = await tx.update(casBackends).set({ isMirror }).where(named(scope, name)).returning();
      return found(row, `CAS backend '${name}'`);
    }),
  );
}

/** Makes a backend the fallback, instead of the one that was; without a name there is none. Throws NOT_FOUND, and CONFLICT for the default. */
export function setFallbackCasBackend(scope: OrgScope, name: string | undefined): Promise<CasBackendRow[]> {
  return refusing(
    {
      cas_backends_one_fallback: collision,
      cas_backends_fallback: () =>
        new ChainloopError('CONFLICT', `CAS backend '${name}' is the default, and cannot stand in for itself; name another one`),
    },
    scope.run(async (tx) => {
      await tx
        .update(casBackends)
        .set({ isFallback: false })
        .where(and(eq(casBackends.organizationId, scope.organizationId), casBackends.isFallback));
      if (name === undefined) return [];
      const rows = await tx.update(casBackends).set({ isFallback: true }).where(named(scope, name)).returning();
      found(rows[0], `CAS backend '${name}'`);
      return rows;
    }),
  );
}

/**
 * Backends of all organizations whose check is due, at most `most`: other servers get others, and these again only at `nextAt`. The
 * server's own disk is looked at only to find that it is fine again.
 */
export function takeDueCasBackends(system: SystemScope, now: Date, nextAt: Date, most: number): Promise<CasBackendRow[]> {
  return system.run(async (tx) => {
    const due = tx
      .select({ id: casBackends.id })
      .from(casBackends)
      .where(and(lte(casBackends.checkDueAt, now), or(ne(casBackends.provider, 'layout'), eq(casBackends.status, 'invalid'))))
      .orderBy(casBackends.checkDueAt)
      .limit(most)
      .for('update', { skipLocked: true });
    return tx.update(casBackends).set({ checkDueAt: nextAt }).where(inArray(casBackends.id, due)).returning();
  });
}

/** Backends by provider and status, with the time of the check that is longest ago, for the metrics. */
export function countCasBackends(system: SystemScope): Promise<BackendCount[]> {
  return system.read((tx) =>
    tx
      .select({
        provider: casBackends.provider,
        status: casBackends.status,
        backends: count(),
        oldestCheck: min(casBackends.validatedAt),
      })
      .from(casBackends)
      .groupBy(casBackends.provider, casBackends.status),
  );
}

/** Keeps the outcome of a check: a problem, or none; and when the next one is due. Throws NOT_FOUND. */
export async function recordCheck(scope: OrgScope, name: string, problem: string | null, now: Date): Promise<CasBackendRow> {
  const [row] = await scope.run((tx) =>
    tx
      .update(casBackends)
      .set({ status: problem === null ? 'ok' : 'invalid', problem, validatedAt: now, checkDueAt: dueAfter(problem, now) })
      .where(named(scope, name))
      .returning(),
  );
  return found(row, `CAS backend '${name}'`);
}

/** Keeps other credentials of a backend, that were just proven. Throws NOT_FOUND. */
export async function replaceCredentials(scope: OrgScope, name: string, credentials: Uint8Array, now: Date): Promise<CasBackendRow> {
  const [row] = await scope.run((tx) =>
    tx.update(casBackends).set({ credentials, status: 'ok', problem: null, validatedAt: now }).where(named(scope, name)).returning(),
  );
  return found(row, `CAS backend '${name}'`);
}

/** Removes a backend. Throws NOT_FOUND, and CONFLICT when it is the default, or evidence is in it. */
export function removeCasBackend(scope: OrgScope, name: string): Promise<CasBackendRow> {
  return refusing(
    {
      evidence_cas_backend: () =>
        new ChainloopError('CONFLICT', `CAS backend '${name}' holds evidence and cannot be removed; make another one the default instead`),
    },
    scope.run(async (tx) => {
      const [row] = await tx.delete(casBackends).where(named(scope, name)).returning();
      const removed = found(row, `CAS backend '${name}'`);
      if (removed.isDefault) {
        throw new ChainloopError('CONFLICT', `CAS backend '${name}' is the default; make another one the default first`);
      }
      return removed;
    }),
  );
}

/** What is broken is looked at more often, so that it is used again soon after it was mended. */
function dueAfter(problem: string | null, now: Date): Date {
  return new Date(now.getTime() + (problem === null ? limits.backendCheckEveryMs : limits.backendRecheckEveryMs));
}

function named(scope: OrgScope, name: string) {
  return and(eq(casBackends.organizationId, scope.organizationId), eq(casBackends.name, name));
}

async function dropDefault(tx: Tx, scope: OrgScope): Promise<void> {
  await tx
    .update(casBackends)
    .set({ isDefault: false })
    .where(and(eq(casBackends.organizationId, scope.organizationId), casBackends.isDefault));
}

function collision(): ChainloopError {
  return new ChainloopError('CONFLICT', 'CAS backend: the default was changed by someone else at this moment; try again');
}
