import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, statfs, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { emptyConfig, materialManifest, materialTag } from '../../core/adapters/oci/evidence-store.ts';
import { type Digest, digestOf, hexOf, parseDigest } from '../../core/digest.ts';
import { needs } from '../../test/needs.ts';
import { until } from '../../test/until.ts';
import { type LayoutStorage, openLayout } from './layout.ts';
import { emptyDescriptor, mediaTypes, parseManifest } from './manifest.ts';
import { pushBlob } from './storage.ts';

async function folder(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'chainloop-layout-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

async function pushMaterial(
  storage: LayoutStorage,
  bytes: Uint8Array,
  fileName = 'a.bin',
): Promise<{ readonly tag: string; readonly manifest: Digest }> {
  const digest = digestOf(bytes);
  await pushBlob(storage, emptyConfig.bytes, emptyDescriptor.digest);
  await pushBlob(storage, bytes, digest);
  const manifest = materialManifest({ digest, sizeBytes: bytes.byteLength, mediaType: 'application/octet-stream', fileName });
  return { tag: materialTag(digest), manifest: await storage.putManifest(materialTag(digest), mediaTypes.manifest, manifest) };
}

type Entry = { readonly digest: Digest; readonly size: number; readonly annotations?: Record<string, string> };

async function indexOf(directory: string): Promise<readonly Entry[]> {
  return JSON.parse(await readFile(join(directory, 'index.json'), 'utf8')).manifests;
}

const tagsOf = (entries: readonly Entry[]): string[] =>
  entries.flatMap(({ annotations }) => annotations?.['org.opencontainers.image.ref.name'] ?? []).sort();

test('the folder is an OCI image layout: its marker, an index of every manifest, blobs by digest', async (t) => {
  const directory = await folder(t);
  const storage = await openLayout(directory);
  assert.deepEqual(JSON.parse(await readFile(join(directory, 'oci-layout'), 'utf8')), { imageLayoutVersion: '1.0.0' });
  assert.deepEqual(await indexOf(directory), []);
  const one = await pushMaterial(storage, Buffer.from('one'));
  const untagged = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: [] }));
  await storage.putManifest(digestOf(untagged), mediaTypes.index, untagged);
  await storage.close();
  const entries = await indexOf(directory);
  assert.deepEqual(new Set(entries.map(({ digest }) => digest)), new Set([one.manifest, digestOf(untagged)]));
  assert.deepEqual(tagsOf(entries), [one.tag]);
  for (const { digest, size } of entries) assert.equal((await stat(join(directory, 'blobs', 'sha256', hexOf(digest)))).size, size);
});

test('index.json follows by itself', async (t) => {
  const directory = await folder(t);
  const storage = await openLayout(directory);
  const { tag } = await pushMaterial(storage, Buffer.from('one'));
  await until('index.json has the tag', async () => tagsOf(await indexOf(directory)).length > 0);
  assert.deepEqual(tagsOf(await indexOf(directory)), [tag]);
  await storage.close();
});

test('a tag that is moved stands once in index.json, where it is now', async (t) => {
  const directory = await folder(t);
  const storage = await openLayout(directory);
  const { tag } = await pushMaterial(storage, Buffer.from('one'), 'first');
  await storage.flushIndex();
  const second = await pushMaterial(storage, Buffer.from('one'), 'second');
  await storage.close();
  const entries = await indexOf(directory);
  assert.deepEqual(tagsOf(entries), [tag]);
  assert.equal(entries[0]?.digest, second.manifest);
});

test('index.json is complete after 8 writers at once, with flushes between their puts', async (t) => {
  const directory = await folder(t);
  const storage = await openLayout(directory);
  const tags: string[] = [];
  await Promise.all(
    Array.from({ length: 8 }, async (_, writer) => {
      for (let count = 0; count < 10; count++) {
        tags.push((await pushMaterial(storage, Buffer.from(`${writer}.${count}`))).tag);
        if (count % 3 === writer % 3) await storage.flushIndex();
      }
    }),
  );
  await storage.close();
  assert.deepEqual(tagsOf(await indexOf(directory)), tags.sort());
  assert.deepEqual(await readdir(join(directory, '.chainloop', 'drafts')), []);
});

test('index.json that a crash left behind is made anew at the next opening', async (t) => {
  const directory = await folder(t);
  const storage = await openLayout(directory);
  const { tag } = await pushMaterial(storage, Buffer.from('one'));
  // As a kill before the write: the layout is opened again without having been closed.
  assert.deepEqual(await indexOf(directory), []);
  const again = await openLayout(directory);
  await again.flushIndex();
  assert.deepEqual(tagsOf(await indexOf(directory)), [tag]);
  await again.close();
  await writeFile(join(directory, 'index.json'), '{"schemaVersion":2,"manifests":[]}');
  await (await openLayout(directory)).close();
  assert.deepEqual(tagsOf(await indexOf(directory)), [tag]);
  await storage.close();
});

test('an upload goes on after a restart, hashed anew from what is on disk', async (t) => {
  const directory = await folder(t);
  const bytes = randomBytes(3_000_000);
  async function* part(start: number, end?: number): AsyncGenerator<Uint8Array> {
    yield bytes.subarray(start, end);
  }
  const before = await openLayout(directory);
  const { session } = await before.beginUpload();
  await before.append(session, 0, part(0, 2_000_000));
  const after = await openLayout(directory);
  assert.deepEqual(await after.uploadStatus(session), { session, offset: 2_000_000 });
  await after.finish(session, digestOf(bytes), { offset: 2_000_000, body: part(2_000_000) });
  assert.deepEqual(await after.stat(digestOf(bytes)), { sizeBytes: bytes.byteLength });
  await Promise.all([before.close(), after.close()]);
});

test('what nobody came back for is swept: drafts at the opening, uploads after a day', async (t) => {
  const directory = await folder(t);
  let now = new Date();
  const storage = await openLayout(directory, { now: () => now });
  const { session } = await storage.beginUpload();
  const draft = join(directory, '.chainloop', 'drafts', 'left-by-a-crash');
  await writeFile(draft, 'half');
  const hourAgo = new Date(now.getTime() - 60 * 60 * 1000);
  await utimes(draft, hourAgo, hourAgo);
  await (await openLayout(directory)).close();
  assert.deepEqual(await readdir(join(directory, '.chainloop', 'drafts')), []);

  now = new Date(now.getTime() + 23 * 60 * 60 * 1000);
  await storage.beginUpload();
  assert.equal((await storage.uploadStatus(session)).offset, 0);
  now = new Date(now.getTime() + 2 * 60 * 60 * 1000);
  await storage.beginUpload();
  await assert.rejects(storage.uploadStatus(session), { code: 'NOT_FOUND' });
  await storage.close();
});

test('an organization has at most a thousand open uploads', async (t) => {
  const directory = await folder(t);
  const storage = await openLayout(directory);
  await Promise.all(Array.from({ length: 1000 }, (_, index) => writeFile(join(directory, '.chainloop', 'uploads', String(index)), '')));
  await assert.rejects(storage.beginUpload(), { code: 'RATE_LIMITED' });
  await storage.close();
});

test('killed 20 times at random instants, a layout has every acknowledged material, and nothing that is half there', {
  timeout: 240_000,
}, async (t) => {
  const directory = await folder(t);
  const acknowledged: string[] = [];
  for (let kill = 1; kill <= 20; kill++) {
    const child = spawn(process.execPath, [join(import.meta.dirname, '../../test/fakes/layout-writer.ts'), directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    // Some are acknowledged however slow the machine is; then the next one is under way.
    let before = kill % 4;
    for await (const line of createInterface({ input: child.stdout })) {
      if (line !== 'ready') acknowledged.push(line);
      if (before-- === 0) setTimeout(() => child.kill('SIGKILL'), Math.random() * 60);
    }
    await exited;
  }
  const storage = await openLayout(directory);
  await storage.flushIndex();
  const tags = await storage.tags();
  assert.ok(acknowledged.length > 20);
  assert.deepEqual(
    acknowledged.filter((tag) => !tags.includes(tag)),
    [],
  );
  for (const name of await readdir(join(directory, 'blobs', 'sha256'))) {
    assert.equal(digestOf(await readFile(join(directory, 'blobs', 'sha256', name))), parseDigest(`sha256:${name}`));
  }
  for (const tag of tags) {
    const manifest = await storage.getManifest(tag);
    assert.ok(manifest);
    for (const { digest, size } of parseManifest(manifest.bytes)?.layers ?? []) assert.equal((await storage.stat(digest))?.sizeBytes, size);
  }
  assert.deepEqual(tagsOf(await indexOf(directory)), [...tags].sort());
  t.diagnostic(`${acknowledged.length} acknowledged, ${tags.length} found, 20 kills`);
  await storage.close();
});

test('a full disk is DISK_FULL, leaves nothing half written, gives the space back, and works again when there is room', async (t) => {
  const directory = await folder(t);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', directory], { stdio: 'ignore' });
  } catch {
    return t.skip('a small file system cannot be mounted here: run as root to have this tested');
  }
  try {
    const storage = await openLayout(directory);
    const free = async (): Promise<number> => (await statfs(directory)).bfree;
    const before = await free();
    const large = randomBytes(12 * 1024 * 1024);
    async function* body(): AsyncGenerator<Uint8Array> {
      for (let start = 0; start < large.byteLength; start += 65_536) yield large.subarray(start, start + 65_536);
    }
    const { session } = await storage.beginUpload();
    await assert.rejects(storage.append(session, 0, body()), { code: 'DISK_FULL' });
    const second = await storage.beginUpload();
    await assert.rejects(storage.finish(second.session, digestOf(large), { offset: 0, body: body() }), { code: 'DISK_FULL' });
    assert.equal(await storage.stat(digestOf(large)), undefined);
    await assert.rejects(storage.uploadStatus(session), { code: 'NOT_FOUND' });
    assert.equal(await free(), before);

    await writeFile(join(directory, 'filler'), randomBytes(before * (await statfs(directory)).bsize));
    await assert.rejects(pushMaterial(storage, randomBytes(5000)), { code: 'DISK_FULL' });
    assert.deepEqual(await storage.tags(), []);
    await rm(join(directory, 'filler'));
    const { tag } = await pushMaterial(storage, randomBytes(5000));
    await storage.close();
    assert.deepEqual(tagsOf(await indexOf(directory)), [tag]);
  } finally {
    execFileSync('umount', ['-l', directory]);
  }
});

test('skopeo reads the folder itself', async (t) => {
  if (!needs(t, 'skopeo')) return;
  const directory = await folder(t);
  const storage = await openLayout(directory);
  const { tag } = await pushMaterial(storage, Buffer.from('one'));
  await storage.flushIndex();
  const raw = execFileSync('skopeo', ['inspect', '--raw', `oci:${directory}:${tag}`], { encoding: 'utf8' });
  assert.equal(JSON.parse(raw).layers[0].digest, digestOf('one'));
  await storage.close();
});

test('a blob that was changed on disk is as good as absent: it is told of, never read, and replaced by the next upload', async (t) => {
  const directory = await folder(t);
  const told: unknown[] = [];
  const storage = await openLayout(directory, { onError: (error) => told.push(error) });
  const bytes = Buffer.from('the evidence');
  const digest = digestOf(bytes);
  const path = join(directory, 'blobs', 'sha256', hexOf(digest));
  for (const damage of ['evil evidence', 'the_evidence', '']) {
    await pushBlob(storage, bytes, digest);
    assert.deepEqual(await storage.stat(digest), { sizeBytes: bytes.byteLength });
    told.splice(0);
    await writeFile(path, damage);
    assert.equal(await storage.stat(digest), undefined);
    await assert.rejects(storage.fetch(digest), { code: 'DIGEST_MISMATCH' });
    await assert.rejects(storage.fetch(digest, { offset: 1 }), { code: 'DIGEST_MISMATCH' });
    assert.equal(told.length, 3);
  }
  // As a disk that changes bytes by itself: only reading finds it, and from then on everybody knows.
  await pushBlob(storage, bytes, digest);
  const { atime, mtime } = await stat(path);
  await writeFile(path, 'the_evidence');
  await utimes(path, atime, mtime);
  assert.deepEqual(await storage.stat(digest), { sizeBytes: bytes.byteLength });
  await assert.rejects(async () => Array.fromAsync((await storage.fetch(digest))?.body ?? []), { code: 'DIGEST_MISMATCH' });
  assert.equal(await storage.stat(digest), undefined);
  await pushBlob(storage, bytes, digest);
  assert.deepEqual(await storage.stat(digest), { sizeBytes: bytes.byteLength });
  await storage.close();
});

test('a copy of the folder without its times is verified again, once', async (t) => {
  const directory = await folder(t);
  const storage = await openLayout(directory);
  const bytes = Buffer.from('the evidence');
  const digest = digestOf(bytes);
  await pushBlob(storage, bytes, digest);
  const path = join(directory, 'blobs', 'sha256', hexOf(digest));
  const sealed = (await stat(path)).mtimeMs;
  await utimes(path, new Date(), new Date());
  const stats = await Promise.all([storage.stat(digest), storage.stat(digest)]);
  assert.deepEqual(stats, [{ sizeBytes: bytes.byteLength }, { sizeBytes: bytes.byteLength }]);
  assert.equal((await stat(path)).mtimeMs, sealed);
  await storage.close();
});

test('a manifest that was changed on disk is put again', async (t) => {
  const directory = await folder(t);
  const storage = await openLayout(directory);
  const { tag, manifest } = await pushMaterial(storage, Buffer.from('one'));
  await writeFile(join(directory, 'blobs', 'sha256', hexOf(manifest)), '{}');
  assert.equal(await storage.getManifest(tag), undefined);
  await pushMaterial(storage, Buffer.from('one'));
  assert.equal((await storage.getManifest(tag))?.digest, manifest);
  await storage.close();
});

test('an upload that is given up while its bytes arrive is unknown afterwards, whoever looks when', async (t) => {
  const directory = await folder(t);
  const storage = await openLayout(directory);
  for (let round = 0; round < 20; round++) {
    const { session } = await storage.beginUpload();
    const arriving = Promise.withResolvers<void>();
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        yield randomBytes(1000);
        arriving.resolve();
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    const appended = storage.append(session, 0, endless()).catch(() => storage.uploadStatus(session));
    const rejected = assert.rejects(appended, { code: 'NOT_FOUND' });
    await arriving.promise;
    await Promise.all([storage.cancelUpload(session), rejected]);
    await assert.rejects(storage.uploadStatus(session), { code: 'NOT_FOUND' });
  }
  await storage.close();
});
