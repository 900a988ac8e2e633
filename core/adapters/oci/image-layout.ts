import { open, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import * as z from 'zod';
import { type Digest, digestOf, hexOf } from '../../digest.ts';
import { ChainloopError } from '../../errors.ts';
import { jsonValue } from '../../json-value.ts';
import { limits } from '../../limits.ts';
import { isTag } from '../../reference.ts';
import { Descriptor } from './manifests.ts';

/** An image in a folder: `oci:DIR[:TAG]`, or the path of a folder with `oci-layout` in it. */
export type LayoutReference = { readonly directory: string; readonly tag?: string | undefined };

const refName = 'org.opencontainers.image.ref.name';
const Layout = z.looseObject({ imageLayoutVersion: z.string().startsWith('1.') });
const Index = z.looseObject({ manifests: z.array(Descriptor) });
const Manifest = z.looseObject({ schemaVersion: z.literal(2), mediaType: z.string().optional() });

/** The layout that a text names, or undefined when it is a reference to a registry. */
export async function parseLayoutReference(text: string): Promise<LayoutReference | undefined> {
  const explicit = text.startsWith('oci:');
  const path = explicit ? text.slice('oci:'.length) : text;
  if (path === '' || path.includes('\0')) return undefined;
  if (explicit) {
    const colon = path.lastIndexOf(':');
    const tag = colon > 0 ? path.slice(colon + 1) : '';
    // `C:\image` has a colon, too, but no tag has a backslash or slash.
    return isTag(tag) && !(await isFolder(path)) ? { directory: path.slice(0, colon), tag } : { directory: path };
  }
  return (await exists(join(path, 'oci-layout'))) ? { directory: path } : undefined;
}

/**
 * The digest of the one image in an OCI image layout (OCI image specification, "Image Layout"), or of the one with that tag; the bytes
 * of its manifest are verified. IMAGE_NOT_FOUND, DIGEST_MISMATCH, or USAGE when it is no layout or several images could be meant.
 */
export async function resolveInLayout(reference: LayoutReference): Promise<{
  readonly repository: string;
  readonly tag?: string;
  readonly digest: Digest;
  readonly mediaType: string;
  readonly layout: string;
}> {
  const { directory, tag } = reference;
  if (!(await isFolder(directory))) throw new ChainloopError('IMAGE_NOT_FOUND', `OCI layout ${directory}: there is no such folder`);
  await readJson(directory, 'oci-layout', Layout);
  const { manifests } = await readIndex(directory);
  const names = manifests.map(({ annotations }) => annotations?.[refName]).filter((name) => name !== undefined);
  const matching = manifests.filter(({ annotations, artifactType }) =>
    // What refers to an image, such as its attestation, stands beside it without a name.
    tag === undefined ? artifactType === undefined || annotations?.[refName] !== undefined : tagOf(annotations?.[refName]) === tag,
  );
  // The same image under several names is one image.
  const digests = new Set(matching.map(({ digest }) => digest));
  const chosen = matching[0];
  const choices = names.length === 0 ? 'its images have no names' : `it has ${names.slice(0, 10).join(', ')}`;
  if (chosen === undefined)
    throw new ChainloopError(
      'IMAGE_NOT_FOUND',
      `OCI layout ${directory}: ${tag === undefined ? 'it is empty' : `no image is named ${tag}; ${choices}`}`,
    );
  if (digests.size > 1)
    throw new ChainloopError('USAGE', `OCI layout ${directory}: it has several images; choose one with oci:${directory}:TAG (${choices})`);

  const { mediaType } = await readImage(directory, chosen.digest);
  const name = tag ?? tagOf(chosen.annotations?.[refName]);
  return {
    repository: basename(resolve(directory)),
    digest: chosen.digest,
    mediaType: mediaType ?? chosen.mediaType,
    layout: resolve(directory),
    ...(name === undefined ? {} : { tag: name }),
  };
}

/** An image's manifest or index, verified. Its media type may be in the index alone. */
export async function readImage(directory: string, digest: Digest): Promise<{ readonly mediaType?: string; readonly sizeBytes: number }> {
  const bytes = await readBlob(directory, digest, limits.manifestSizeBytes);
  const { mediaType } = parse(directory, blobPath(digest), bytes, Manifest);
  return { sizeBytes: bytes.byteLength, ...(mediaType === undefined ? {} : { mediaType }) };
}

/** The bytes of a blob of a layout, verified. USAGE, LIMIT_EXCEEDED, DIGEST_MISMATCH. */
export async function readBlob(directory: string, digest: Digest, mostBytes: number): Promise<Uint8Array> {
  const path = blobPath(digest);
  const bytes = await read(directory, path, mostBytes);
  if (digestOf(bytes) === digest) return bytes;
  throw new ChainloopError('DIGEST_MISMATCH', `OCI layout ${directory}: ${path} is not what its name says; make the layout again`);
}

export async function readIndex(directory: string): Promise<z.infer<typeof Index>> {
  return readJson(directory, 'index.json', Index);
}

export function blobPath(digest: Digest): string {
  return join('blobs', 'sha256', hexOf(digest));
}

/** Some tools write the whole reference into the annotation, others the tag alone. */
function tagOf(name: string | undefined): string | undefined {
  const tag = name?.slice(name.lastIndexOf('/') + 1);
  return tag?.slice(tag.lastIndexOf(':') + 1);
}

async function readJson<T>(directory: string, name: string, schema: z.ZodType<T>): Promise<T> {
  return parse(directory, name, await read(directory, name), schema);
}

function parse<T>(directory: string, name: string, bytes: Uint8Array, schema: z.ZodType<T>): T {
  const parsed = schema.safeParse(jsonValue(bytes));
  if (parsed.success) return parsed.data;
  throw new ChainloopError('USAGE', `OCI layout ${directory}: ${name} is not what the OCI image specification says; make the layout again`);
}

async function read(directory: string, name: string, mostBytes: number = limits.manifestSizeBytes): Promise<Uint8Array> {
  const path = join(directory, name);
  try {
    await using file = await open(path, 'r');
    const { size } = await file.stat();
    if (size > mostBytes) throw new ChainloopError('LIMIT_EXCEEDED', `OCI layout ${directory}: ${name} is larger than ${mostBytes} bytes`);
    return await file.readFile();
  } catch (error) {
    if (error instanceof ChainloopError) throw error;
    throw new ChainloopError('USAGE', `OCI layout ${directory}: ${name} cannot be read; is the folder an OCI image layout?`, {
      cause: error,
    });
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
