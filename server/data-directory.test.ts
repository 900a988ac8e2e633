import assert from 'node:assert/strict';
import { mkdtempDisposable, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { claimDataDirectory, ensureDataDirectory, instanceMark } from './data-directory.ts';

test('a data directory is made with all that is above it, and taken again when it is there', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-'));
  const path = join(folder.path, 'a', 'b', 'c');
  await Promise.all(Array.from({ length: 4 }, () => ensureDataDirectory(path)));
  await ensureDataDirectory(path);
  assert.equal((await stat(path)).mode & 0o777, 0o700);
});

test('what cannot be a data directory is refused at once, with the reason', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-'));
  const file = join(folder.path, 'file');
  await writeFile(file, '');
  for (const path of [
    file,
    join(file, 'x'),
    join(file, 'x', 'y'),
    '/dev/null/x',
    '/proc/x',
    '/proc/x/y',
    '/sys/x',
    join(folder.path, 'a'.repeat(300)),
  ]) {
    await assert.rejects(ensureDataDirectory(path), { code: 'USAGE', message: /cannot be the data directory: .*--data-dir/ }, path);
  }
});

test('a data directory is of one control plane, however many of its servers start at once', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-'));
  const { path } = folder;
  await Promise.all(Array.from({ length: 8 }, () => claimDataDirectory(path, 'one')));
  await assert.rejects(claimDataDirectory(path, 'two'), { code: 'CONFLICT', message: /another control plane.*--data-dir.*remove/ });
  await claimDataDirectory(path, 'one');
  assert.deepEqual(await readdir(path), ['instance']);
  await rm(instanceMark(path));
  await claimDataDirectory(path, 'two');
});
