import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempDisposable, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from '../db/client.ts';
import { migratedSnapshot } from '../test/databases.ts';
import { createSecrets } from './sealing.ts';
import { masterKeyProblem, openInstanceSecrets, openSecrets } from './secrets.ts';

test('a sealed secret opens in its own context and in no other', () => {
  const secrets = createSecrets(randomBytes(32));
  const sealed = secrets.seal('hunter2 ü', 'org/backend');
  assert.ok(!sealed.includes('hunter2'));
  assert.equal(secrets.open(sealed, 'org/backend'), 'hunter2 ü');
  assert.throws(() => secrets.open(sealed, 'other/backend'), { code: 'STORAGE_UNAVAILABLE' });
  assert.notEqual(secrets.seal('hunter2 ü', 'org/backend'), sealed);
});

test('a sealed secret with any character changed does not open', () => {
  const secrets = createSecrets(randomBytes(32));
  const sealed = secrets.seal('hunter2', 'c');
  for (let i = 0; i < sealed.length - 1; i++) {
    const changed = sealed.slice(0, i) + (sealed[i] === 'A' ? 'Q' : 'A') + sealed.slice(i + 1);
    assert.throws(() => secrets.open(changed, 'c'), { code: 'STORAGE_UNAVAILABLE' }, `at ${i}`);
  }
  for (const text of ['', 'v1', 'v1.x.y.z', sealed.slice(0, 30)])
    assert.throws(() => secrets.open(text, 'c'), { code: 'STORAGE_UNAVAILABLE' });
});

test('another master key is told by its id', () => {
  const sealed = createSecrets(randomBytes(32)).seal('hunter2', 'c');
  assert.throws(() => createSecrets(randomBytes(32)).open(sealed, 'c'), /master key [0-9a-f]{8}, and this server has [0-9a-f]{8}/);
});

test('the key file is made once, readable by its owner only, also when several start at once', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-'));
  const all = await Promise.all(Array.from({ length: 8 }, () => openSecrets({ dataDir: folder.path })));
  const sealed = all[0]?.seal('x', 'c') ?? '';
  for (const secrets of all) assert.equal(secrets.open(sealed, 'c'), 'x');
  assert.equal((await stat(join(folder.path, 'master-key'))).mode & 0o777, 0o600);
});

test('a key from the environment wins over the file, and a wrong one is refused', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-'));
  const masterKey = randomBytes(32).toString('base64');
  const secrets = await openSecrets({ dataDir: folder.path, masterKey });
  assert.equal(createSecrets(Buffer.from(masterKey, 'base64')).open(secrets.seal('x', 'c'), 'c'), 'x');
  await assert.rejects(readFile(join(folder.path, 'master-key')));
  assert.equal(masterKeyProblem('short')?.path, 'CHAINLOOP_MASTER_KEY');
  assert.equal(masterKeyProblem(randomBytes(32).toString('hex')), undefined);
  await writeFile(join(folder.path, 'master-key'), 'damaged');
  await assert.rejects(openSecrets({ dataDir: folder.path }), { code: 'USAGE' });
});

test('a server with another master key than that of the instance, or with none, is refused, and makes none', async () => {
  await using parent = await mkdtempDisposable(join(tmpdir(), 'chainloop-'));
  await using database = await connect({ memory: await migratedSnapshot() });
  const [first, second] = [join(parent.path, 'first'), join(parent.path, 'second')];
  await openInstanceSecrets({ dataDir: first }, database.system);
  const masterKey = await readFile(join(first, 'master-key'), 'utf8');
  const none = { code: 'USAGE', message: /has one already, and .*second\/master-key does not exist; set CHAINLOOP_MASTER_KEY/ };
  await assert.rejects(openInstanceSecrets({ dataDir: second }, database.system), none);
  await assert.rejects(readFile(join(second, 'master-key')));
  const another = { dataDir: second, masterKey: randomBytes(32).toString('base64') };
  await assert.rejects(openInstanceSecrets(another, database.system), { code: 'USAGE', message: /CHAINLOOP_MASTER_KEY is not that/ });
  await openInstanceSecrets({ dataDir: second, masterKey }, database.system);
  await openInstanceSecrets({ dataDir: first }, database.system);

  await rm(join(first, 'master-key'));
  await assert.rejects(openInstanceSecrets({ dataDir: first }, database.system), { code: 'USAGE' });
});
