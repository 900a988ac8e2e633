import assert from 'node:assert/strict';
import { randomFillSync } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import * as z from 'zod';
import { files } from '../core/adapters/files.ts';
import { startRegistry } from './fakes/docker-registry.ts';
import { type InstalledServer, startInstalledServer } from './fakes/installed-server.ts';
import { buildPackage, type Package } from './fakes/package.ts';
import { startPostgres } from './fakes/postgres.ts';
import { peakOf, resetPeak, residentOf, tellsMemory } from './fakes/process.ts';
import { needs } from './needs.ts';

// Memory does not depend on the size of evidence: what is installed, as processes of its own, with a file of 1 GiB.

const mebibyte = 1024 ** 2;
const gibibyte = 1024 ** 3;
const limitBytes = 200 * mebibyte;
/** A server is more at rest, and what it has beyond that depends on when memory is collected. */
const serverLimitBytes = 256 * mebibyte;
/** The embedded database has hundreds of MiB of its own, so there the question is what the bytes add. */
const growthBytes = 120 * mebibyte;

let installed: Package;
before(async () => {
  installed = await buildPackage();
});
after(async () => {
  await installed[Symbol.asyncDispose]();
});

test('1 GiB goes to storage on disk and back with the client below 200 MiB and the server below 256', async (t) => {
  if (!measurable(t) || !needs(t, 'postgresql')) return;
  await using postgres = await startPostgres();
  await using server = await startInstalledServer({ bin: installed.bin, databaseUrl: postgres.url });
  const digest = await upload(t, server);
  await download(t, server, digest);
  below(t, 'server', peakOf(server.pid), serverLimitBytes);
});

test('1 GiB goes through the gateway to a registry and back with the client below 200 MiB and the server below 256', async (t) => {
  if (!measurable(t) || !needs(t, 'postgresql', 'docker-registry')) return;
  await using postgres = await startPostgres();
  await using registry = await startRegistry();
  await using server = await startInstalledServer({ bin: installed.bin, databaseUrl: postgres.url });
  await server.cli(['cas-backend', 'add', 'oci', '--name', 'main', '--repo', `${registry.host}/evidence`, '--insecure']);
  const digest = await upload(t, server);
  await download(t, server, digest);
  below(t, 'server', peakOf(server.pid), serverLimitBytes);
});

test('with the embedded database, 1 GiB through the gateway adds at most 120 MiB to the server', async (t) => {
  if (!measurable(t)) return;
  await using server = await startInstalledServer({ bin: installed.bin });
  const idleBytes = residentOf(server.pid) ?? 0;
  resetPeak(server.pid);
  const digest = await upload(t, server);
  await download(t, server, digest);
  t.diagnostic(`server at rest: ${(idleBytes / mebibyte).toFixed(0)} MiB`);
  below(t, 'server, beyond that', (peakOf(server.pid) ?? Number.POSITIVE_INFINITY) - idleBytes, growthBytes);
});

function measurable(t: TestContext): boolean {
  if (tellsMemory) return true;
  t.skip('the peak of memory is read from /proc, which only Linux has');
  return false;
}

/** Uploads a new file of 1 GiB with the command line. */
async function upload(t: TestContext, server: InstalledServer): Promise<string> {
  const path = join(server.home, '1GiB');
  await writeLargeFile(path);
  const { stdout, peakBytes, seconds } = await server.cli(['artifact', 'upload', '-f', path, '--output', 'json']);
  t.diagnostic(`upload: ${seconds.toFixed(1)} s`);
  below(t, 'client, upload', peakBytes, limitBytes);
  const { digest, sizeBytes } = z.object({ digest: z.string(), sizeBytes: z.number() }).parse(JSON.parse(stdout));
  assert.equal(sizeBytes, gibibyte);
  await using file = await files.open(path);
  assert.equal(digest, await file.digest());
  return digest;
}

/** Downloads it again with the command line, which verifies it. */
async function download(t: TestContext, server: InstalledServer, digest: string): Promise<void> {
  const words = ['artifact', 'download', '-d', digest, '--path', server.home, '--name', 'back'];
  const { peakBytes, seconds } = await server.cli(words);
  t.diagnostic(`download: ${seconds.toFixed(1)} s`);
  below(t, 'client, download', peakBytes, limitBytes);
  assert.equal((await stat(join(server.home, 'back'))).size, gibibyte);
}

/** Random at both ends and a hole between: nothing on the way compresses, and the disk has less to do. */
async function writeLargeFile(path: string): Promise<void> {
  await using file = await open(path, 'w');
  const block = randomFillSync(Buffer.alloc(mebibyte));
  await file.write(block, 0, block.length, 0);
  await file.write(block, 0, block.length, gibibyte - block.length);
}

function below(t: TestContext, what: string, bytes: number | undefined, limit: number): void {
  assert.ok(bytes !== undefined, `${what}: its memory was not seen`);
  const text = `${what}: ${(Math.max(0, bytes) / mebibyte).toFixed(0)} MiB at the peak, at most ${limit / mebibyte} are allowed`;
  t.diagnostic(text);
  assert.ok(bytes <= limit, text);
}
