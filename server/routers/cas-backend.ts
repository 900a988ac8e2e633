import { type CasBackendView, wire } from '../../core/wire.ts';
import { recordAct } from '../../db/audit.ts';
import {
  type CasBackendRow,
  createCasBackend,
  currentOf,
  describeCasBackend,
  listCasBackends,
  removeCasBackend,
  replaceCredentials,
  setDefaultCasBackend,
  setFallbackCasBackend,
  setMirror,
} from '../../db/cas-backends.ts';
import type { OrgScope } from '../../db/client.ts';
import { auditActor } from '../audit-actor.ts';
import { admin, router, viewer } from '../trpc.ts';
import { keepOutcome } from '../validation.ts';

export const casBackends = router({
  /** A registry repository or a bucket; kept only if evidence can really be written there and read back. */
  add: admin.input(wire.casBackendAdd).mutation(async ({ ctx: { scope, services }, input }) => {
    const backend = await services.storages.prepare(scope.organizationId, input);
    if (input.takeOver) await recordTakeOver(scope, input.name);
    return viewOf(scope, await createCasBackend(scope, { ...backend, isDefault: input.default }, services.now()));
  }),
  list: viewer.query(async ({ ctx: { scope } }) => {
    const rows = await listCasBackends(scope);
    const current = currentOf(rows);
    return { items: rows.map((row) => view(row, row.id === current?.id)) };
  }),
  /** New evidence goes there; what is elsewhere stays, and is still read from there. */
  setDefault: admin
    .input(wire.byName)
    .mutation(async ({ ctx: { scope }, input }) => viewOf(scope, await setDefaultCasBackend(scope, input.name))),
  /** New evidence goes there while the default one is invalid. */
  setFallback: admin.input(wire.casBackendFallback).mutation(async ({ ctx: { scope }, input }) => {
    const rows = await setFallbackCasBackend(scope, input.name);
    return { items: await Promise.all(rows.map((row) => viewOf(scope, row))) };
  }),
  /** What runs bring from now on is copied there, or is not any more; what is there stays. */
  setMirror: admin
    .input(wire.casBackendMirror)
    .mutation(async ({ ctx: { scope }, input: { name, mirror } }) => viewOf(scope, await setMirror(scope, name, mirror))),
  /** Looks at everything that evidence needs, and keeps the outcome. */
  check: admin.input(wire.byName).mutation(async ({ ctx: { scope, services, caller }, input }) => {
    const backend = await describeCasBackend(scope, input);
    const { findings, problem } = await services.storages.examine(backend);
    const checked = await viewOf(scope, await keepOutcome(services, backend, problem?.message ?? null, auditActor(caller)));
    return { ...checked, findings, ...(problem === null ? {} : { problemCode: problem.code }) };
  }),
  /** Other credentials; kept only if evidence can be written and read back with them. */
  update: admin.input(wire.casBackendUpdate).mutation(async ({ ctx: { scope, services }, input: { name, ...login } }) => {
    const credentials = await services.storages.prove(await describeCasBackend(scope, { name }), login);
    return viewOf(scope, await replaceCredentials(scope, name, credentials, services.now()));
  }),
  /** From now on the organization alone keeps evidence there. */
  takeOver: admin.input(wire.byName).mutation(async ({ ctx: { scope, services, caller }, input }) => {
    const backend = await describeCasBackend(scope, input);
    await services.storages.takeOver(backend);
    await recordTakeOver(scope, input.name);
    const { organizationId } = scope;
    services.log.info({ audit: true, organizationId, by: caller.type, backend: backend.name }, 'a storage backend was taken over');
    return viewOf(scope, backend);
  }),
  remove: admin.input(wire.byName).mutation(async ({ ctx: { scope, services }, input }) => {
    const removed = await removeCasBackend(scope, input.name);
    await services.storages.leave(removed);
    return view(removed, false);
  }),
});

/** It changes what lies in the storage, and no row. */
async function recordTakeOver(scope: OrgScope, name: string): Promise<void> {
  await recordAct(scope, { action: 'cas-backend.take-over', name, details: {} });
}

async function viewOf(scope: OrgScope, row: CasBackendRow): Promise<CasBackendView> {
  return view(row, currentOf(await listCasBackends(scope))?.id === row.id);
}

function view(row: CasBackendRow, current: boolean): CasBackendView {
  const { id, name, provider, location, isDefault, isFallback, isMirror, status, problem, createdAt, validatedAt } = row;
  return {
    id,
    name,
    provider,
    // Where the server's disk is does not concern tenants.
    location: provider === 'layout' ? 'server' : location,
    default: isDefault,
    fallback: isFallback,
    current,
    mirror: isMirror,
    status,
    problem,
    createdAt: createdAt.toISOString(),
    validatedAt: validatedAt?.toISOString() ?? null,
  };
}
