import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { listen } from '../../../test/fakes/listen.ts';

const mebibyte = 1024 * 1024;
const sizeBytes = 256 * mebibyte;

/** Runs in a process of its own: prints by how much its peak grew beyond what loading the client takes. */
const program = (task: string) => `
  const { createRegistryClient } = await import(${JSON.stringify(new URL('client.ts', import.meta.url).href)});
  const client = createRegistryClient({ origin: process.argv[1], repository: 'acme' });
  await client.ping();
  const peak = () => process.resourceUsage().maxRSS * 1024;
  const before = peak();
  ${task}
  client.close();
  console.log(peak() - before);
`;

async function growth(task: string, origin: string): Promise<number> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program(task), origin]);
  return Number(stdout);
}

/** Takes every upload and forgets it; serves one blob of zeros. */
function startSink() {
  const zeros = Buffer.alloc(mebibyte);
  const server = createServer(async (request, response) => {
    const path = request.url ?? '/';
    request.resume();
    await new Promise((resolve) => request.once('end', resolve));
    if (request.method === 'POST' || request.method === 'PATCH') return response.writeHead(202, { location: path }).end();
    if (request.method === 'PUT') return response.writeHead(201).end();
    if (!path.includes('/blobs/')) return response.end('{}');
    response.writeHead(200, { 'content-length': sizeBytes });
    for (let sent = 0; sent < sizeBytes; sent += zeros.byteLength)
      if (!response.write(zeros)) await new Promise((resolve) => response.once('drain', resolve));
    response.end();
  });
  return listen(server);
}

test('an upload of 256 MiB takes the memory of a few pieces', async () => {
  await using sink = await startSink();
  const grown = await growth(
    `const piece = Buffer.alloc(${4 * mebibyte});
    await client.uploadBlob({ sizeBytes: ${sizeBytes}, async *read() { for (let sent = 0; sent < ${sizeBytes}; sent += piece.length) yield piece; } });`,
    sink.origin,
  );
  assert.ok(grown < 48 * mebibyte, `${grown / mebibyte} MiB`);
});

test('a download of 256 MiB takes memory that does not depend on its size', async () => {
  await using sink = await startSink();
  const hash = createHash('sha256');
  for (let hashed = 0; hashed < sizeBytes; hashed += mebibyte) hash.update(Buffer.alloc(mebibyte));
  const grown = await growth(`for await (const piece of (await client.fetchBlob('sha256:${hash.digest('hex')}')).body);`, sink.origin);
  assert.ok(grown < 128 * mebibyte, `${grown / mebibyte} MiB`);
});
