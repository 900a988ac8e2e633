import { stat } from 'node:fs/promises';
import { type Digest, isDigest } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';
import type { AttachedImage } from '../core/ports.ts';
import { parseReference } from '../core/reference.ts';
import type { Context } from './context.ts';
import { imagesOf } from './crafting.ts';
import { namesRegistry } from './registry-host.ts';

/** What is to be released: its digest, and of an image where it is. */
export type Artifact = { readonly name: string; readonly digest: Digest; readonly image?: AttachedImage | undefined };

export type RegistryLogin = { readonly registryUsername: string | undefined; readonly registryPassword: string | undefined };

/** Algorithms that digests are known by; of any other word the colon begins the tag of an image. */
const algorithms = /^(md5|sha1|sha224|sha256|sha384|sha512|sha512-256|sha3-\d+|blake2b|blake2s|blake3|gitCommit):/i;

/**
 * A digest as it is, a file by its content, an image by its reference. A file comes before an image of that name, and an image is written
 * with its registry: a path that is mistyped asks nobody. USAGE, FILE_NOT_FOUND and the other errors of files, images and layouts.
 */
export async function readArtifact(context: Context, text: string, login: RegistryLogin): Promise<Artifact> {
  if (isDigest(text)) return { name: text, digest: text };
  if (algorithms.test(text)) {
    throw new ChainloopError(
      'USAGE',
      `artifact: '${text.slice(0, 100)}' is not sha256:<64 lower-case hex digits>, and attestations name artifacts by nothing else; give the file, or what sha256sum says of it`,
    );
  }
  const there = await stat(text).catch(() => undefined);
  if (there === undefined && /^[0-9a-f]{64}$/i.test(text)) {
    throw new ChainloopError('USAGE', `artifact: if '${text}' is a digest, write sha256:${text.toLowerCase()}`);
  }
  if (there?.isDirectory() === true) return inImage(text, await imagesOf(context, login).resolve(`oci:${text}`));
  if (text.startsWith('oci:')) return inImage(text, await imagesOf(context, login).resolve(text));
  if (there !== undefined) {
    const { files } = await import('../core/adapters/files.ts');
    await using file = await files.open(text);
    return { name: text, digest: await file.digest() };
  }
  if (!namesRegistry(text)) {
    throw new ChainloopError(
      'FILE_NOT_FOUND',
      `artifact: no such file: ${text}; an image is written with its registry, such as docker.io/library/alpine:3, and a digest as sha256:<hex>`,
    );
  }
  const { registry, repository, digest } = parseReference(text);
  // What has a digest needs nobody to look it up.
  if (digest !== undefined) return inImage(text, { repository: `${registry}/${repository}`, digest });
  return inImage(text, await imagesOf(context, login).resolve(text));
}

function inImage(name: string, { repository, digest, layout }: AttachedImage): Artifact {
  return { name, digest, image: { repository, digest, ...(layout !== undefined && { layout }) } };
}
