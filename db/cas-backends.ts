import { and, desc, eq } from 'drizzle-orm';
import { ChainloopError } from '../core/errors.ts';
import type { OrgScope, Tx } from './client.ts';
import { casBackends } from './schema.ts';
import { found, refusing } from './violation.ts';

export type CasBackendRow = typeof casBackends.$inferSelect;

export type NewCasBackend = Pick<CasBackendRow, 'name' | 'provider' | 'location' | 'insecure'> & {
  /** Ciphertext, or null when there are none. */
  readonly credentials: Uint8Array | null;
  readonly isDefault: boolean;
};

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
        .values({ ...backend, organizationId, status: 'ok', validatedAt: now })
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

/** Makes a backend the default, instead of the one that was. Throws NOT_FOUND. */
export function setDefaultCasBackend(scope: OrgScope, name: string): Promise<CasBackendRow> {
  return refusing(
    { cas_backends_one_default: collision },
    scope.run(async (tx) => {
      await dropDefault(tx, scope);
      const [row] = await tx.update(casBackends).set({ isDefault: true }).where(named(scope, name)).returning();
      return found(row, `CAS backend '${name}'`);
    }),
  );
}

/** Keeps the outcome of a check: a problem, or none. Throws NOT_FOUND. */
export async function recordCheck(scope: OrgScope, name: string, problem: string | null, now: Date): Promise<CasBackendRow> {
  const [row] = await scope.run((tx) =>
    tx
      .update(casBackends)
      .set({ status: problem === null ? 'ok' : 'invalid', problem, validatedAt: now })
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
