import { randomBytes } from 'node:crypto';
import { emptyConfig, materialManifest, materialTag } from '../../core/adapters/oci/evidence-store.ts';
import { digestOf } from '../../core/digest.ts';
import { openLayout } from '../../server/storage/layout.ts';
import { emptyDescriptor, mediaTypes } from '../../server/storage/manifest.ts';
import { pushBlob } from '../../server/storage/storage.ts';

/**
 * Writes materials into a layout until it is killed, four at a time. Prints `ready`, then the tag of each material that was acknowledged.
 * `node layout-writer.ts DIRECTORY`
 */
const storage = await openLayout(process.argv[2] ?? '');
await pushBlob(storage, emptyConfig.bytes, emptyDescriptor.digest);
process.stdout.write('ready\n');

async function writeOn(): Promise<never> {
  for (;;) {
    const bytes = randomBytes(1 + Math.floor(Math.random() * 300_000));
    const digest = digestOf(bytes);
    await pushBlob(storage, bytes, digest);
    const manifest = materialManifest({ digest, sizeBytes: bytes.byteLength, mediaType: 'application/octet-stream', fileName: 'random' });
    await storage.putManifest(materialTag(digest), mediaTypes.manifest, manifest);
    process.stdout.write(`${materialTag(digest)}\n`);
  }
}
await Promise.all([writeOn(), writeOn(), writeOn(), writeOn()]);
