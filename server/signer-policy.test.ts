import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { formatBundle } from '../core/bundle.ts';
import { type ErrorCode, isChainloopError } from '../core/errors.ts';
import { someClaims } from '../db/fixtures.ts';
import { createIdentity } from '../db/identities.ts';
import { forEachDatabase, newOrganization, openDatabase } from '../test/databases.ts';
import { type Authority, acme, certifiedBundle, createFakeAuthority, github, minutes, noon } from '../test/fakes/authority.ts';
import { createAuthority } from './ca/authority.ts';
import { checkBundle, checkSignature } from './referee.ts';
import { createSecrets } from './sealing.ts';
import { signerPolicy } from './signer-policy.ts';
import { createTrustRoots } from './trust-roots.ts';

const payload = new Uint8Array(Buffer.from('{"_type":"https://in-toto.io/Statement/v1"}'));
const own = { identitySan: acme, identityIssuer: github, claims: null };

forEachDatabase('a retired authority is believed of what it signed in its time, and of nothing since', async (_, database) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-ca-'));
  const { scope } = await newOrganization(database);
  const secrets = createSecrets(randomBytes(32));
  const [first, second] = [createFakeAuthority('first'), createFakeAuthority('second')];
  /** A server that uses these keys, and notes them as a new generation when it comes up. */
  const server = async (name: string, { files }: Authority, now: Date) => {
    const caDir = join(folder.path, name);
    await mkdir(caDir);
    for (const [file, content] of Object.entries(files())) await writeFile(join(caDir, file), content, { mode: 0o600 });
    const authority = createAuthority({ database, secrets, now: () => now, origin: () => 'https://chainloop.example', caDir });
    await authority.check();
    return { authority, trustRoots: createTrustRoots() };
  };
  await server('first', first, noon);
  const deps = await server('second', second, minutes(60));

  const judge = async (by: Authority, at: Date, stamping = by.stamping): Promise<string> => {
    const bundle = checkBundle(formatBundle(certifiedBundle(by, payload, { signedAt: at, stamping }).bundle));
    return checkSignature(bundle, await signerPolicy(deps, scope, own, bundle)).signer.name;
  };
  const refuses = (verdict: Promise<string>, code: ErrorCode, words: RegExp) =>
    assert.rejects(verdict, (error) => {
      assert.ok(isChainloopError(error, code), String(error));
      assert.match(error.message, words);
      return true;
    });
  assert.equal(await judge(first, minutes(30)), acme);
  // Its last certificate, on a server whose clock is a little behind.
  assert.equal(await judge(first, minutes(74)), acme);
  await refuses(judge(first, minutes(76)), 'TIMESTAMP_INVALID', /not of an authority that the trusted root believes/);
  await refuses(judge(first, minutes(76), second.stamping), 'SIGNER_UNTRUSTED', /not of an authority that the trusted root believes/);
  await refuses(judge(second, minutes(76), first.stamping), 'TIMESTAMP_INVALID', /not of an authority that the trusted root believes/);
  assert.equal(await judge(second, minutes(76)), acme);
});

test('the policy names the run, then whom the organization trusts; a key is looked up among keys alone', async () => {
  await using database = await openDatabase('pglite');
  const { scope } = await newOrganization(database);
  const secrets = createSecrets(randomBytes(32));
  const authority = createAuthority({ database, secrets, now: () => noon, origin: () => 'https://chainloop.example' });
  const deps = { authority, trustRoots: createTrustRoots() };
  const { bundle } = certifiedBundle(createFakeAuthority(), payload);
  await createIdentity(scope, { name: 'ci', issuer: 'https://i', san: 'https://x/y/', match: 'prefix', trustedRoot: null });
  const policy = await signerPolicy(deps, scope, own, bundle);
  assert.ok(policy.type === 'any');
  const shown = policy.of.map((one) => (one.type === 'identity' ? [one.identity, one.issuer, one.strict] : one.type));
  assert.deepEqual(shown, [
    [{ exact: acme }, github, true],
    [{ prefix: 'https://x/y/' }, 'https://i', true],
  ]);
  const nobody = await signerPolicy(deps, scope, { identitySan: null, identityIssuer: null, claims: null }, bundle);
  assert.ok(nobody.type === 'any' && nobody.of.length === 1);
  const keys = await signerPolicy(deps, scope, own, { ...bundle, signer: { type: 'publicKey', hint: 'x' } });
  assert.deepEqual(keys, { type: 'keys', keys: [] });
});

test('a job of another repository that calls the same reusable workflow is not the job of this run', async () => {
  await using database = await openDatabase('pglite');
  const { scope } = await newOrganization(database);
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-ca-'));
  const fake = createFakeAuthority();
  for (const [file, content] of Object.entries(fake.files())) await writeFile(join(folder.path, file), content, { mode: 0o600 });
  const caDir = folder.path;
  const secrets = createSecrets(randomBytes(32));
  const authority = createAuthority({ database, secrets, now: () => noon, origin: () => 'https://chainloop.example', caDir });
  const deps = { authority, trustRoots: createTrustRoots() };
  const run = { ...own, claims: { ...someClaims, fulcio: { 12: 'https://github.com/acme/app' } } };
  const judge = async (sourceRepository?: string): Promise<string> => {
    const { bundle } = certifiedBundle(fake, payload, sourceRepository === undefined ? {} : { sourceRepository });
    return checkSignature(bundle, await signerPolicy(deps, scope, run, bundle)).signer.name;
  };
  assert.equal(await judge('https://github.com/acme/app'), acme);
  for (const other of ['https://github.com/mallory/app', 'https://github.com/acme/app2', undefined])
    await assert.rejects(judge(other), (error) => isChainloopError(error, 'SIGNER_UNTRUSTED') && /trusted here is/.test(error.message));
});
