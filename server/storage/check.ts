import { randomBytes } from 'node:crypto';
import { emptyConfig } from '../../core/adapters/oci/evidence-store.ts';
import { digestOf } from '../../core/digest.ts';
import { ChainloopError } from '../../core/errors.ts';
import { artifactManifest, emptyDescriptor, mediaTypes } from './manifest.ts';
import { pushBlob, type Storage } from './storage.ts';

/** What a storage can do. `referrers`: attestations are found from their subjects. */
export type StorageCheck = { readonly referrers: boolean };

/**
 * Proves that a storage works, as evidence would use it: writes a blob and two manifests, reads them back, compares. Throws what went wrong,
 * with what to do about it: REGISTRY_UNAUTHORIZED, REGISTRY_ERROR, REGISTRY_UNAVAILABLE, RATE_LIMITED, DISK_FULL, STORAGE_UNAVAILABLE.
 */
export async function checkStorage(storage: Storage): Promise<StorageCheck> {
  // New bytes each time: what is there already would prove nothing.
  const bytes = Buffer.from(`chainloop writes this to see whether it can: ${randomBytes(16).toString('hex')}\n`);
  const layer = { mediaType: 'text/plain', digest: digestOf(bytes), size: bytes.byteLength };
  await pushBlob(storage, emptyConfig.bytes, emptyDescriptor.digest);
  await pushBlob(storage, bytes, layer.digest);
  const reader = await storage.fetch(layer.digest);
  if (reader === undefined) throw notKept('a blob');
  const pieces: Uint8Array[] = [];
  for await (const piece of reader.body) pieces.push(piece);
  if (!Buffer.concat(pieces).equals(bytes)) throw notKept('a blob');

  // One tag for all checks, so that they do not pile up.
  const subject = artifactManifest({ artifactType: checkArtifactType, layer });
  const subjectDigest = await storage.putManifest('chainloop-check', mediaTypes.manifest, subject);
  if ((await storage.getManifest(subjectDigest)) === undefined) throw notKept('a manifest');
  const referrer = artifactManifest({
    artifactType: checkArtifactType,
    layer,
    subject: { mediaType: mediaTypes.manifest, digest: subjectDigest, size: subject.byteLength },
  });
  const referrerDigest = await storage.putManifest(digestOf(referrer), mediaTypes.manifest, referrer);
  return { referrers: (await Array.fromAsync(storage.referrers(subjectDigest))).some(({ digest }) => digest === referrerDigest) };
}

const checkArtifactType = 'application/vnd.chainloop.check.v1';

function notKept(what: string): ChainloopError {
  return new ChainloopError(
    'STORAGE_UNAVAILABLE',
    `storage: ${what} that was just written is not there; the registry accepts what it does not keep`,
  );
}
