import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isChainloopError } from '../../errors.ts';
import { dockerCredentials } from './docker-config.ts';

const basic = (text: string) => Buffer.from(text).toString('base64');

/** Credentials for `registry` with this configuration and these helper scripts (of /bin/sh) on the PATH. */
async function credentials(config: unknown, registry: string, helpers: Readonly<Record<string, string>> = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'chainloop-docker-'));
  try {
    await writeFile(join(folder, 'config.json'), typeof config === 'string' ? config : JSON.stringify(config));
    for (const [name, script] of Object.entries(helpers)) {
      const path = join(folder, `docker-credential-${name}`);
      await writeFile(path, `#!/bin/sh\n${script}\n`);
      await chmod(path, 0o755);
    }
    return await dockerCredentials(registry, { DOCKER_CONFIG: folder, PATH: `${folder}:/usr/bin:/bin` });
  } finally {
    await rm(folder, { recursive: true });
  }
}

const anonymous = { type: 'anonymous' };
const user = { type: 'basic', username: 'robot', password: 'pass:word' };
const auth = { auth: basic('robot:pass:word') };
const answer = 'read server; echo "{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"$1\\",\\"Secret\\":\\"$server\\"}"';

const rows: readonly { name: string; config: unknown; registry?: string; helpers?: Record<string, string>; expected: unknown }[] = [
  { name: 'no entry', config: {}, expected: anonymous },
  { name: 'an entry of another host', config: { auths: { 'ghcr.io.evil.example': auth } }, expected: anonymous },
  { name: 'an empty entry', config: { auths: { 'ghcr.io': {} } }, expected: anonymous },
  { name: 'auth', config: { auths: { 'ghcr.io': auth } }, expected: user },
  { name: 'auth under an old URL', config: { auths: { 'https://ghcr.io/v1/': auth } }, expected: user },
  { name: 'user name and password', config: { auths: { 'ghcr.io': { username: 'robot', password: 'pass:word' } } }, expected: user },
  { name: 'identity token', config: { auths: { 'ghcr.io': { ...auth, identitytoken: 't' } } }, expected: { type: 'identity', token: 't' } },
  { name: 'registry token', config: { auths: { 'ghcr.io': { registrytoken: 't' } } }, expected: { type: 'bearer', token: 't' } },
  { name: 'Docker Hub', config: { auths: { 'https://index.docker.io/v1/': auth } }, registry: 'docker.io', expected: user },
  { name: 'a host with a port', config: { auths: { 'localhost:5000': auth } }, registry: 'localhost:5000', expected: user },
  {
    name: 'a helper of this registry, before auths',
    config: { auths: { 'ghcr.io': auth }, credHelpers: { 'ghcr.io': 'one' } },
    helpers: { one: answer },
    expected: { type: 'basic', username: 'get', password: 'ghcr.io' },
  },
  {
    name: 'the store of all registries',
    config: { credsStore: 'all', credHelpers: { 'quay.io': 'one' } },
    registry: 'docker.io',
    helpers: { all: answer },
    expected: { type: 'basic', username: 'get', password: 'https://index.docker.io/v1/' },
  },
  {
    name: 'a helper that answers with a token',
    config: { credsStore: 'all' },
    helpers: { all: 'echo \'{"Username":"<token>","Secret":"t"}\'' },
    expected: { type: 'identity', token: 't' },
  },
  {
    name: 'a helper that knows nothing, then auths',
    config: { credsStore: 'all', auths: { 'ghcr.io': auth } },
    helpers: { all: 'echo credentials not found in native keychain; exit 1' },
    expected: user,
  },
];

test('credentials are found where docker login leaves them', async (t) => {
  for (const { name, config, registry, helpers, expected } of rows)
    await t.test(name, async () => assert.deepEqual(await credentials(config, registry ?? 'ghcr.io', helpers), expected));
});

const refusals: readonly { name: string; config: unknown; helpers?: Record<string, string>; says: RegExp }[] = [
  { name: 'no JSON', config: '{"auths": canary', says: /is not valid; repair it/ },
  { name: 'another shape', config: { auths: ['canary'] }, says: /is not valid; repair it/ },
  { name: 'an auth without a colon', config: { auths: { 'ghcr.io': { auth: basic('canary') } } }, says: /docker login ghcr\.io/ },
  { name: 'a helper that is not installed', config: { credsStore: 'absent' }, says: /docker-credential-absent cannot be run: install it/ },
  {
    name: 'a helper that fails',
    config: { credsStore: 'one' },
    helpers: { one: 'echo canary; exit 3' },
    says: /failed for ghcr\.io \(exit 3\)/,
  },
  {
    name: 'a helper that answers something else',
    config: { credsStore: 'one' },
    helpers: { one: 'echo canary' },
    says: /gave no credentials/,
  },
  { name: 'a helper with a path for a name', config: { credsStore: '../../tmp/canary' }, says: /letters, digits and dashes only/ },
  {
    name: 'a helper with a command for a name',
    config: { credHelpers: { 'ghcr.io': 'a;canary' } },
    says: /letters, digits and dashes only/,
  },
];

test('a configuration that cannot be used is USAGE, and nothing of it is shown', async (t) => {
  for (const { name, config, helpers, says } of refusals)
    await t.test(name, async () => {
      await assert.rejects(credentials(config, 'ghcr.io', helpers), (error) => {
        assert.ok(isChainloopError(error, 'USAGE'));
        assert.match(error.message, says);
        assert.ok(!error.message.includes('canary'), error.message);
        return true;
      });
    });
});

test('without a configuration everybody is anonymous', async () => {
  assert.deepEqual(await dockerCredentials('ghcr.io', { HOME: '/nonexistent' }), anonymous);
});
