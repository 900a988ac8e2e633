import { type Digest, digestOf } from '../../digest.ts';
import { imageManifestType } from './manifests.ts';

/** The empty config of an artifact: the two bytes `{}` (OCI image specification, "Guidance for an Empty Descriptor"). */
export const emptyConfig = { mediaType: 'application/vnd.oci.empty.v1+json', bytes: new TextEncoder().encode('{}') } as const;

/** The type of a Sigstore bundle, as an artifact and as a layer. */
export const bundleType = 'application/vnd.dev.sigstore.bundle.v0.3+json';

type Entry = { readonly mediaType: string; readonly digest: Digest; readonly size: number };

/** The bytes of an artifact manifest: one layer, the empty configuration. The same input gives the same bytes. */
export function artifactManifest(options: {
  readonly artifactType: string;
  readonly layer: Entry & { readonly annotations?: Readonly<Record<string, string>> | undefined };
  readonly subject?: Entry | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}): Uint8Array {
  const { artifactType, layer, subject, annotations } = options;
  const content = {
    schemaVersion: 2,
    mediaType: imageManifestType,
    artifactType,
    config: { mediaType: emptyConfig.mediaType, digest: digestOf(emptyConfig.bytes), size: emptyConfig.bytes.byteLength },
    layers: [layer],
    ...(subject === undefined ? {} : { subject: { mediaType: subject.mediaType, digest: subject.digest, size: subject.size } }),
    ...(annotations === undefined ? {} : { annotations }),
  };
  return new TextEncoder().encode(JSON.stringify(content));
}
