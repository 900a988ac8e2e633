import * as z from 'zod';
import type { Digest } from '../../digest.ts';
import { ChainloopError, isChainloopError } from '../../errors.ts';
import { jsonValue } from '../../json-value.ts';
import { limits } from '../../limits.ts';
import type { AttachedImage } from '../../ports.ts';
import { parseReference } from '../../reference.ts';
import { bundleType } from './artifact-manifest.ts';
import type { RegistryClient } from './client.ts';
import { readBlob, readIndex } from './image-layout.ts';
import { createImageRegistries, type ImageRegistryOptions } from './image-registry.ts';
import { Descriptor } from './manifests.ts';

/** A bundle that refers to an image, as it was attached: nothing in it is verified. */
export type AttachedBundle = { readonly referrer: Digest /** Or why it cannot be read. */; readonly text: string | ChainloopError };

export type BundleFinder = {
  /** At most `limits.attachedBundles`, those first that call themselves the newest; `more`: there are others. */
  bundles(image: AttachedImage): Promise<{ readonly bundles: readonly AttachedBundle[]; readonly more: boolean }>;
  /** Of an image index, the images in it, at most `limits.indexImages`; of anything else none. */
  images(image: AttachedImage): Promise<readonly Digest[]>;
};

const Manifest = z.looseObject({
  subject: Descriptor.optional(),
  layers: z.array(Descriptor).optional(),
  manifests: z.array(Descriptor).optional(),
});

/** What is read from: a registry, or a folder. */
type Place = {
  referrers(subject: Digest): Promise<readonly Descriptor[]>;
  manifest(digest: Digest): Promise<Uint8Array>;
  blob(digest: Digest, mostBytes: number): Promise<Uint8Array>;
};

/** Looks for bundles as `createBundleAttacher` puts them. The errors of the registry client and of layouts. */
export function createBundleFinder(options: ImageRegistryOptions): BundleFinder {
  const registries = createImageRegistries(options);

  async function at<T>({ repository, digest, layout }: AttachedImage, read: (place: Place) => Promise<T>): Promise<T> {
    if (layout !== undefined) return read(inLayout(layout));
    const client = await registries.open(parseReference(`${repository}@${digest}`));
    try {
      return await read(inRegistry(client));
    } finally {
      client.close();
    }
  }

  return {
    bundles: (image) =>
      at(image, async (place) => {
        const attached = (await place.referrers(image.digest)).filter(({ artifactType }) => artifactType === bundleType);
        const newest = attached.toSorted((one, other) => (createdAt(one) < createdAt(other) ? 1 : -1)).slice(0, limits.attachedBundles);
        const bundles: AttachedBundle[] = [];
        for (const { digest } of newest) bundles.push({ referrer: digest, text: await bundleOf(place, digest) });
        return { bundles, more: newest.length < attached.length };
      }),
    images: (image) =>
      at(image, async (place) => {
        const { manifests = [] } = parse(await place.manifest(image.digest), image.digest);
        return manifests.slice(0, limits.indexImages).map(({ digest }) => digest);
      }),
  };
}

/** One that cannot be read is a finding of its own: whoever may write to the repository could hide the others behind it. */
async function bundleOf(place: Place, referrer: Digest): Promise<string | ChainloopError> {
  try {
    const { layers = [] } = parse(await place.manifest(referrer), referrer);
    const layer = layers.find(({ mediaType }) => mediaType === bundleType);
    if (layer === undefined) return new ChainloopError('BUNDLE_INVALID', `referrer ${referrer}: it has no bundle in it`);
    return Buffer.from(await place.blob(layer.digest, limits.bundleSizeBytes)).toString('utf8');
  } catch (error) {
    if (isChainloopError(error) && !['REGISTRY_UNAUTHORIZED', 'REGISTRY_UNAVAILABLE', 'RATE_LIMITED'].includes(error.code)) return error;
    throw error;
  }
}

function inRegistry(client: RegistryClient): Place {
  return {
    referrers: (subject) => client.referrers(subject),
    async manifest(digest) {
      const manifest = await client.getManifest(digest);
      if (manifest === undefined) throw new ChainloopError('IMAGE_NOT_FOUND', `manifest ${digest}: the registry does not have it any more`);
      return manifest.bytes;
    },
    async blob(digest, mostBytes) {
      const { sizeBytes, body } = await client.fetchBlob(digest);
      const pieces: Uint8Array[] = [];
      if (sizeBytes <= mostBytes) for await (const piece of body) pieces.push(piece);
      else throw new ChainloopError('LIMIT_EXCEEDED', `blob ${digest}: ${sizeBytes} bytes; the limit is ${mostBytes} bytes`);
      return Buffer.concat(pieces);
    },
  };
}

function inLayout(directory: string): Place {
  const manifest = (digest: Digest) => readBlob(directory, digest, limits.manifestSizeBytes);
  return {
    async referrers(subject) {
      const found: Descriptor[] = [];
      for (const entry of (await readIndex(directory)).manifests) {
        if (entry.artifactType !== bundleType) continue;
        if (parse(await manifest(entry.digest), entry.digest).subject?.digest === subject) found.push(entry);
      }
      return found;
    },
    manifest,
    blob: (digest, mostBytes) => readBlob(directory, digest, mostBytes),
  };
}

/** As it says itself: enough for an order. */
function createdAt({ annotations }: Descriptor): string {
  return annotations?.['org.opencontainers.image.created'] ?? '';
}

function parse(bytes: Uint8Array, digest: Digest): z.infer<typeof Manifest> {
  const parsed = Manifest.safeParse(jsonValue(bytes));
  if (parsed.success) return parsed.data;
  throw new ChainloopError('BUNDLE_INVALID', `manifest ${digest}: it is not what the OCI image specification says`);
}
