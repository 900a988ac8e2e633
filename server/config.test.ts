import assert from 'node:assert/strict';
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
    logLevel: 'info',
  });
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
