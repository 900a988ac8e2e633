import { type Digest, digestOf, hexOf } from '../../digest.ts';
import type { EvidenceFile, EvidenceStore } from '../../ports.ts';
import { artifactManifest, emptyConfig } from './artifact-manifest.ts';
import type { RegistryClient } from './client.ts';
import { imageManifestType } from './manifests.ts';

export { emptyConfig } from './artifact-manifest.ts';

/** The type of a material's manifest (OCI image specification, "Guidelines for Artifact Usage"). */
export const materialArtifactType = 'application/vnd.chainloop.material.v1';

/** The tag under which a material's manifest is found, and which keeps garbage collectors away from it. */
export function materialTag(digest: Digest): string {
  return `material-${hexOf(digest)}`;
}

/** The manifest of a material. The same file, name and type give the same bytes. */
export function materialManifest(material: {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly mediaType: string;
  readonly fileName: string;
}): Uint8Array {
  const { digest, sizeBytes: size, mediaType, fileName } = material;
  return artifactManifest({
    artifactType: materialArtifactType,
    layer: { mediaType, digest, size, annotations: { 'org.opencontainers.image.title': fileName } },
  });
}

/**
 * Evidence in an OCI repository: the file as a blob, and a tagged manifest that names it. The manifest is written only when its tag is
 * free: under another name later, the same content keeps its first manifest, which attestations may already refer to.
 */
export function createEvidenceStore(options: {
  readonly client: RegistryClient;
  readonly onProgress?: ((file: EvidenceFile, sentBytes: number) => void) | undefined;
}): EvidenceStore {
  const { client, onProgress } = options;

  async function uploadEmptyConfig(): Promise<void> {
    const { bytes } = emptyConfig;
    await client.uploadBlob({ sizeBytes: bytes.byteLength, read: () => pieces(bytes) }, { expected: digestOf(bytes) });
  }
  let configUploaded: Promise<void> | undefined;

  return {
    async upload(file) {
      const uploaded = await client.uploadBlob(file, { onProgress: onProgress && ((sentBytes) => onProgress(file, sentBytes)) });
      await file.assertUnchanged();
      const { digest, sizeBytes } = uploaded;
      const tag = materialTag(digest);
      if ((await client.headManifest(tag)) !== undefined) return uploaded;
      configUploaded ??= uploadEmptyConfig();
      try {
        await configUploaded;
      } catch (error) {
        configUploaded = undefined;
        throw error;
      }
      await client.putManifest(
        tag,
        imageManifestType,
        materialManifest({ digest, sizeBytes, mediaType: file.mediaType, fileName: file.fileName }),
      );
      return uploaded;
    },
  };
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
