import assert from 'node:assert/strict';
import { mkdtempDisposable, readdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { copyIn } from './evidence.ts';

for (const path of ['../escaped', 'a/../../escaped', 'a\n/../../escaped', '/escaped', 'a\\..\\escaped', '..', '']) {
  test(`a list of evidence cannot name a file outside of the backup: ${JSON.stringify(path)}`, async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-list-'));
    const list = join(folder.path, 'list');
    await writeFile(list, gzipSync(`${JSON.stringify({ path, sizeBytes: 0, sha256: '' })}\n`));
    const copied = copyIn(join(folder.path, 'from'), join(folder.path, 'to'), list, () => {});
    await assert.rejects(copied, { name: 'ZodError' });
    assert.deepEqual(await readdir(folder.path), ['list']);
  });
}
