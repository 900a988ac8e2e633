import { emptyConfig } from '../../core/adapters/oci/evidence-store.ts';
import { digestOf } from '../../core/digest.ts';
import { ChainloopError } from '../../core/errors.ts';
import { artifactManifest, emptyDescriptor, mediaTypes } from './manifest.ts';
import { pushBlob, type Storage, sendBlob } from './storage.ts';

/** What a check writes: a blob, a manifest about it, and a manifest that refers to that one. The same for the same mark. */
export function probeOf(mark: string) {
  const bytes = Buffer.from(`chainloop writes this to see whether it can: ${mark}\n`);
  const layer = { mediaType: 'text/plain', digest: digestOf(bytes), size: bytes.byteLength };
  const subject = artifactManifest({ artifactType: checkArtifactType, layer });
  const subjectDigest = digestOf(subject);
  const referrer = artifactManifest({
    artifactType: checkArtifactType,
    layer,
    subject: { mediaType: mediaTypes.manifest, digest: subjectDigest, size: subject.byteLength },
  });
  return { bytes, digest: layer.digest, subject, subjectDigest, referrer, referrerDigest: digestOf(referrer) };
}
export type Probe = ReturnType<typeof probeOf>;

/** One tag for all checks, so that they do not pile up. */
export const checkTag = 'chainloop-check';

/** Sends the blob, also when it is there: what is there already proves nothing. */
export async function writeBlob(storage: Storage, { bytes, digest }: Probe): Promise<void> {
  await pushBlob(storage, emptyConfig.bytes, emptyDescriptor.digest);
  await sendBlob(storage, bytes, digest);
}

/** Reads blob and manifest back, and compares. STORAGE_UNAVAILABLE. */
export async function readBack(storage: Storage, { bytes, digest, subjectDigest }: Probe): Promise<void> {
  const pieces: Uint8Array[] = [];
  for await (const piece of (await storage.fetch(digest))?.body ?? []) pieces.push(piece);
  if (!Buffer.concat(pieces).equals(bytes)) throw notKept('a blob');
  if ((await storage.getManifest(subjectDigest)) === undefined) throw notKept('a manifest');
}

/** Writes a manifest that refers to another. True when it is found from there. */
export async function refer(storage: Storage, { subjectDigest, referrer, referrerDigest }: Probe): Promise<boolean> {
  await storage.putManifest(referrerDigest, mediaTypes.manifest, referrer);
  return (await Array.fromAsync(storage.referrers(subjectDigest))).some(({ digest }) => digest === referrerDigest);
}

/**
 * Proves that a storage works, as evidence would use it: writes a blob and two manifests, reads them back, compares. Throws what went wrong,
 * with what to do about it: REGISTRY_UNAUTHORIZED, REGISTRY_ERROR, REGISTRY_UNAVAILABLE, RATE_LIMITED, DISK_FULL, STORAGE_UNAVAILABLE.
 */
export async function checkStorage(storage: Storage, mark: string): Promise<void> {
  const probe = probeOf(mark);
  await writeBlob(storage, probe);
  await storage.putManifest(checkTag, mediaTypes.manifest, probe.subject);
  await readBack(storage, probe);
  if (!(await refer(storage, probe))) throw notKept('a reference from one manifest to another');
}

const checkArtifactType = 'application/vnd.chainloop.check.v1';

function notKept(what: string): ChainloopError {
  return new ChainloopError(
    'STORAGE_UNAVAILABLE',
    `storage: ${what} that was just written is not there; the storage accepts what it does not keep`,
  );
}
