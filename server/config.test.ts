import assert from 'node:assert/strict';
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isChainloopError } from '../core/errors.ts';
import { isLoopbackHost, parseConfig } from './config.ts';

test('without configuration the server listens on loopback and keeps its data in the home folder', () => {
  assert.deepEqual(parseConfig({}, { XDG_DATA_HOME: '/data' }), {
    host: '127.0.0.1',
    port: 8080,
    dataDir: '/data/chainloop',
    publicUrl: undefined,
    allowPrivateRegistries: false,
    registryTokenHosts: [],
    databaseUrl: undefined,
    masterKey: undefined,
    caDir: undefined,
    issuers: undefined,
    login: undefined,
    logLevel: 'info',
    tokenRate: 200,
    organizationRate: 1_000,
    maxConnections: 4_096,
    databaseConnections: 16,
  });
});

test('limits are whole numbers, from an option or the environment', () => {
  const env = { CHAINLOOP_TOKEN_RATE: '5', CHAINLOOP_ORGANIZATION_RATE: '0', CHAINLOOP_DATABASE_CONNECTIONS: '' };
  const { tokenRate, organizationRate, databaseConnections } = parseConfig({ tokenRate: '7' }, env);
  assert.deepEqual([tokenRate, organizationRate, databaseConnections], [7, 0, 16]);
  for (const wrong of ['-1', '1.5', 'many', '1e3', '1000000'])
    assert.throws(() => parseConfig({ tokenRate: wrong }, {}), { code: 'USAGE' });
  assert.throws(
    () => parseConfig({ maxConnections: '0' }, { CHAINLOOP_DATABASE_CONNECTIONS: '0' }),
    (error) => {
      assert.ok(isChainloopError(error, 'USAGE'));
      assert.deepEqual(
        error.problems.map(({ path }) => path),
        ['--max-connections', '--database-connections'],
      );
      return true;
    },
  );
});

test('every problem is reported at once, and none repeats a secret', () => {
  const listen = 'nowhere';
  assert.throws(
    () =>
      parseConfig(
        { listen, publicUrl: 'https://user:CANARY@x/', logLevel: 'loud' },
        { DATABASE_URL: 'mysql://u:CANARY@h/d', CHAINLOOP_MASTER_KEY: 'CANARY' },
      ),
    (error) => {
      assert.ok(isChainloopError(error, 'USAGE'));
      assert.deepEqual(
        error.problems.map((problem) => problem.path),
        ['--listen', '--public-url', '--log-level', 'DATABASE_URL', 'CHAINLOOP_MASTER_KEY'],
      );
      assert.ok(!error.message.includes('CANARY'));
      return true;
    },
  );
});

test('every setting has a variable: options come before it, empty is unset, and secrets may be in files', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-config-'));
  const [url, key] = [join(folder.path, 'url'), join(folder.path, 'key')];
  await writeFile(url, 'postgresql://u:p@h/d\n');
  await writeFile(key, `${'ab'.repeat(32)}\n`);
  const env = {
    CHAINLOOP_LISTEN: '0.0.0.0:8080',
    CHAINLOOP_DATA_DIR: '/data',
    CHAINLOOP_PUBLIC_URL: 'https://chainloop.example.com',
    CHAINLOOP_ALLOW_PRIVATE_REGISTRIES: 'true',
    CHAINLOOP_ISSUERS: '/etc/issuers.json',
    CHAINLOOP_CA_DIR: '/etc/ca',
    CHAINLOOP_LOG_LEVEL: 'warn',
    CHAINLOOP_TOKEN_RATE: '5',
    CHAINLOOP_ORGANIZATION_RATE: '50',
    CHAINLOOP_MAX_CONNECTIONS: '100',
    CHAINLOOP_DATABASE_CONNECTIONS: '4',
    CHAINLOOP_REGISTRY_TOKEN_HOSTS: 'auth.example.com',
    DATABASE_URL: '',
    DATABASE_URL_FILE: url,
    CHAINLOOP_MASTER_KEY_FILE: key,
  };
  const expected = {
    host: '0.0.0.0',
    port: 8080,
    dataDir: '/data',
    publicUrl: 'https://chainloop.example.com',
    allowPrivateRegistries: true,
    registryTokenHosts: ['auth.example.com'],
    databaseUrl: 'postgresql://u:p@h/d',
    masterKey: 'ab'.repeat(32),
    caDir: '/etc/ca',
    issuers: '/etc/issuers.json',
    login: undefined,
    logLevel: 'warn',
    tokenRate: 5,
    organizationRate: 50,
    maxConnections: 100,
    databaseConnections: 4,
  };
  assert.deepEqual(parseConfig({}, env), expected);
  assert.deepEqual(parseConfig({ listen: '[::1]:1', logLevel: 'debug' }, env), { ...expected, host: '::1', port: 1, logLevel: 'debug' });
  assert.throws(() => parseConfig({}, { ...env, CHAINLOOP_ALLOW_PRIVATE_REGISTRIES: 'yes', DATABASE_URL_FILE: '/nowhere' }), {
    code: 'USAGE',
    message: /CHAINLOOP_ALLOW_PRIVATE_REGISTRIES must be 1 or 0, not 'yes'; DATABASE_URL_FILE names \/nowhere, which cannot be read/,
  });
});

test('addresses: IPv6 in brackets, port 0, and nothing else', () => {
  assert.equal(parseConfig({ listen: '[::1]:0' }, {}).host, '::1');
  assert.equal(parseConfig({ listen: '0.0.0.0:80' }, {}).port, 80);
  for (const listen of ['8080', ':8080', '::1:8080', 'host:99999', 'host:', 'a b:1'])
    assert.throws(() => parseConfig({ listen }, {}), { code: 'USAGE' });
  assert.deepEqual(['127.0.0.1', '127.9.9.9', '::1', 'localhost', '0.0.0.0', '10.0.0.1', '127.example.com'].map(isLoopbackHost), [
    true,
    true,
    true,
    true,
    false,
    false,
    false,
  ]);
});
