import * as z from 'zod';
import { bundleType, emptyConfig } from '../../core/adapters/oci/artifact-manifest.ts';
import { materialArtifactType } from '../../core/adapters/oci/evidence-store.ts';
import { imageIndexType, imageManifestType } from '../../core/adapters/oci/manifests.ts';
import { type Digest, digestOf, isDigest } from '../../core/digest.ts';
import { ChainloopError } from '../../core/errors.ts';
import { isTag } from '../../core/reference.ts';
import type { Descriptor } from './storage.ts';

export { artifactManifest } from '../../core/adapters/oci/artifact-manifest.ts';

export const mediaTypes = {
  manifest: imageManifestType,
  index: imageIndexType,
} as const;

/** What our manifests are about. */
export const artifactTypes = {
  material: materialArtifactType,
  bundle: bundleType,
} as const;

/** Tags: `material-<hex of the evidence>` and `attestation-<hex of the bundle>`. Both name content, so they never move. */
export const tagPrefixes = { material: 'material-', attestation: 'attestation-' } as const;

/** The file name of a layer (image specification, "Pre-Defined Annotation Keys"). */
export const titleAnnotation = 'org.opencontainers.image.title';

/** The configuration of a manifest that has none (image specification, "Guidance for an Empty Descriptor"). */
export const emptyDescriptor: Descriptor = {
  mediaType: emptyConfig.mediaType,
  digest: digestOf(emptyConfig.bytes),
  size: emptyConfig.bytes.byteLength,
};

const DigestText = z.custom<Digest>(isDigest, 'must be sha256:<64 lower-case hex digits>');
/** RFC 6838, section 4.2; it becomes a header, so nothing else may be in it. */
const MediaType = z.string().regex(/^[\w!#$&^.+-]{1,127}\/[\w!#$&^.+-]{1,127}$/, 'must be a media type');
const Annotations = z.record(z.string(), z.string());
const Entry = z.object({
  mediaType: MediaType,
  digest: DigestText,
  size: z.int().min(0),
  artifactType: MediaType.optional(),
  annotations: Annotations.optional(),
  urls: z.array(z.string()).optional(),
});

/** An OCI image manifest or index, or Docker's of the same shape: the parts that a registry acts on. */
const ManifestContent = z.object({
  schemaVersion: z.literal(2),
  mediaType: MediaType.optional(),
  /** Empty is as good as missing (distribution specification, "Listing Referrers"). */
  artifactType: z.union([MediaType, z.literal('')]).optional(),
  config: Entry.optional(),
  layers: z.array(Entry).optional(),
  manifests: z.array(Entry).optional(),
  subject: Entry.optional(),
  annotations: Annotations.optional(),
});
export type ManifestContent = z.infer<typeof ManifestContent>;

/** The manifest in the bytes, or undefined: they are something else. */
export function parseManifest(bytes: Uint8Array): ManifestContent | undefined {
  const read = readManifest(bytes);
  return 'content' in read ? read.content : undefined;
}

/** The manifest in the bytes, or why there is none. */
export function readManifest(bytes: Uint8Array): { readonly content: ManifestContent } | { readonly problem: string } {
  const neither = { problem: 'it is neither an OCI image manifest nor an OCI image index' };
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return neither;
  }
  const parsed = ManifestContent.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return issue === undefined || issue.path.length === 0 ? neither : { problem: `${issue.path.join('.')}: ${issue.message}` };
  }
  const { config, layers, manifests } = parsed.data;
  return (manifests === undefined) === (config !== undefined && layers !== undefined) ? { content: parsed.data } : neither;
}

/** True for a layer that lies elsewhere, and that a registry need not have (image specification, "Non-Distributable Layers"). */
export function isForeign({ mediaType, urls = [] }: Pick<z.infer<typeof Entry>, 'mediaType' | 'urls'>): boolean {
  return urls.length > 0 && /^application\/vnd\.(oci\.image\.layer\.nondistributable\.|docker\.image\.rootfs\.foreign\.)/.test(mediaType);
}

/** What the manifest says it is; one without `mediaType` is known by its shape. */
export function mediaTypeOf(content: ManifestContent): string {
  return content.mediaType ?? (content.manifests === undefined ? mediaTypes.manifest : mediaTypes.index);
}

/** How the referrers API lists it (distribution specification, "Listing Referrers"): without an artifact type, by its configuration's. */
export function descriptorOf(content: ManifestContent, bytes: Uint8Array): Descriptor {
  const artifactType = content.artifactType || content.config?.mediaType;
  return {
    mediaType: mediaTypeOf(content),
    digest: digestOf(bytes),
    size: bytes.byteLength,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(content.annotations === undefined ? {} : { annotations: content.annotations }),
  };
}

/** Throws USAGE unless the reference is a tag or a digest. */
export function assertReference(reference: string): void {
  if (!isDigest(reference) && !isTag(reference)) {
    throw new ChainloopError('USAGE', 'manifest: the reference is neither a tag nor sha256:<64 hex digits>');
  }
}
