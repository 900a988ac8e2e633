import { type CasBackendView, wire } from '../../core/wire.ts';
import {
  type CasBackendRow,
  createCasBackend,
  describeCasBackend,
  listCasBackends,
  recordCheck,
  removeCasBackend,
  replaceCredentials,
  setDefaultCasBackend,
} from '../../db/cas-backends.ts';
import { operator, router } from '../trpc.ts';

export const casBackends = router({
  /** A registry repository; kept only if evidence can really be written there and read back. */
  add: operator.input(wire.casBackendAdd).mutation(async ({ ctx: { scope, services }, input }) => {
    const backend = await services.storages.prepare(scope.organizationId, input);
    return view(await createCasBackend(scope, { ...backend, isDefault: input.default }, services.now()));
  }),
  list: operator.query(async ({ ctx: { scope } }) => ({ items: (await listCasBackends(scope)).map(view) })),
  /** New evidence goes there; what is elsewhere stays, and is still read from there. */
  setDefault: operator
    .input(wire.byName)
    .mutation(async ({ ctx: { scope }, input }) => view(await setDefaultCasBackend(scope, input.name))),
  /** Writes and reads back, and keeps the outcome. */
  check: operator.input(wire.byName).mutation(async ({ ctx: { scope, services }, input }) => {
    const problem = await services.storages.check(await describeCasBackend(scope, input));
    const checked = view(await recordCheck(scope, input.name, problem?.message ?? null, services.now()));
    return problem === null ? checked : { ...checked, problemCode: problem.code };
  }),
  /** Other credentials; kept only if evidence can be written and read back with them. */
  update: operator.input(wire.casBackendUpdate).mutation(async ({ ctx: { scope, services }, input: { name, ...login } }) => {
    const credentials = await services.storages.prove(await describeCasBackend(scope, { name }), login);
    return view(await replaceCredentials(scope, name, credentials, services.now()));
  }),
  remove: operator.input(wire.byName).mutation(async ({ ctx: { scope }, input }) => view(await removeCasBackend(scope, input.name))),
});

function view(row: CasBackendRow): CasBackendView {
  const { id, name, provider, location, isDefault, status, problem, createdAt, validatedAt } = row;
  return {
    id,
    name,
    provider,
    // Where the server's disk is does not concern tenants.
    location: provider === 'layout' ? 'server' : location,
    default: isDefault,
    status,
    problem,
    createdAt: createdAt.toISOString(),
    validatedAt: validatedAt?.toISOString() ?? null,
  };
}
