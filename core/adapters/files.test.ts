import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  appendFile,
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { digestOf } from '../digest.ts';
import { ChainloopError, type ErrorCode } from '../errors.ts';
import { files, readLimited, writeFileAtomically } from './files.ts';

const MiB = 1024 * 1024;

async function folder() {
  const path = await mkdtemp(join(tmpdir(), 'chainloop-files-'));
  return {
    path,
    file: async (name: string, bytes: Uint8Array | string) => {
      await writeFile(join(path, name), bytes);
      return join(path, name);
    },
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

async function refusal(work: Promise<unknown>, code: ErrorCode): Promise<ChainloopError> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof ChainloopError)) throw error;
    assert.equal(error.code, code, error.message);
    return error;
  }
  return assert.fail('it was accepted');
}

/** A copy of each piece: the reader uses its memory again. */
async function collect(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const copies: Buffer[] = [];
  for await (const piece of pieces) copies.push(Buffer.from(piece));
  return Buffer.concat(copies);
}

for (const sizeBytes of [1, 4096, 256 * 1024, 256 * 1024 + 1, 4 * MiB - 1, 4 * MiB, 4 * MiB + 1, 9 * MiB + 3]) {
  test(`a file of ${sizeBytes} bytes has its digest, and is read as it is, from any offset, again and again`, async () => {
    await using directory = await folder();
    const bytes = randomBytes(sizeBytes);
    await using file = await files.open(await directory.file('server.tar', bytes), 'application/x-tar');
    assert.deepEqual(
      { name: file.fileName, sizeBytes: file.sizeBytes, mediaType: file.mediaType },
      { name: 'server.tar', sizeBytes, mediaType: 'application/x-tar' },
    );
    assert.equal(await file.digest(), digestOf(bytes));
    for (const offset of [0, 1, Math.floor(sizeBytes / 2), sizeBytes])
      assert.ok((await collect(file.read(offset))).equals(bytes.subarray(offset)), `from ${offset}`);
    assert.equal(file.digest(), file.digest());
  });
}

test('a reader that stops early leaves nothing behind', async () => {
  await using directory = await folder();
  await using file = await files.open(await directory.file('a', randomBytes(20 * MiB)));
  for await (const _ of file.read()) break;
});

for (const [what, change] of [
  ['grows', (path: string) => appendFile(path, 'x')],
  ['shrinks', (path: string) => truncate(path, 100)],
  [
    'is written over',
    async (path: string) => {
      await writeFile(path, randomBytes(5 * MiB));
      await utimes(path, 1, 1);
    },
  ],
] as const) {
  test(`a file that ${what} while it is open is refused, however it is read`, async () => {
    await using directory = await folder();
    for (const sizeBytes of [1000, 5 * MiB]) {
      const path = await directory.file('a', randomBytes(sizeBytes));
      await using file = await files.open(path);
      await file.assertUnchanged();
      await change(path);
      await refusal(file.digest(), 'FILE_CHANGED');
      await refusal(collect(file.read()), 'FILE_CHANGED');
      await refusal(file.assertUnchanged(), 'FILE_CHANGED');
    }
  });
}

test('a file that grows in the middle of a read is refused at its end', async () => {
  await using directory = await folder();
  const path = await directory.file('a', randomBytes(10 * MiB));
  await using file = await files.open(path);
  const reading = (async () => {
    let first = true;
    for await (const _ of file.read()) {
      if (first) await appendFile(path, randomBytes(MiB));
      first = false;
    }
  })();
  const { message } = await refusal(reading, 'FILE_CHANGED');
  assert.match(message, /changed while it was read; add it when it is complete/);
});

test('a path that is given to another file meanwhile does not change what was opened', async () => {
  await using directory = await folder();
  const path = await directory.file('a', 'first');
  await using file = await files.open(path);
  await rename(await directory.file('b', 'second'), path);
  assert.equal(await file.digest(), digestOf('first'));
});

test('what cannot be evidence is refused, with the reason', async (t) => {
  await using directory = await folder();
  const { path } = directory;
  await mkdir(join(path, 'directory'));
  await symlink(join(path, 'loop'), join(path, 'loop'));
  await directory.file('empty', '');
  await directory.file('file', 'x');
  await directory.file('secret', 'x');
  await chmod(join(path, 'secret'), 0);
  if (process.platform !== 'win32') execFileSync('mkfifo', [join(path, 'pipe')]);
  const rows: readonly [string, ErrorCode, RegExp][] = [
    ['missing', 'FILE_NOT_FOUND', /^no such file: .*missing$/],
    ['file/below', 'FILE_NOT_FOUND', /^no such file/],
    ['directory', 'FILE_UNREADABLE', /is a directory; give the path of a file$/],
    ['pipe', 'FILE_UNREADABLE', /is not a regular file/],
    ['loop', 'FILE_UNREADABLE', /go round in a circle/],
    ['empty', 'FILE_EMPTY', /is empty, so it cannot be evidence/],
    ['nul\0', 'FILE_UNREADABLE', /it is not a path/],
    ['x'.repeat(5000), 'FILE_UNREADABLE', /the path is too long/],
  ];
  for (const [name, code, message] of rows) assert.match((await refusal(files.open(join(path, name)), code)).message, message);
  if (process.platform !== 'win32') await refusal(files.open('/dev/null'), 'FILE_UNREADABLE');
  if (process.getuid?.() === 0) t.diagnostic('permissions are not tested: this is root, who may read everything');
  else await refusal(files.open(join(path, 'secret')), 'FILE_UNREADABLE');
});

test('a file that cannot be read any further is refused, also while nobody waits for the next piece', async (t) => {
  await using directory = await folder();
  const unheard: unknown[] = [];
  const listen = (error: unknown): void => void unheard.push(error);
  process.on('unhandledRejection', listen);
  t.after(() => process.off('unhandledRejection', listen));
  for (const sizeBytes of [MiB / 4, 20 * MiB]) {
    const file = await files.open(await directory.file('a', randomBytes(sizeBytes)));
    const pieces = file.read()[Symbol.asyncIterator]();
    await pieces.next();
    await setTimeout(50);
    // Without its descriptor, what is read after the piece that is there already fails as on a broken disk.
    await file[Symbol.asyncDispose]();
    if (sizeBytes > MiB) await pieces.next();
    await setTimeout(50);
    assert.match((await refusal(pieces.next(), 'FILE_UNREADABLE')).message, /cannot read .*: EBADF/);
    assert.match((await refusal(file.digest(), 'FILE_UNREADABLE')).message, /cannot read .*: EBADF/);
  }
  assert.deepEqual(unheard, []);
});

test('a limited read takes what is within the limit, and counts the rest', async () => {
  await using directory = await folder();
  const path = await directory.file('a', 'x'.repeat(100_000));
  assert.equal((await readLimited(path, 100_000)).length, 100_000);
  await refusal(readLimited(path, 99_999), 'LIMIT_EXCEEDED');
  assert.equal((await readLimited(await directory.file('empty', ''), 10)).length, 0);
  await refusal(readLimited(join(directory.path, 'missing'), 10), 'FILE_NOT_FOUND');
  await refusal(readLimited(directory.path, 10), 'FILE_UNREADABLE');
});

test('a limited read ends on a device that does not', { skip: process.platform === 'win32' }, async () => {
  await refusal(readLimited('/dev/zero', MiB), 'LIMIT_EXCEEDED');
});

test('an atomic write leaves the whole file with its mode, and nothing beside it', async () => {
  await using directory = await folder();
  const path = join(directory.path, 'state');
  await writeFileAtomically(path, Buffer.from('one'), 0o600);
  await writeFileAtomically(path, Buffer.from('two'), 0o600);
  assert.equal(await readFile(path, 'utf8'), 'two');
  if (process.platform !== 'win32') assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.deepEqual(await readdir(directory.path), ['state']);
});

test('an atomic write through a link leaves the link', { skip: process.platform === 'win32' }, async () => {
  await using directory = await folder();
  const path = join(directory.path, 'state');
  await writeFileAtomically(path, Buffer.from('one'), 0o600);
  const link = join(directory.path, 'link');
  await symlink(path, link);
  await writeFileAtomically(link, Buffer.from('three'), 0o600);
  assert.equal(await readlink(link), path);
  assert.equal(await readFile(path, 'utf8'), 'three');
});

test('an atomic write that fails leaves the old file, and nothing beside it', async () => {
  await using directory = await folder();
  await mkdir(join(directory.path, 'taken'));
  await refusal(writeFileAtomically(join(directory.path, 'taken'), Buffer.from('x'), 0o600), 'FILE_UNREADABLE');
  await refusal(writeFileAtomically(join(directory.path, 'no', 'where'), Buffer.from('x'), 0o600), 'FILE_NOT_FOUND');
  assert.deepEqual(await readdir(directory.path), ['taken']);
});

test('a full disk is DISK_FULL, and the space is given back (F7)', async (t) => {
  await using directory = await folder();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory.path], { stdio: 'ignore' });
  } catch {
    t.skip('mounting a tmpfs is not permitted here; run as root to test a full disk');
    return;
  }
  try {
    const path = join(directory.path, 'state');
    await writeFileAtomically(path, Buffer.from('old'), 0o600);
    await refusal(writeFileAtomically(path, randomBytes(2 * MiB), 0o600), 'DISK_FULL');
    assert.deepEqual(await readdir(directory.path), ['state']);
    await writeFileAtomically(path, randomBytes(500_000), 0o600);
  } finally {
    execFileSync('umount', [directory.path]);
  }
});

test('hashing takes constant memory', async (t) => {
  await using directory = await folder();
  const path = await directory.file('a', '');
  await truncate(path, 256 * MiB);
  await using file = await files.open(path);
  const zeros = Buffer.alloc(4 * MiB);
  const before = process.memoryUsage().rss;
  const started = performance.now();
  const expected = createHash('sha256');
  for (let index = 0; index < 64; index++) expected.update(zeros);
  assert.equal(await file.digest(), `sha256:${expected.digest('hex')}`);
  t.diagnostic(`256 MiB twice in ${(performance.now() - started).toFixed(0)} ms`);
  assert.ok(process.memoryUsage().rss - before < 64 * MiB);
});
