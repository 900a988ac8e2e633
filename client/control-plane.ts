import { Contract } from '../core/contract.ts';
import { parseDigest } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';
import type { ControlPlane } from '../core/ports.ts';
import { type ApiOptions, createApi } from './api.ts';

/** The control plane as a crafting run needs it (core/ports.ts). Every call may be repeated, so all are retried within the budget. */
export function createControlPlane(options: ApiOptions): ControlPlane {
  const { attestation } = createApi(options);
  return {
    async init(request) {
      const answer = await attestation.init.mutate({ ...request, runner: { ...request.runner, authenticated: false } });
      const contract = Contract.safeParse(answer.contract);
      if (contract.success) return { ...answer, contract: contract.data };
      throw new ChainloopError(
        'CONTRACT_INVALID',
        'contract: the control plane sent one that this version does not know; update chainloop',
      );
    },
    async push(request) {
      const { runId, digest, state } = await attestation.push.mutate(request);
      return { runId, digest: parseDigest(digest), state };
    },
    async bring({ runId, material: { annotations, layout: _, ...material } }) {
      await attestation.collect.mutate({ runId, material: { ...material, annotations: { ...annotations } } });
    },
    async end(request) {
      await attestation.end.mutate(request);
    },
  };
}
