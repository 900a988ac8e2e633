import type { CraftedMaterial, CraftingStart } from '../core/crafting.ts';

/** The start of an attestation whose contract asks for these materials, each as an output. */
export function startOf(materials: readonly CraftedMaterial[]): CraftingStart {
  return {
    version: 1,
    identity: {
      ...{ organization: 'acme', project: 'bench', team: '', workflowName: 'release', contractName: 'release', contractRevision: 1 },
      ...{ workflowId: '00000000-0000-4000-8000-000000000001', runId: '00000000-0000-4000-8000-000000000002' },
    },
    contract: {
      materials: materials.map(({ name, type }) => ({ name, type, output: true, optional: false, skipUpload: false, annotations: [] })),
      envAllowList: [],
      annotations: [],
    },
    runner: { authenticated: false },
    env: {},
    initializedAt: '2026-01-01T00:00:00.000Z',
    dryRun: false,
    controlPlane: '',
    annotations: {},
  };
}
