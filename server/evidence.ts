import type { Digest } from '../core/digest.ts';
import { hexOf } from '../core/digest.ts';
import type { OrgScope } from '../db/client.ts';
import { findEvidence, recordEvidence } from '../db/evidence.ts';
import { parseManifest, tagPrefixes, titleAnnotation } from './storage/manifest.ts';
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
  await recordEvidence(scope, { ...arrived, mediaType: layer.mediaType, fileName: layer.annotations?.[titleAnnotation] });
  return arrived;
}
