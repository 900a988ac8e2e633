import { createHash, generateKeyPairSync, randomFillSync } from 'node:crypto';
import { copyFile, mkdir, open, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { files } from '../core/adapters/files.ts';
import { hexOf } from '../core/digest.ts';

const blockSizeBytes = 1024 ** 2;

/** What a large file is. */
export function largeBytes({ quick }: { readonly quick: boolean }): number {
  return quick ? 256 * 1024 ** 2 : 1024 ** 3;
}

/** The same, for people. */
export function large({ quick }: { readonly quick: boolean }): string {
  return quick ? '256 MiB' : '1 GiB';
}

/** A file that no part of is like another. */
export async function randomFile(path: string, sizeBytes: number): Promise<void> {
  await using file = await open(path, 'w');
  const block = Buffer.alloc(blockSizeBytes);
  for (let offset = 0; offset < sizeBytes; offset += block.length) {
    await file.write(randomFillSync(block), 0, Math.min(block.length, sizeBytes - offset), offset);
  }
}

/** A file of that size that takes hardly any space. */
export async function sparseFile(path: string, sizeBytes: number): Promise<void> {
  await writeFile(path, randomFillSync(Buffer.alloc(blockSizeBytes)));
  await truncate(path, sizeBytes);
}

/** Another digest for the same size, so that the next upload is a real one. */
export async function changeFile(path: string): Promise<void> {
  await using file = await open(path, 'r+');
  await file.write(randomFillSync(Buffer.alloc(32)), 0, 32, 0);
}

/** A new private key in that folder. */
export async function newKey(directory: string): Promise<string> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const path = join(directory, 'bench.key');
  await writeFile(path, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  return path;
}

/** An OCI image layout with one image, tagged `v1`, whose layers are these files. */
export async function writeLayout(directory: string, layers: readonly string[]): Promise<void> {
  await rm(directory, { recursive: true, force: true });
  const blobs = join(directory, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const put = async (value: unknown) => {
    const bytes = Buffer.from(JSON.stringify(value));
    const hex = createHash('sha256').update(bytes).digest('hex');
    await writeFile(join(blobs, hex), bytes);
    return { digest: `sha256:${hex}`, size: bytes.length };
  };
  const descriptors = await Promise.all(
    layers.map(async (path) => {
      await using file = await files.open(path);
      const digest = await file.digest();
      await copyFile(path, join(blobs, hexOf(digest)));
      return { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: (await stat(path)).size };
    }),
  );
  const rootfs = { type: 'layers', diff_ids: descriptors.map(({ digest }) => digest) };
  const config = await put({ architecture: 'amd64', os: 'linux', config: {}, rootfs });
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = await put({
    schemaVersion: 2,
    mediaType,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
    layers: descriptors,
  });
  const index = [{ mediaType, ...manifest, annotations: { 'org.opencontainers.image.ref.name': 'v1' } }];
  await writeFile(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: index }));
}
