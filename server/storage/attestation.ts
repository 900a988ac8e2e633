import { emptyConfig } from '../../core/adapters/oci/evidence-store.ts';
import { type Digest, digestOf, hexOf } from '../../core/digest.ts';
import { ChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { artifactManifest, artifactTypes, emptyDescriptor, mediaTypes, tagPrefixes } from './manifest.ts';
import { type BlobReader, type Descriptor, pushBlob, type Storage } from './storage.ts';

/**
 * Stores an attestation: the bundle as a blob, and a manifest tagged `attestation-<hex of the bundle>`, last: where it is, everything is.
 * The same again changes nothing.
 */
export async function storeAttestation(storage: Storage, bundle: Uint8Array): Promise<Digest> {
  const digest = digestOf(bundle);
  await Promise.all([pushBlob(storage, emptyConfig.bytes, emptyDescriptor.digest), pushBlob(storage, bundle, digest)]);
  await storage.putManifest(
    attestationTag(digest),
    mediaTypes.manifest,
    artifactManifest({ artifactType: artifactTypes.bundle, layer: layerOf(digest, bundle.byteLength) }),
  );
  return digest;
}

/**
 * One manifest of a stored attestation for each of the given manifests (those of the output materials), whose subject it is, so that
 * whoever has the evidence finds the attestation (distribution specification, "Listing Referrers"). The same again changes nothing. Throws
 * EVIDENCE_MISSING when a subject is not there.
 */
export async function linkAttestation(
  storage: Storage,
  bundle: { readonly digest: Digest; readonly sizeBytes: number },
  subjects: readonly Digest[],
): Promise<void> {
  const layer = layerOf(bundle.digest, bundle.sizeBytes);
  const queue = new Set(subjects).values();
  const worker = async (): Promise<void> => {
    for (const subject of queue) {
      const manifest = artifactManifest({ artifactType: artifactTypes.bundle, layer, subject: await subjectOf(storage, subject) });
      await storage.putManifest(digestOf(manifest), mediaTypes.manifest, manifest);
    }
  };
  await Promise.all(Array.from({ length: limits.uploadConcurrency }, worker));
}

/**
 * Takes an attestation out of a storage, from its tag to its bytes, with its links to these manifests. What is not there is fine. The bytes
 * stay when a run has brought them as evidence: they go when that does.
 */
export async function removeAttestation(
  storage: Storage,
  bundle: { readonly digest: Digest; readonly sizeBytes: number; readonly isEvidence: boolean },
  subjects: readonly Digest[],
  signal: AbortSignal,
): Promise<void> {
  const layer = layerOf(bundle.digest, bundle.sizeBytes);
  const tagged = digestOf(artifactManifest({ artifactType: artifactTypes.bundle, layer }));
  await removeTagged(storage, attestationTag(bundle.digest), tagged);
  for (const subject of new Set(subjects)) {
    signal.throwIfAborted();
    const manifest = await storage.getManifest(subject);
    if (manifest === undefined) continue;
    const link = artifactManifest({
      artifactType: artifactTypes.bundle,
      layer,
      subject: { mediaType: manifest.mediaType, digest: subject, size: manifest.bytes.byteLength },
    });
    await removeTagged(storage, undefined, digestOf(link));
  }
  if (!bundle.isEvidence) await storage.removeBlob?.(bundle.digest);
}

/**
 * Removes a manifest and the tag that names it, in this order: what is found is there. What is not there is fine. Throws REGISTRY_ERROR when
 * the storage refuses to remove anything.
 */
export async function removeTagged(storage: Storage, tag: string | undefined, digest: Digest): Promise<void> {
  // A registry takes the tags away with their manifest, and some know no other way.
  if (tag !== undefined && storage.type !== 'registry') await storage.removeManifest?.(tag);
  if ((await storage.removeManifest?.(digest)) !== false) return;
  throw new ChainloopError(
    'REGISTRY_ERROR',
    'storage: the registry does not let manifests be removed; allow it there, or for this account; see: chainloop cas-backend check',
  );
}

function layerOf(digest: Digest, sizeBytes: number): Descriptor {
  return { mediaType: artifactTypes.bundle, digest, size: sizeBytes };
}

/** The tag of the attestation with that bundle. */
export function attestationTag(bundle: Digest): string {
  return `${tagPrefixes.attestation}${hexOf(bundle)}`;
}

/** The bytes of a stored bundle, verified, or undefined: it is not there. LIMIT_EXCEEDED when it is no bundle by its size. */
export async function readBundle(storage: Storage, digest: Digest): Promise<Uint8Array | undefined> {
  const reader = await storage.fetch(digest);
  if (reader === undefined) return undefined;
  if (reader.sizeBytes > limits.bundleSizeBytes) {
    throw new ChainloopError('LIMIT_EXCEEDED', `attestation ${digest}: it has ${reader.sizeBytes} bytes, more than a bundle may have`);
  }
  return collect(reader);
}

/** The bytes of evidence that is known to be there and to be small enough, verified. EVIDENCE_MISSING when it has just gone. */
export async function readWhole(storage: Storage, digest: Digest, signal?: AbortSignal): Promise<Uint8Array> {
  const reader = await storage.fetch(digest);
  if (reader === undefined) throw new ChainloopError('EVIDENCE_MISSING', `evidence ${digest}: it is not in storage; add it again`);
  return collect(reader, signal);
}

async function collect({ body }: BlobReader, signal?: AbortSignal): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of body) {
    signal?.throwIfAborted();
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** The manifest of an output material, as a subject. EVIDENCE_MISSING. */
export async function subjectOf(storage: Storage, digest: Digest): Promise<Descriptor> {
  const manifest = await storage.getManifest(digest);
  if (manifest !== undefined) return { mediaType: manifest.mediaType, digest, size: manifest.bytes.byteLength };
  throw new ChainloopError(
    'EVIDENCE_MISSING',
    `attestation: the manifest ${digest} of an output material is not in storage; add the material again`,
  );
}
