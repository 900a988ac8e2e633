import { createHash, randomBytes } from 'node:crypto';
import { parseDigest } from '../../core/digest.ts';
import { createSecrets } from '../../server/sealing.ts';
import { createS3Storage } from '../../server/storage/s3.ts';

// `node s3-process.ts CLIENT MIB`: moves a blob of that many MiB into a bucket and out again, in a process of its own, to see its memory.
// Prints milliseconds of the way in and out, and its peak in bytes.
const [client = '', sizeMiB = ''] = process.argv.slice(2);
const piece = Buffer.alloc(64 * 1024);
const pieces = Number(sizeMiB) * 16;

async function* body(): AsyncGenerator<Uint8Array> {
  for (let index = 0; index < pieces; index++) {
    piece.writeUInt32BE(index, 0);
    yield Buffer.from(piece);
  }
}

const hash = createHash('sha256');
for await (const bytes of body()) hash.update(bytes);
const digest = parseDigest(`sha256:${hash.digest('hex')}`);
const storage = createS3Storage({ client: JSON.parse(client), organizationId: 'acme', secrets: createSecrets(randomBytes(32)) });
const startedAt = performance.now();
const { session } = await storage.beginUpload();
await storage.finish(session, digest, { offset: 0, body: body() });
const sentAt = performance.now();
let sizeBytes = 0;
for await (const bytes of (await storage.fetch(digest))?.body ?? []) sizeBytes += bytes.byteLength;
if (sizeBytes !== pieces * piece.byteLength) throw new Error(`${sizeBytes} bytes came back`);
const readAt = performance.now();
process.stdout.write(`${sentAt - startedAt} ${readAt - sentAt} ${process.resourceUsage().maxRSS * 1024}\n`);
await storage.close();
