import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

/**
 * Writes an OCI image layout (OCI image specification v1.1, "Image Layout") with one image: the gzipped tar is its only layer.
 * Returns the digest of its manifest.
 */
export async function writeImageLayout(directory: string, layer: Uint8Array, tag: string): Promise<string> {
  await mkdir(join(directory, 'blobs', 'sha256'), { recursive: true });
  const blob = async (bytes: Uint8Array, mediaType: string) => {
    const hex = createHash('sha256').update(bytes).digest('hex');
    await writeFile(join(directory, 'blobs', 'sha256', hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const json = (value: unknown) => Buffer.from(JSON.stringify(value));

  const diffId = `sha256:${createHash('sha256').update(gunzipSync(layer)).digest('hex')}`;
  const config = await blob(
    json({ architecture: 'amd64', os: 'linux', config: {}, rootfs: { type: 'layers', diff_ids: [diffId] } }),
    'application/vnd.oci.image.config.v1+json',
  );
  const layers = [await blob(layer, 'application/vnd.oci.image.layer.v1.tar+gzip')];
  const manifest = await blob(
    json({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.manifest.v1+json', config, layers }),
    'application/vnd.oci.image.manifest.v1+json',
  );
  await writeFile(join(directory, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }));
  await writeFile(
    join(directory, 'index.json'),
    json({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [{ ...manifest, annotations: { 'org.opencontainers.image.ref.name': tag } }],
    }),
  );
  return manifest.digest;
}
