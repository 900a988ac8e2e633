import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempDisposable, readdir, readFile, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isChainloopError } from '../core/errors.ts';
import { lockFolder } from './folder-lock.ts';

const newFolder = () => mkdtempDisposable(join(tmpdir(), 'chainloop-lock-'));
/** Takes the lock, says so, and stays. */
const holder = `import { lockFolder } from ${JSON.stringify(new URL('folder-lock.ts', import.meta.url).href)};
await lockFolder(process.argv[1]); console.log('locked'); setInterval(() => {}, 1000);`;

test('a folder that a living process holds is refused, with the process; after kill -9 it is taken over', async () => {
  await using folder = await newFolder();
  const child = spawn(process.execPath, ['--input-type=module', '-e', holder, folder.path], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  await assert.rejects(
    lockFolder(folder.path),
    (error) => isChainloopError(error, 'CONFLICT') && error.message.includes(`process ${child.pid}`),
  );
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
  const lock = await lockFolder(folder.path);
  await lock.release();
  assert.deepEqual(await readdir(folder.path), []);
});

test('of many that take over one dead lock, exactly one wins', async () => {
  for (let round = 0; round < 20; round += 1) {
    await using folder = await newFolder();
    // This very process id, but started at another time: the number was used again.
    await writeFile(join(folder.path, 'chainloop.lock'), JSON.stringify({ host: hostname(), pid: process.pid, startedAt: 'before' }));
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => lockFolder(folder.path)));
    assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
    assert.deepEqual(await readdir(folder.path), ['chainloop.lock']);
  }
});

test('whoever died while it took over a dead lock does not stop the next', async () => {
  await using folder = await newFolder();
  const lock = join(folder.path, 'chainloop.lock');
  const dead = JSON.stringify({ host: hostname(), pid: process.pid, startedAt: 'before' });
  const claimant = JSON.stringify({ host: hostname(), pid: process.pid, startedAt: 'a moment ago' });
  await writeFile(lock, dead);
  await writeFile(`${lock}.${createHash('sha256').update(dead).digest('hex').slice(0, 16)}`, claimant);
  const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => lockFolder(folder.path)));
  assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
  assert.deepEqual(await readdir(folder.path), ['chainloop.lock']);
});

test('a second lock in the same process is refused', async () => {
  await using folder = await newFolder();
  const lock = await lockFolder(folder.path);
  await assert.rejects(lockFolder(folder.path), (error) => isChainloopError(error, 'CONFLICT'));
  await lock.release();
  await (await lockFolder(folder.path)).release();
});

for (const [what, content] of [
  ['of another machine', JSON.stringify({ host: 'elsewhere', pid: 1, startedAt: 'x' })],
  ['that is not ours', 'hello'],
] as const) {
  test(`a lock ${what} is never taken over`, async () => {
    await using folder = await newFolder();
    const lock = join(folder.path, 'chainloop.lock');
    await writeFile(lock, content);
    await assert.rejects(lockFolder(folder.path), (error) => isChainloopError(error, 'CONFLICT') && error.message.includes(lock));
    assert.equal(await readFile(lock, 'utf8'), content);
  });
}
