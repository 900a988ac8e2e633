import assert from 'node:assert/strict';
import { test } from 'node:test';
import { certifiedBundle, createFakeAuthority, github, noon } from '../test/fakes/authority.ts';
import { formatBundle } from './bundle.ts';
import { isChainloopError } from './errors.ts';
import { loadTrustRoot } from './trust-root.ts';
import { type IdentityPolicy, verifyBundle } from './verify.ts';

const authority = createFakeAuthority();
const payload = new Uint8Array(Buffer.from('{"_type":"https://in-toto.io/Statement/v1"}'));
/** A reusable workflow: whoever calls it gets this identity. */
const san = 'https://github.com/acme/attest/.github/workflows/attest.yml@refs/tags/v1';
const own = 'https://github.com/acme/app';
const policy: IdentityPolicy = {
  type: 'identity',
  trustRoot: await loadTrustRoot(authority.trustRoot()),
  identity: { exact: san },
  issuer: github,
  sourceRepository: own,
};
const bundleOf = (sourceRepository?: string) =>
  formatBundle(certifiedBundle(authority, payload, { san, ...(sourceRepository !== undefined && { sourceRepository }) }).bundle);

test('the repository that was built is in the answer, whether it was asked for or not', () => {
  const signer = { type: 'certificate', name: san, issuer: github, sourceRepository: own, signedAt: noon } as const;
  assert.deepEqual(verifyBundle(bundleOf(own), policy).signer, signer);
  assert.deepEqual(verifyBundle(bundleOf(own), { ...policy, sourceRepository: undefined }).signer, signer);
});

for (const [attack, repository] of [
  ['a stranger calls the same reusable workflow', 'https://github.com/evil/app'],
  ['a repository whose name goes on', 'https://github.com/acme/app-evil'],
  ['a path beneath the repository', 'https://github.com/acme/app/evil'],
  ['the name in capitals', 'https://github.com/ACME/app'],
  ['no repository at all', undefined],
] as const) {
  test(`${attack}: refused`, () => {
    assert.throws(
      () => verifyBundle(bundleOf(repository), policy),
      (error) => isChainloopError(error, 'SIGNER_UNTRUSTED'),
    );
  });
}
