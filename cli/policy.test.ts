import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { generateKeyPair } from '../core/adapters/keys.ts';
import { isChainloopError } from '../core/errors.ts';
import { trustRootMediaType } from '../core/trust-root.ts';
import { type PolicyOptions, readPolicy } from './policy.ts';

const nothing: PolicyOptions = {
  key: [],
  ...{ trustRoot: undefined, identity: undefined, identityPrefix: undefined, identityIssuer: undefined, sourceRepository: undefined },
};
const folder = await mkdtemp(join(tmpdir(), 'chainloop-policy-'));
after(() => rm(folder, { recursive: true }));
const path = (name: string): string => join(folder, name);
await writeFile(path('root.json'), JSON.stringify({ mediaType: trustRootMediaType }));
await writeFile(path('binary.json'), Uint8Array.of(0xff, 0xfe));
await writeFile(path('release.pub'), (await generateKeyPair()).publicKeyPem);
const identity = 'https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main';

test('without any option there is no policy, and no default', async () => {
  assert.equal(await readPolicy(nothing), undefined);
});

test('public keys are called by the names of their files', async () => {
  const policy = await readPolicy({ ...nothing, key: [path('release.pub')] });
  assert.deepEqual(policy?.type === 'keys' && policy.keys.map(({ name }) => name), ['release.pub']);
});

for (const [what, options, match] of [
  ['an identity is compared exactly', { identity }, { exact: identity }],
  ['a prefix is what was given', { identityPrefix: 'https://github.com/acme/' }, { prefix: 'https://github.com/acme/' }],
] as const) {
  test(`${what}, with its issuer`, async () => {
    const policy = await readPolicy({ ...nothing, trustRoot: path('root.json'), identityIssuer: 'https://ci.example.com', ...options });
    assert.deepEqual(policy?.type === 'identity' && [policy.identity, policy.issuer], [match, 'https://ci.example.com']);
  });
}

const trustRoot = path('root.json');
for (const [what, options, code, message] of [
  ['a trusted root alone would believe everybody whom it certifies', { trustRoot }, 'USAGE', /--identity-prefix/],
  ['an identity without authorities', { identity }, 'USAGE', /trust-root export --output/],
  ['a prefix without authorities', { identityPrefix: 'https://github.com/acme/' }, 'USAGE', /trust-root export --output/],
  ['an issuer without an identity', { trustRoot, identityIssuer: 'https://ci.example.com' }, 'USAGE', /--identity <id>/],
  ['a repository without an identity', { trustRoot, sourceRepository: 'https://github.com/acme/app' }, 'USAGE', /--identity <id>/],
  ['an identity that is exact and a prefix', { trustRoot, identity, identityPrefix: identity }, 'USAGE', /one of them/],
  ['keys together with an identity', { key: [path('release.pub')], trustRoot, identity }, 'USAGE', /one or the other/],
  ['keys together with an issuer alone', { key: [path('release.pub')], identityIssuer: 'https://ci.example.com' }, 'USAGE', /--key/],
  ['a prefix of a host', { trustRoot, identityPrefix: 'https://github.com' }, 'USAGE', /host and path/],
  ['a pattern', { trustRoot, identityPrefix: '.*' }, 'USAGE', /host and path/],
  ['a trusted root that is not there', { trustRoot: path('missing.json'), identity }, 'FILE_NOT_FOUND', /missing\.json/],
  ['a trusted root that is not text', { trustRoot: path('binary.json'), identity }, 'TRUST_ROOT_INVALID', /UTF-8/],
  ['a trusted root that is a key', { trustRoot: path('release.pub'), identity }, 'TRUST_ROOT_INVALID', /trusted root/],
  ['a key that is a trusted root', { key: [trustRoot] }, 'KEY_INVALID', /PEM/],
] as const) {
  test(`refused: ${what}`, async () => {
    await assert.rejects(readPolicy({ ...nothing, ...options }), (error) => isChainloopError(error, code) && message.test(error.message));
  });
}
