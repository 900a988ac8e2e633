import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { digestOf } from './digest.ts';
import { isChainloopError } from './errors.ts';
import { loadTrustRoot, type TrustRoot } from './trust-root.ts';
import { type Policy, verifyArtifacts, verifyBundle, verifyMessage } from './verify.ts';

// sigstore-conformance, test/assets/bundle-verify: every folder, as its name says. They are read where they lie beside the repository.
const vectors = new URL('../../shared/vectors/sigstore-conformance/', import.meta.url);
const folders = existsSync(vectors) ? readdirSync(vectors, { withFileTypes: true }).filter((entry) => entry.isDirectory()) : [];

const workflow =
  'https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main';
const github = 'https://token.actions.githubusercontent.com';

/** The root of the public instance, as @sigstore/tuf ships it. */
function publicGoodRoot(): string {
  const seeds: Record<string, { readonly targets: Record<string, string> }> = createRequire(import.meta.url)('@sigstore/tuf/seeds.json');
  const [mirror] = Object.values(seeds);
  return Buffer.from(mirror?.targets['trusted_root.json'] ?? '', 'base64').toString('utf8');
}

function fileOf(folder: string, name: string): Buffer | undefined {
  const url = new URL(`${folder}/${name}`, vectors);
  return existsSync(url) ? readFileSync(url) : undefined;
}

/** What a release gate would do with the folder. */
async function judge(folder: string): Promise<void> {
  const textOf = (name: string): string | undefined => fileOf(folder, name)?.toString('utf8').trim();
  const artifact = new Uint8Array(fileOf(folder, 'artifact') ?? readFileSync(new URL('a.txt', vectors)));
  const trustRoot: TrustRoot = await loadTrustRoot(textOf('trusted_root.json') ?? publicGoodRoot());
  const pem = textOf('key.pub');
  const policy: Policy =
    pem === undefined
      ? { type: 'identity', trustRoot, identity: { exact: textOf('identity') ?? workflow }, issuer: textOf('issuer') ?? github }
      : { type: 'keys', keys: [{ name: 'key.pub', pem }], trustRoot };
  const text = fileOf(folder, 'bundle.sigstore.json')?.toString('utf8') ?? '';
  if (text.includes('"messageSignature"')) {
    verifyMessage(text, artifact, policy);
    return;
  }
  const statement = JSON.parse(Buffer.from(verifyBundle(text, policy).payload).toString('utf8'));
  verifyArtifacts(statement, [{ name: 'artifact', digest: digestOf(artifact) }]);
}

describe('sigstore-conformance', () => {
  test('the vectors are there', (t) => {
    if (folders.length === 0) t.skip('NO VECTORS: put sigstore-conformance into ../shared/vectors to run these tests');
  });
  for (const { name } of folders) {
    test(name, async (t) => {
      if (!name.endsWith('_fail')) return judge(name);
      await assert.rejects(judge(name), (error) => {
        assert.ok(isChainloopError(error), String(error));
        t.diagnostic(`${error.code}: ${error.message}`);
        return true;
      });
    });
  }
});
