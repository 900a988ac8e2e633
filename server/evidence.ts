import type { Digest } from '../core/digest.ts';
import { hexOf } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';
import type { OrgScope } from '../db/client.ts';
import { type Arrival, confirmEvidence, findEvidence, recordEvidence } from '../db/evidence.ts';
import { parseManifest, tagPrefixes, titleAnnotation } from './storage/manifest.ts';
import type { Storage } from './storage/storage.ts';
import type { Storages } from './storages.ts';

/** Evidence that arrived for an organization, with the manifest that keeps it. */
export type Arrived = {
  readonly digest: Digest;
  readonly casBackendId: string;
  readonly sizeBytes: number;
  readonly manifestDigest: Digest;
};

/**
 * What of these has arrived, as our records say. A server that was killed after it stored a manifest and before it recorded it left
 * evidence without a record; the job finds the manifest there and does not send it again. So what the records lack is looked for under
 * its tag in the organization's own storage, and recorded.
 */
export async function findArrived(scope: OrgScope, storages: Storages, digests: readonly Digest[]): Promise<readonly Arrived[]> {
  const rows = await findEvidence(scope, digests);
  const recorded = rows.flatMap((row) => (row.manifestDigest === null ? [] : [{ ...row, manifestDigest: row.manifestDigest }]));
  const known = new Set(recorded.map(({ digest }) => digest));
  const found: Arrived[] = [];
  for (const digest of digests) {
    const arrived = known.has(digest) ? undefined : await recover(scope, storages, digest);
    if (arrived !== undefined) found.push(arrived);
  }
  return [...recorded, ...found];
}

async function recover(scope: OrgScope, storages: Storages, digest: Digest): Promise<Arrived | undefined> {
  const { id: casBackendId, storage } = await storages.current(scope);
  const manifest = await storage.getManifest(`${tagPrefixes.material}${hexOf(digest)}`);
  const [layer] = (manifest && parseManifest(manifest.bytes)?.layers) ?? [];
  if (manifest === undefined || layer?.digest !== digest) return undefined;
  const arrived = { digest, casBackendId, sizeBytes: layer.size, manifestDigest: manifest.digest };
  const known = { ...arrived, mediaType: layer.mediaType, fileName: layer.annotations?.[titleAnnotation] };
  return (await recordEvidence(scope, known)) === 'recorded' ? arrived : undefined;
}

/**
 * Records what has arrived in a storage. What retention had removed may have gone once more while it arrived: then it has to be sent again.
 * Throws STORAGE_UNAVAILABLE while it is being removed, and NOT_FOUND when it has just gone: the client sends it again.
 */
export async function recordArrival(scope: OrgScope, storage: Storage, arrival: Arrival): Promise<void> {
  const outcome = await recordEvidence(scope, arrival);
  if (outcome === 'recorded') return;
  const { digest } = arrival;
  if (outcome === 'removing') {
    throw new ChainloopError(
      'STORAGE_UNAVAILABLE',
      `evidence ${digest}: what was there before is being removed at this moment; send it again`,
    );
  }
  if ((await storage.stat(digest)) !== undefined) return confirmEvidence(scope, digest);
  throw new ChainloopError('NOT_FOUND', `evidence ${digest}: it was removed while it arrived; send it again`);
}
