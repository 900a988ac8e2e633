import type { Digest } from '../../digest.ts';
import { ChainloopError } from '../../errors.ts';
import type { ImageResolver } from '../../ports.ts';
import { formatReference, parseReference, type Reference } from '../../reference.ts';
import type { RegistryClient } from './client.ts';
import { parseLayoutReference, resolveInLayout } from './image-layout.ts';
import { createImageRegistries, type ImageRegistryOptions } from './image-registry.ts';
import { manifestTypes } from './manifests.ts';

/**
 * Resolves references in registries, with the credentials that Docker has, or GitLab gave to the job, and in OCI layout folders (`oci:DIR[:TAG]`, or a path).
 * What a reference with a digest says must exist. Registries on this machine speak http, all others https. IMAGE_NOT_FOUND, USAGE,
 * REGISTRY_UNAUTHORIZED and the other errors of the registry client.
 */
export function createImageResolver(options: ImageRegistryOptions): ImageResolver {
  const registries = createImageRegistries(options);
  return {
    async resolve(text) {
      const layout = await parseLayoutReference(text);
      if (layout !== undefined) return resolveInLayout(layout);
      const reference = parseReference(text);
      const client = await registries.open(reference);
      try {
        const { digest, mediaType } = await resolveInRegistry(client, reference);
        return {
          repository: `${reference.registry}/${reference.repository}`,
          digest,
          mediaType,
          ...(reference.tag === undefined ? {} : { tag: reference.tag }),
        };
      } finally {
        client.close();
      }
    },
  };
}

/**
 * HEAD first, which Docker Hub does not count as a pull; then the manifest itself by that digest, so that the digest is of bytes that
 * were seen. Registries that answer HEAD without a digest are asked with GET alone.
 */
async function resolveInRegistry(client: RegistryClient, reference: Reference): Promise<{ digest: Digest; mediaType: string }> {
  const name = reference.digest ?? reference.tag ?? 'latest';
  const head = await client.headManifest(name);
  const manifest = head === undefined ? undefined : await client.getManifest(reference.digest ?? head.digest ?? name);
  if (manifest === undefined)
    throw new ChainloopError(
      'IMAGE_NOT_FOUND',
      `image ${formatReference(reference)}: the registry has no such image; check name and tag, and that it was pushed`,
    );
  const known: readonly string[] = manifestTypes;
  if (!known.includes(manifest.mediaType))
    throw new ChainloopError(
      'IMAGE_NOT_FOUND',
      `image ${formatReference(reference)}: its type ${manifest.mediaType.slice(0, 100)} is no image or image index; push it again with a current tool`,
    );
  return { digest: manifest.digest, mediaType: manifest.mediaType };
}
