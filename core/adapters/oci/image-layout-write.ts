import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, digestOf } from '../../digest.ts';
import type { AttachedImage } from '../../ports.ts';
import { writeFileAtomically } from '../files.ts';
import { bundleType } from './artifact-manifest.ts';
import type { Referrer, Subject } from './bundle-attacher.ts';
import { blobPath, readImage, readIndex } from './image-layout.ts';
import { imageManifestType } from './manifests.ts';

const fileMode = 0o644;

/**
 * Attaches in an OCI layout folder: blobs first, then the manifest in index.json without a name, which is how `oras` finds it. For one writer at a
 * time: a layout has no way to keep two apart. USAGE when it is no layout (any more), DIGEST_MISMATCH, DISK_FULL.
 */
export async function attachInLayout(
  directory: string,
  { digest }: AttachedImage,
  referrerOf: (subject: Subject) => Referrer,
): Promise<{ readonly digest: Digest; readonly existed: boolean }> {
  const index = await readIndex(directory);
  const image = await readImage(directory, digest);
  const mediaType = image.mediaType ?? index.manifests.find((entry) => entry.digest === digest)?.mediaType ?? imageManifestType;
  const { manifest, blobs, annotations } = referrerOf({ mediaType, digest, size: image.sizeBytes });
  const referrer = digestOf(manifest);
  if (index.manifests.some((entry) => entry.digest === referrer)) return { digest: referrer, existed: true };
  for (const bytes of [...blobs, manifest]) {
    const path = join(directory, blobPath(digestOf(bytes)));
    const isThere = await stat(path).then(
      ({ size }) => size === bytes.byteLength,
      () => false,
    );
    if (!isThere) await writeFileAtomically(path, bytes, fileMode);
  }
  const entry = { mediaType: imageManifestType, digest: referrer, size: manifest.byteLength, artifactType: bundleType, annotations };
  const { manifests, ...rest } = index;
  await writeFileAtomically(
    join(directory, 'index.json'),
    Buffer.from(JSON.stringify({ ...rest, manifests: [...manifests, entry] })),
    fileMode,
  );
  return { digest: referrer, existed: false };
}
