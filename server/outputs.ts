import type { Digest } from '../core/digest.ts';
import type { OrgScope } from '../db/client.ts';
import { type EvidenceRow, findEvidence } from '../db/evidence.ts';
import { listMaterials, type RunContext } from '../db/runs.ts';

/** What lies in storage of the materials that an attestation is about. */
export async function outputsOf(scope: OrgScope, { id, contract }: RunContext): Promise<EvidenceRow[]> {
  const outputs = new Set(contract.materials.filter(({ output }) => output).map(({ name }) => name));
  const materials = (await listMaterials(scope, id)).filter(({ name, uploaded }) => uploaded && outputs.has(name));
  return findEvidence(
    scope,
    materials.flatMap(({ digest }) => digest ?? []),
  );
}

/** The manifests that keep it. */
export function manifestsOf(evidence: readonly EvidenceRow[]): Digest[] {
  return evidence.flatMap(({ manifestDigest }) => manifestDigest ?? []);
}
