import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { isChainloopError } from '../core/errors.ts';
import { connect } from './client.ts';
import { listOrganizations } from './organizations.ts';

/** Makes organizations one after the other and says which, until it is killed. */
const writer = `import { connect } from ${JSON.stringify(new URL('client.ts', import.meta.url).href)};
import { createOrganization } from ${JSON.stringify(new URL('organizations.ts', import.meta.url).href)};
const database = await connect({ dataDir: process.argv[1] });
for (let index = 0; ; index += 1) {
  await createOrganization(database.system, { name: 'org-' + index, backend: { name: 'default', provider: 'layout', location: 'x' } });
  console.log(index);
}`;

test('a data directory is held by one process, and survives its kill -9 with all that it acknowledged', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-pglite-'));
  const dataDir = join(folder.path, 'database');
  const child = spawn(process.execPath, ['--input-type=module', '-e', writer, dataDir], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  let last = -1;
  for await (const line of createInterface({ input: child.stdout })) {
    last = Number(line);
    if (last === 10) {
      await assert.rejects(connect({ dataDir }), (error) => isChainloopError(error, 'CONFLICT'));
      child.kill('SIGKILL');
    }
  }
  await exited;
  await using database = await connect({ dataDir });
  const { items } = await listOrganizations(database.system, { limit: 100 });
  const kept = new Set(items.map(({ name }) => name));
  assert.ok(last >= 10);
  for (let index = 0; index <= last; index += 1) assert.ok(kept.has(`org-${index}`), `org-${index}`);
});
