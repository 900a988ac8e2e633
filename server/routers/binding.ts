import { parseBinding } from '../../core/binding.ts';
import { limits } from '../../core/limits.ts';
import { type BindingView, wire } from '../../core/wire.ts';
import { type BindingRow, createBinding, describeBinding, listBindings, removeBinding } from '../../db/bindings.ts';
import { describeWorkflow } from '../../db/workflows.ts';
import type { Issuers } from '../federation/issuers.ts';
import { admin, router, viewer } from '../trpc.ts';

export const bindings = router({
  /** Lets jobs of a CI system attest a workflow. */
  create: admin.input(wire.bindingCreate).mutation(async ({ ctx: { scope, services, organization }, input }) => {
    const issuers = kindsOf(services.federation.issuers);
    const binding = parseBinding(input.body, input.format, { issuers, organization: organization.name });
    const { id: workflowId } = await describeWorkflow(scope, { name: binding.workflow, project: binding.project });
    const now = services.now();
    const { workflow: _, project: __, ...rest } = binding;
    const pendingUntil = new Date(now.getTime() + limits.pendingBindingMs);
    return view(await createBinding(scope, { ...rest, workflowId, pendingUntil }), now);
  }),
  list: viewer.input(wire.page).query(async ({ ctx: { scope, services }, input }) => {
    const { items, nextCursor } = await listBindings(scope, input);
    const now = services.now();
    return { items: items.map((row) => view(row, now)), nextCursor };
  }),
  describe: viewer
    .input(wire.byId)
    .query(async ({ ctx: { scope, services }, input }) => view(await describeBinding(scope, input.id), services.now())),
  /** Run credentials that it gave end at once. */
  remove: admin.input(wire.byId).mutation(async ({ ctx: { scope, services }, input }) => {
    const now = services.now();
    return view(await removeBinding(scope, input.id, now), now);
  }),
});

function kindsOf(issuers: Issuers) {
  return new Map([...issuers].map(([issuer, { kind }]) => [issuer, kind]));
}

function view(row: BindingRow, now: Date): BindingView {
  const { id, workflow, project, issuer, repository, repositoryId, ownerId, refs, environment, events } = row;
  const { workflowRef, jobWorkflowRef, runnerEnvironment, pendingUntil, createdAt, lastUsedAt } = row;
  const isPending = repositoryId === null;
  return {
    id,
    workflow,
    project,
    issuer,
    repository,
    repositoryId,
    ownerId,
    refs,
    environment,
    events,
    workflowRef,
    jobWorkflowRef,
    runnerEnvironment,
    state: !isPending ? 'active' : pendingUntil !== null && pendingUntil > now ? 'pending' : 'expired',
    createdAt: createdAt.toISOString(),
    pendingUntil: isPending ? (pendingUntil?.toISOString() ?? null) : null,
    lastUsedAt: lastUsedAt?.toISOString() ?? null,
  };
}
