import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir, rm, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import * as z from 'zod';
import { ifPresent } from '../storage/disk.ts';
import { sealedAt } from '../storage/seal.ts';
import { damaged, linesOf } from './dump-file.ts';

/** A line of the list of evidence files. The path is relative, with slashes. */
const Line = z.strictObject({
  path: z.string().regex(/^(?!.*(?:^|\/)\.\.(?:\/|$))[^/\\\0][^\\\0]*$/s),
  sizeBytes: z.int().nonnegative(),
  sha256: z.string(),
});

export type Copied = { readonly files: number; readonly sizeBytes: number; readonly damaged: readonly string[] };

/** What is derived or unfinished in a layout (server/storage/layout.ts): a server makes it anew. */
const leftOut = /^[^/]+\/(?:index\.json|\.chainloop\/(?:uploads|drafts|index-stale))$/;
const blob = /\/blobs\/sha256\/([0-9a-f]{64})$/;

/**
 * Copies the evidence on the server's disk, while the server may go on, and writes the list of it. Names before blobs (`.chainloop` sorts
 * first): what a copied name leads to is there. A blob with other bytes than its name says is as good as absent, and left out.
 */
export async function copyOut(from: string, to: string, list: string, report: (files: number) => void): Promise<Copied> {
  const bad: string[] = [];
  let files = 0;
  let sizeBytes = 0;
  async function* lines(): AsyncGenerator<string> {
    for await (const path of filesUnder(from)) {
      const copy = await ifPresent(copyFile(join(from, path), join(to, path)));
      // A draft that was finished or given up meanwhile.
      if (copy === undefined) continue;
      const name = blob.exec(path)?.[1];
      if (name !== undefined && name !== copy.sha256) {
        bad.push(path);
        await rm(join(to, path));
        continue;
      }
      files += 1;
      sizeBytes += copy.sizeBytes;
      report(files);
      yield `${JSON.stringify({ path, ...copy } satisfies z.infer<typeof Line>)}\n`;
    }
  }
  await pipeline(Readable.from(lines()), createGzip(), createWriteStream(list, { flags: 'wx', mode: 0o600, flush: true }));
  return { files, sizeBytes, damaged: bad };
}

/** Copies the evidence of a backup back, each file compared with the list. DIGEST_MISMATCH for what is missing or was changed. */
export async function copyIn(from: string, to: string, list: string, report: (files: number) => void): Promise<void> {
  let files = 0;
  for await (const line of linesOf(list)) {
    const { path, sha256 } = Line.parse(JSON.parse(line.toString('utf8')));
    const copy = await ifPresent(copyFile(join(from, path), join(to, path)));
    if (copy?.sha256 !== sha256) throw damaged(join(from, path), copy === undefined ? 'it is missing' : 'these are other bytes');
    if (blob.test(path)) await utimes(join(to, path), new Date(), sealedAt);
    report(++files);
  }
}

async function* filesUnder(root: string, below = ''): AsyncGenerator<string> {
  const entries = (await ifPresent(readdir(join(root, below), { withFileTypes: true }))) ?? [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = below === '' ? entry.name : `${below}/${entry.name}`;
    if (leftOut.test(path)) continue;
    if (entry.isDirectory()) yield* filesUnder(root, path);
    else if (entry.isFile()) yield path;
  }
}

async function copyFile(from: string, to: string): Promise<{ readonly sizeBytes: number; readonly sha256: string }> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  await mkdir(dirname(to), { recursive: true, mode: 0o700 });
  await pipeline(
    createReadStream(from, { highWaterMark: 512 * 1024 }),
    async function* (pieces: AsyncIterable<Buffer>) {
      for await (const piece of pieces) {
        hash.update(piece);
        sizeBytes += piece.length;
        yield piece;
      }
    },
    createWriteStream(to, { flags: 'wx', mode: 0o600, flush: true }),
  );
  return { sizeBytes, sha256: hash.digest('hex') };
}
