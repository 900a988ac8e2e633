import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';

const program = join(import.meta.dirname, '..', 'bin', 'chainloop.js');

/** A Node that is too old to run the sources, where the machine has one. */
function oldNode(t: TestContext): string | undefined {
  for (const path of ['/usr/bin/node', '/usr/local/bin/node']) {
    const { stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' });
    if (/^v(18|20|22)\./.test(stdout ?? '')) return path;
  }
  t.skip('this machine has no Node older than 24');
  return undefined;
}

test('under an older Node, a command ends as the newer one ended it', async (t) => {
  const node = oldNode(t);
  if (node === undefined) return;
  const answer = spawnSync(node, [program, 'nonsense'], { encoding: 'utf8' });
  assert.equal(answer.status, 2);
  assert.match(answer.stderr, /^ERR /m);
});

for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
  test(`a server that was started under an older Node ends with it (${signal})`, async (t) => {
    const node = oldNode(t);
    if (node === undefined) return;
    await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-launcher-'));
    const args = [program, 'server', '--listen', '127.0.0.1:0', '--data-dir', join(folder.path, 'data')];
    const child = spawn(node, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    const lines = createInterface({ input: child.stderr });
    let log = '';
    lines.on('line', (line) => {
      log += line;
      if (line.includes('control plane is ready')) child.kill(signal);
    });
    // The child holds the other end of stderr: it is closed when both are gone.
    await once(lines, 'close');
    assert.match(log, /control plane has stopped/);
  });
}
