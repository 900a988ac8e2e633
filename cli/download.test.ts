import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestOf, hexOf } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';
import { downloadName, saveDownload, targetDirectory } from './download.ts';

const digest = digestOf('evidence');

for (const name of ['rootfs.tar.gz', 'control-plane', 'app_1.2.3+build@x86.deb', '_a', 'a'.repeat(200), 'context', 'nulled.txt']) {
  test(`'${name.slice(0, 30)}' is kept as a name`, () => assert.equal(downloadName(name, digest), name));
}

for (const [attack, name] of [
  ['nothing', ''],
  ['this directory', '.'],
  ['the directory above', '..'],
  ['a path upwards', '../../etc/cron.d/x'],
  ['an absolute path', '/etc/passwd'],
  ['a backslash path', '..\\..\\x'],
  ['a drive', 'C:x'],
  ['an alternate stream', 'a.txt:x'],
  ['a NUL', 'a\0.txt'],
  ['a right-to-left override', 'a\u202egpj.exe'],
  ['full-width dots', '．．/x'],
  ['a hidden file', '.bashrc'],
  ['an option', '-rf'],
  ['a device', 'CON'],
  ['a device with an extension', 'nul.txt'],
  ['a dot that Windows drops', 'a.'],
  ['a name too long', 'a'.repeat(300)],
  ['a line break', 'a\nb'],
  ['a glob', '*'],
  ['a home', '~'],
  ['a variable', '$HOME'],
  ['a space at the end', 'a '],
] as const) {
  test(`${attack} is not a name: the digest is used instead`, () => assert.equal(downloadName(name, digest), `sha256-${hexOf(digest)}`));
}

async function folder() {
  const path = await mkdtemp(join(tmpdir(), 'chainloop-download-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

const body = (...pieces: readonly string[]) =>
  async function* () {
    for (const piece of pieces) yield Buffer.from(piece);
  };

test('a download is saved whole, and nothing else is', async () => {
  await using at = await folder();
  await saveDownload(at.path, 'a.txt', body('one ', 'two'), { force: false });
  assert.deepEqual(await readdir(at.path), ['a.txt']);
  assert.equal(await readFile(join(at.path, 'a.txt'), 'utf8'), 'one two');
});

test('a body that fails at its end, as when its digest differs, leaves nothing behind', async () => {
  await using at = await folder();
  const failing = async function* () {
    yield Buffer.from('evil');
    throw new ChainloopError('DIGEST_MISMATCH', 'not what was promised');
  };
  await assert.rejects(saveDownload(at.path, 'a.txt', failing, { force: false }), { code: 'DIGEST_MISMATCH' });
  assert.deepEqual(await readdir(at.path), []);
});

test('a file that exists is not overwritten', async () => {
  await using at = await folder();
  await writeFile(join(at.path, 'a.txt'), 'mine');
  await assert.rejects(saveDownload(at.path, 'a.txt', body('theirs'), { force: false }), { code: 'FILE_EXISTS' });
  assert.equal(await readFile(join(at.path, 'a.txt'), 'utf8'), 'mine');
  assert.deepEqual(await readdir(at.path), ['a.txt']);
});

test('a file that appears while the download runs is not overwritten', async () => {
  await using at = await folder();
  const racing = async function* () {
    yield Buffer.from('theirs');
    await writeFile(join(at.path, 'a.txt'), 'mine');
  };
  await assert.rejects(saveDownload(at.path, 'a.txt', racing, { force: false }), { code: 'FILE_EXISTS' });
  assert.equal(await readFile(join(at.path, 'a.txt'), 'utf8'), 'mine');
  assert.deepEqual(await readdir(at.path), ['a.txt']);
});

test('with force a file is replaced', async () => {
  await using at = await folder();
  await writeFile(join(at.path, 'a.txt'), 'old');
  await saveDownload(at.path, 'a.txt', body('new'), { force: true });
  assert.equal(await readFile(join(at.path, 'a.txt'), 'utf8'), 'new');
});

test('a symbolic link at the target is not followed, with or without force', async () => {
  await using at = await folder();
  const outside = join(at.path, 'outside');
  await writeFile(outside, 'precious');
  const inside = join(at.path, 'inside');
  await mkdir(inside);
  await symlink(outside, join(inside, 'a.txt'));
  await assert.rejects(saveDownload(inside, 'a.txt', body('x'), { force: false }), { code: 'FILE_EXISTS' });
  await saveDownload(inside, 'a.txt', body('x'), { force: true });
  assert.equal(await readFile(outside, 'utf8'), 'precious');
  assert.equal(await readFile(join(inside, 'a.txt'), 'utf8'), 'x');
});

test('a directory of that name is an error that says so', async () => {
  await using at = await folder();
  await mkdir(join(at.path, 'a.txt'));
  await assert.rejects(saveDownload(at.path, 'a.txt', body('x'), { force: true }), { code: 'FILE_UNREADABLE' });
  assert.deepEqual(await readdir(at.path), ['a.txt']);
});

test('a place that is no directory, or not there, is said before anything is fetched', async () => {
  await using at = await folder();
  await writeFile(join(at.path, 'a.txt'), 'mine');
  await assert.rejects(targetDirectory(join(at.path, 'a.txt')), {
    code: 'FILE_UNREADABLE',
    message: /a\.txt is not a directory; .*--name/,
  });
  await assert.rejects(targetDirectory(join(at.path, 'a.txt', 'b')), { code: 'FILE_NOT_FOUND' });
  await assert.rejects(targetDirectory(join(at.path, 'missing')), { code: 'FILE_NOT_FOUND' });
});
