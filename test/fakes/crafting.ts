import { Contract } from '../../core/contract/schema.ts';
import type { CraftedMaterial, Crafting, CraftingStart } from '../../core/crafting.ts';
import { digestOf } from '../../core/digest.ts';

/** The contract of the introduction, and one of everything else. */
export const releaseContract = Contract.parse({
  materials: [
    { type: 'STRING', name: 'commit' },
    { type: 'ARTIFACT', name: 'binary', output: true },
    { type: 'CONTAINER_IMAGE', name: 'image', output: true },
    { type: 'SBOM_CYCLONEDX_JSON', name: 'sbom', group: 'sboms', annotations: [{ name: 'tool' }, { name: 'stage', value: 'build' }] },
    { type: 'SBOM_SPDX_JSON', name: 'sbom-spdx', group: 'sboms' },
    { type: 'EVIDENCE', name: 'notes', optional: true, skipUpload: true },
  ],
  envAllowList: ['CUSTOM_VAR'],
  runner: { type: 'GITHUB_ACTION' },
  annotations: [{ name: 'severity' }, { name: 'origin', value: 'ci' }],
});

export const releaseStart: CraftingStart = {
  version: 1,
  identity: {
    organization: 'acme',
    project: 'bedrock',
    team: 'core',
    workflowId: '20e8514d-a52e-4468-a46c-f4032a72b389',
    workflowName: 'release',
    runId: 'a6ec0229-7796-46fc-8df2-a03f4bddab47',
    contractName: 'release',
    contractRevision: 3,
  },
  contract: releaseContract,
  runner: {
    type: 'GITHUB_ACTION',
    url: 'https://github.com/acme/app/actions/runs/1/attempts/1',
    environment: 'github-hosted',
    workflowFilePath: '.github/workflows/release.yml',
    authenticated: false,
  },
  env: { GITHUB_SHA: '9a96775da456e595f242bb9b5826cf46d8dd5d81', CUSTOM_VAR: 'RESOLVED_VALUE' },
  head: {
    commit: '9a96775da456e595f242bb9b5826cf46d8dd5d81',
    authorName: 'Ada',
    authorEmail: 'ada@example.com',
    date: '2026-11-23T08:00:00.000Z',
    message: 'release: 1.0',
    remotes: [{ name: 'origin', url: 'https://github.com/acme/app.git' }],
  },
  initializedAt: '2026-11-23T08:01:00.000Z',
  dryRun: false,
  controlPlane: 'http://127.0.0.1:8080',
  annotations: { severity: 'low', origin: 'ci' },
};

export const releaseMaterials: readonly CraftedMaterial[] = [
  { name: 'commit', type: 'STRING', value: '9a96775d', uploaded: false, annotations: {} },
  { name: 'binary', type: 'ARTIFACT', digest: digestOf('binary'), fileName: 'server.tar', sizeBytes: 6, uploaded: true, annotations: {} },
  {
    name: 'image',
    type: 'CONTAINER_IMAGE',
    digest: digestOf('image'),
    fileName: 'ghcr.io/acme/app',
    tag: 'v1',
    uploaded: false,
    annotations: {},
  },
  {
    name: 'sbom',
    type: 'SBOM_CYCLONEDX_JSON',
    digest: digestOf('sbom'),
    fileName: 'sbom.json',
    sizeBytes: 4,
    uploaded: true,
    annotations: { tool: 'npm', stage: 'build' },
  },
];

/** A crafting that satisfies its contract. */
export const releaseCrafting: Crafting = { start: releaseStart, materials: releaseMaterials };
