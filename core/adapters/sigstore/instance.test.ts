import assert from 'node:assert/strict';
import { mkdtempDisposable, readdir, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startTufRepository } from '../../../test/fakes/sigstore/tuf.ts';
import type { ErrorCode } from '../../errors.ts';
import { publicInstance, readInstance } from './instance.ts';

const files = { 'trusted_root.json': '{"root":1}', 'signing_config.v0.2.json': '{"config":1}' };
const newer = { 'trusted_root.json': '{"root":2}', 'signing_config.v0.2.json': '{"config":2}' };

/** A repository, and whoever trusts its first root, with a folder of its own. */
async function startScene() {
  await using stack = new AsyncDisposableStack();
  const repository = stack.use(await startTufRepository());
  const folder = stack.use(await mkdtempDisposable(join(tmpdir(), 'chainloop-tuf-'))).path;
  const rootPath = join(folder, 'first-root.json');
  await writeFile(rootPath, repository.root);
  const ask = () => publicInstance(folder, { mirrorUrl: repository.url, rootPath, retries: 0 });
  const resources = stack.move();
  return {
    repository,
    folder,
    ask,
    async refused(code: ErrorCode, says: RegExp) {
      await assert.rejects(ask(), { code, message: says });
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

test('the trusted root and the services are what the repository says now', async () => {
  await using scene = await startScene();
  scene.repository.publish(files);
  assert.deepEqual(await scene.ask(), { trustRoot: '{"root":1}', signingConfig: '{"config":1}' });
  scene.repository.publish(newer);
  assert.deepEqual(await scene.ask(), { trustRoot: '{"root":2}', signingConfig: '{"config":2}' });
});

test('while the repository is away, what was fetched is used for as long as it says; without that, it is an outage', async () => {
  await using scene = await startScene();
  scene.repository.publish(files, new Date(Date.now() + 3_600_000));
  scene.repository.setAway(true);
  await scene.refused('SIGNING_UNAVAILABLE', /TUF repository cannot be reached; try again later/);
  scene.repository.setAway(false);
  await scene.ask();
  scene.repository.setAway(true);
  assert.equal((await scene.ask()).trustRoot, '{"root":1}');
});

test('freeze: metadata that has expired is refused', async () => {
  await using scene = await startScene();
  scene.repository.publish(files, new Date(Date.now() - 3_600_000));
  await scene.refused('TRUST_ROOT_INVALID', /expired/i);
});

test('rollback: an older version than was seen before is refused', async () => {
  await using scene = await startScene();
  scene.repository.publish(files);
  scene.repository.publish(newer);
  await scene.ask();
  scene.repository.rollBack(1);
  await scene.refused('TRUST_ROOT_INVALID', /version/i);
});

test('metadata that the root did not sign is refused', async () => {
  await using scene = await startScene();
  scene.repository.steal();
  scene.repository.publish(files);
  await scene.refused('TRUST_ROOT_INVALID', /is refused/);
});

test('a repository without a signing config is refused, and named', async () => {
  await using scene = await startScene();
  scene.repository.publish({ 'trusted_root.json': '{}' });
  await scene.refused('TRUST_ROOT_INVALID', /signing_config\.v0\.2\.json not found/);
});

test('what is kept is for its owner alone', async () => {
  await using scene = await startScene();
  scene.repository.publish(files);
  await scene.ask();
  const kept = await readdir(join(scene.folder, 'sigstore-tuf'));
  assert.equal(kept.length, 1);
  assert.equal((await stat(join(scene.folder, 'sigstore-tuf'))).mode & 0o077, 0);
});

test('a Sigstore of one’s own is two files', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-sigstore-'));
  const paths = { trustedRoot: join(folder.path, 'root.json'), signingConfig: join(folder.path, 'services.json') };
  await writeFile(paths.trustedRoot, 'root');
  await assert.rejects(readInstance(paths), { code: 'FILE_NOT_FOUND', message: /services\.json/ });
  await writeFile(paths.signingConfig, 'services');
  assert.deepEqual(await readInstance(paths), { trustRoot: 'root', signingConfig: 'services' });
  await writeFile(paths.signingConfig, Buffer.alloc(1024 * 1024));
  await assert.rejects(readInstance(paths), { code: 'LIMIT_EXCEEDED' });
});
