import { type Digest, digestOf } from '../../digest.ts';
import { ChainloopError } from '../../errors.ts';
import type { AttachedImage, BundleAttacher } from '../../ports.ts';
import { parseReference } from '../../reference.ts';
import { artifactManifest, bundleType, emptyConfig } from './artifact-manifest.ts';
import { attachInLayout } from './image-layout-write.ts';
import { createImageRegistries, type ImageRegistries, type ImageRegistryOptions } from './image-registry.ts';
import { imageManifestType } from './manifests.ts';

/** A manifest that refers to an image, and the blobs that it needs. */
export type Referrer = {
  readonly manifest: Uint8Array;
  readonly annotations: Readonly<Record<string, string>>;
  readonly blobs: readonly Uint8Array[];
};

/** The image's manifest or index, described. */
export type Subject = { readonly mediaType: string; readonly digest: Digest; readonly size: number };

/**
 * Attaches bundles as cosign and the other tools of Sigstore look for them (sigstore/cosign, specs/BUNDLE_SPEC.md). Their time is that of the
 * attestation, so that the same bundle makes the same manifest, and attaching twice is attaching once.
 */
export function createBundleAttacher(options: ImageRegistryOptions): BundleAttacher {
  const registries = createImageRegistries(options);
  return {
    async attach(image, { bytes, predicateType, createdAt }) {
      const referrerOf = (subject: Subject): Referrer => {
        const annotations = {
          'dev.sigstore.bundle.content': 'dsse-envelope',
          'dev.sigstore.bundle.predicateType': predicateType,
          'org.opencontainers.image.created': createdAt,
        };
        const layer = { mediaType: bundleType, digest: digestOf(bytes), size: bytes.byteLength };
        const manifest = artifactManifest({ artifactType: bundleType, layer, subject, annotations });
        return { manifest, annotations, blobs: [emptyConfig.bytes, bytes] };
      };
      return image.layout === undefined ? attachInRegistry(registries, image, referrerOf) : attachInLayout(image.layout, image, referrerOf);
    },
  };
}

async function attachInRegistry(
  registries: ImageRegistries,
  { repository, digest }: AttachedImage,
  referrerOf: (subject: Subject) => Referrer,
): Promise<{ readonly digest: Digest; readonly existed: boolean }> {
  const name = `${repository}@${digest}`;
  const client = await registries.open(parseReference(name));
  try {
    const image = await client.getManifest(digest);
    if (image === undefined)
      throw new ChainloopError('IMAGE_NOT_FOUND', `image ${name}: the registry does not have it any more; push the same image again`);
    const { manifest, blobs } = referrerOf({ mediaType: image.mediaType, digest, size: image.bytes.byteLength });
    const referrer = digestOf(manifest);
    const before = await client.referrers(digest);
    if (before.some((one) => one.digest === referrer)) return { digest: referrer, existed: true };
    for (const blob of blobs) {
      const read = async function* () {
        yield blob;
      };
      await client.uploadBlob({ sizeBytes: blob.byteLength, read }, { expected: digestOf(blob) });
    }
    await client.putManifest(referrer, imageManifestType, manifest);
    return { digest: referrer, existed: false };
  } finally {
    client.close();
  }
}
