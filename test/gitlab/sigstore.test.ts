import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startSigstore } from '../fakes/sigstore/server.ts';
import { needs } from '../needs.ts';
import { build, componentVersion, project, startScene } from './scene.ts';

// `signing: sigstore` in a job of the component: Fulcio certifies what GitLab says of it in the id token that the component asks for.

const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());
const san = 'https://gitlab.com/acme/app//.gitlab-ci.yml@refs/heads/main';
const yaml = `stages: [build, test]
include:
  - component: $CI_SERVER_FQDN/chainloop/attest/attest@${componentVersion}
    inputs:
      workflow: release
      needs: [build]
      signing: sigstore
      sigstore-trusted-root: sigstore/root.json
      sigstore-signing-config: sigstore/services.json
      retry-timeout: 0s
      materials: |
        binary=dist/app
        sbom=dist/app.cdx.json
        commit=$CI_COMMIT_SHA
${build}`;

test('a job of GitLab signs with Sigstore by its own token, and the run is verified; without Sigstore nothing is attested', async (t) => {
  if (!needs(t, 'rsync')) return;
  const sigstore = resources.use(await startSigstore());
  const { api, gitlab, pipeline, runs, describe } = resources.use(await startScene());
  const identity = { name: 'sigstore', issuer: gitlab.issuer, identity: { exact: san }, trustRoot: sigstore.trustRoot() };
  await api.identity.trust.mutate(identity);
  const files = { ...project, 'sigstore/root.json': sigstore.trustRoot(), 'sigstore/services.json': sigstore.signingConfig() };

  const good = await pipeline(yaml, { files });
  assert.equal(good.jobs['chainloop-attest']?.exitCode, 0, good.output);
  assert.match(good.output, /go into the transparency log of 127\.0\.0\.1:\d+, for good/);
  assert.doesNotMatch(good.output, /eyJ[\w-]{8,}\.eyJ/, 'no token is in the log');
  const [run] = await runs();
  const { attestation } = await describe(run?.id ?? '');
  assert.deepEqual([run?.state, attestation?.verified, attestation?.signer], ['success', true, san]);
  assert.match(await good.file('chainloop-bundle.json'), /"tlogEntries":\[\{"logIndex"/);

  sigstore.fail('fulcio', async () => 'reset');
  const away = await pipeline(yaml, { files });
  assert.equal(away.jobs['chainloop-attest']?.exitCode, 75, away.output);
  assert.match(await away.file('chainloop-junit.xml'), /name="attestation"><error/);
  assert.notEqual((await runs())[0]?.state, 'success');
});
