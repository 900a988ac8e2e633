import { parseDigest } from '../../core/digest.ts';
import { ChainloopError } from '../../core/errors.ts';
import { wire } from '../../core/wire.ts';
import { findEvidence } from '../../db/evidence.ts';
import { operator, router } from '../trpc.ts';

export const artifacts = router({
  /** What is known of evidence in storage. Its bytes are at `/v2/<organization>/blobs/<digest>`. */
  describe: operator.input(wire.artifactDescribe).query(async ({ ctx: { scope }, input }) => {
    const [row] = await findEvidence(scope, [parseDigest(input.digest)]);
    if (row === undefined) throw new ChainloopError('NOT_FOUND', `artifact ${input.digest}: not found in this organization`);
    const { digest, fileName, sizeBytes, mediaType, uploadedAt } = row;
    return { digest: String(digest), fileName, sizeBytes, mediaType, uploadedAt: uploadedAt.toISOString() };
  }),
});
