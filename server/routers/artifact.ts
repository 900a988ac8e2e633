import { type Digest, parseDigest } from '../../core/digest.ts';
import { ChainloopError } from '../../core/errors.ts';
import { wire } from '../../core/wire.ts';
import type { OrgScope } from '../../db/client.ts';
import { findEvidence, listUses } from '../../db/evidence.ts';
import { listMaterials } from '../../db/runs.ts';
import { router, viewer } from '../trpc.ts';

export const artifacts = router({
  /** What is known of evidence in storage. Its bytes are at `/v2/<organization>/blobs/<digest>`. */
  describe: viewer.input(wire.artifactDescribe).query(async ({ ctx: { scope }, input }) => {
    const wanted = parseDigest(input.digest);
    const [row] = await findEvidence(scope, [wanted]);
    if (row === undefined) throw new ChainloopError('NOT_FOUND', `artifact ${wanted}: ${await whyAbsent(scope, wanted)}`);
    const { digest, fileName, sizeBytes, mediaType, uploadedAt } = row;
    return { digest: String(digest), fileName, sizeBytes, mediaType, uploadedAt: uploadedAt.toISOString() };
  }),
});

/** An attestation may speak of bytes that were never meant to be in storage. */
async function whyAbsent(scope: OrgScope, digest: Digest): Promise<string> {
  const [use] = (await listUses(scope, digest, { limit: 1 })).items;
  const brought = use && (await listMaterials(scope, use.id)).find((material) => material.digest === digest);
  if (use === undefined || brought === undefined || brought.uploaded) return 'not found in this organization';
  const where = `material '${brought.name}' of run ${use.id}`;
  return brought.type === 'CONTAINER_IMAGE'
    ? `it is a container image (${where}); its registry has it: ${brought.fileName}@${digest}`
    : `only its digest and name were recorded (${where}), because the contract says skipUpload; ask whoever built it for the file ${brought.fileName}`;
}
