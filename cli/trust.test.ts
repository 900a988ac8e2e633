import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createControlPlane } from '../client/control-plane.ts';
import { commandLine } from '../test/fakes/command-line.ts';
import { startFederatedPlane } from '../test/fakes/federated.ts';
import { refused, succeeded } from '../test/fakes/workplace.ts';

// Whom is trusted, from the command line: bindings, identities, the trusted root, keyless signatures, verification offline.

const contract = `schemaVersion: v1
materials:
  - { type: STRING, name: commit }
  - { type: ARTIFACT, name: binary, output: true }
`;

const federated = await startFederatedPlane();
const { plane, api, github } = federated;
const { token } = await api.apiToken.create.mutate({ name: 'operator' });
const account = await api.serviceAccount.create.mutate({ workflow: 'release', project: 'bedrock', name: 'ci' });
const cli = await commandLine({ CHAINLOOP_URL: plane.url });
const operator = (...args: readonly string[]) => cli.run(args, { env: { CHAINLOOP_TOKEN: token } });
const job = (...args: readonly string[]) => cli.run(args, { env: { CHAINLOOP_TOKEN: account.token } });
/** Whoever verifies: no token, and no control plane. */
const nobody = (...args: readonly string[]) => cli.run(args, { env: { CHAINLOOP_URL: 'http://127.0.0.1:9' } });
const san = `${plane.url}/organizations/acme/projects/bedrock/workflows/release/service-accounts/ci`;
after(async () => {
  await cli[Symbol.asyncDispose]();
  await federated[Symbol.asyncDispose]();
});

async function craft(): Promise<void> {
  succeeded(await job('attestation', 'init', '--replace'));
  succeeded(await job('attestation', 'add', '--name', 'commit', '--value', 'deadbeef'));
  succeeded(await job('attestation', 'add', '--name', 'binary', '--value', 'server.tar'));
}

before(async () => {
  await writeFile(join(cli.folder, 'server.tar'), 'the server');
  await writeFile(join(cli.folder, 'other.tar'), 'another');
  await api.contract.update.mutate({ name: 'release', format: 'yaml', body: contract });
});

test('the trusted root is exported to a file or to standard output, by anybody', async () => {
  const env = { env: { CHAINLOOP_TOKEN: '' } };
  const written = await cli.run(['trust-root', 'export', '--output', 'root.json'], env);
  assert.deepEqual({ code: written.code, stdout: written.stdout }, { code: 0, stdout: '' }, written.stderr);
  const root: { mediaType: string } = JSON.parse(await readFile(join(cli.folder, 'root.json'), 'utf8'));
  assert.equal(root.mediaType, 'application/vnd.dev.sigstore.trustedroot+json;version=0.1');
  assert.deepEqual(JSON.parse(succeeded(await cli.run(['trust-root', 'export'], env))), root);
  refused(await cli.run(['trust-root', 'export', '--output', 'json'], env), 2, /--output is the file/);
  refused(await cli.run(['trust-root', 'export', '--output', 'missing/root.json'], env), 2, /missing/);
});

/** Of the first push; the tests after it look at it again. */
let runId = '';

test('a job is told the identity that it signs as; a person has none', async () => {
  assert.match(succeeded(await job('auth', 'whoami')), new RegExp(`│ Identity +│ ${san} +│\\n│ Vouched By +│ ${plane.url} +│`));
  assert.doesNotMatch(succeeded(await operator('auth', 'whoami')), /Identity/);
});

test('a job without a key signs keyless, and its attestation verifies with files alone', async () => {
  await craft();
  const push = await job('attestation', 'push', '--bundle', 'b.json', '--output', 'json');
  const pushed: { runId: string; state: string } = JSON.parse(succeeded(push));
  assert.equal(pushed.state, 'success');
  assert.match(push.stderr, new RegExp(`^INF Signing keyless as ${san}$`, 'm'));
  runId = pushed.runId;

  const verify = ['attestation', 'verify', '--bundle', 'b.json', '--trust-root', 'root.json'];
  const verified = await nobody(...verify, '--identity', san, '--identity-issuer', plane.url, 'server.tar');
  assert.match(succeeded(verified), new RegExp(`│ Signer +│ ${san} +│\\n│ Issuer +│ ${plane.url} +│\\n│ Signed At +│`));
  assert.match(verified.stderr, new RegExp(`^INF Verified! signed by ${san}$`, 'm'));
  const json: { verified: boolean; signer: object; subjects: { name: string; digest: object }[]; artifacts: unknown[] } = JSON.parse(
    succeeded(await nobody(...verify, '--identity-prefix', `${plane.url}/organizations/acme/`, 'server.tar', '--output', 'json')),
  );
  assert.equal(json.verified, true);
  assert.deepEqual(Object.keys(json.signer), ['type', 'name', 'issuer', 'signedAt']);
  assert.equal(json.artifacts.length, 1);
  const subjects = json.subjects.map(({ name, digest }) => [name, Object.keys(digest)]);
  assert.deepEqual(subjects, [['server.tar', ['sha256']]]);
});

test('another identity, issuer, artifact, authority or byte is refused', async () => {
  const verify = ['attestation', 'verify', '--bundle', 'b.json', '--trust-root', 'root.json'];
  refused(await nobody(...verify, '--identity', `${san}2`), 1, /trusted here is/);
  refused(await nobody(...verify, '--identity-prefix', san.slice(0, -1)), 1, /trusted here is/);
  refused(await nobody(...verify, '--identity', san, '--identity-issuer', 'https://ci.example.com'), 1, /vouches/);
  refused(await nobody(...verify, '--identity', san, 'other.tar'), 1, /other\.tar/);
  const root = JSON.parse(await readFile(join(cli.folder, 'root.json'), 'utf8'));
  await writeFile(join(cli.folder, 'empty.json'), JSON.stringify({ ...root, certificateAuthorities: [] }));
  const foreign = ['attestation', 'verify', '--bundle', 'b.json', '--trust-root', 'empty.json', '--identity', san];
  assert.equal((await nobody(...foreign)).code, 1);
  const text = await readFile(join(cli.folder, 'b.json'), 'utf8');
  await writeFile(
    join(cli.folder, 'altered.json'),
    text.replace(/"sig":"(.)/, (_, first: string) => `"sig":"${first === 'M' ? 'N' : 'M'}`),
  );
  assert.equal((await nobody(...verify.with(3, 'altered.json'), '--identity', san)).code, 1);
});

test('whoever does not say whom to trust is told how', async () => {
  refused(await nobody('attestation', 'verify', '--bundle', 'b.json'), 2, /--trust-root <path> with --identity <id>.*--key/);
  refused(await nobody('attestation', 'verify', '--bundle', 'b.json', '--trust-root', 'root.json', '--identity', ''), 2, /--identity/);
  const described = await operator('workflow', 'run', 'describe', '--id', runId, '--identity', san);
  refused(described, 2, /--trust-root <path> is missing/);
});

test('a run shows whether it verifies, who signed, and that its runner is self-reported', async () => {
  const describe = ['workflow', 'run', 'describe', '--id', runId];
  const table = succeeded(await operator(...describe));
  assert.match(table, new RegExp(`│ Verified +│ true +│\\n│ Verified By +│ the control plane +│\\n│ Signer +│ ${san} +│`));
  const json: Record<string, unknown> = JSON.parse(succeeded(await operator(...describe, '--output', 'json')));
  const { verified, signer, verificationError, runnerAuthenticated } = json;
  assert.deepEqual(
    { verified, signer, verificationError, runnerAuthenticated },
    { verified: true, signer: san, verificationError: null, runnerAuthenticated: false },
  );
  const own = await operator(...describe, '--trust-root', 'root.json', '--identity', san);
  assert.match(succeeded(own), /│ Verified By +│ this program, with the trusted root given +│/);
  const other = await operator(...describe, '--trust-root', 'root.json', '--identity', `${san}2`);
  assert.deepEqual({ code: other.code, stdout: other.stdout }, { code: 1, stdout: '' });
  assert.match(other.stderr, /│ Verified +│ false +│\n│ Verified By +│ this program +│\n│ Reason +│ bundle: .*trusted here is/);
});

test('a person signs with a key: only jobs are certified', async () => {
  succeeded(await operator('key', 'generate', '--output-key-prefix', 'release'));
  succeeded(await operator('key', 'trust', '--name', 'release', '-f', 'release.pub'));
  succeeded(await operator('attestation', 'init', '--workflow', 'release', '--project', 'bedrock'));
  succeeded(await operator('attestation', 'add', '--name', 'commit', '--value', 'deadbeef'));
  succeeded(await operator('attestation', 'add', '--name', 'binary', '--value', 'server.tar'));
  refused(await operator('attestation', 'push'), 5, /keyless.*--key/);
  refused(await operator('attestation', 'push', '--signing', 'key'), 2, /--key or CHAINLOOP_SIGNING_KEY/);
  refused(await operator('attestation', 'push', '--signing', 'keyless', '--key', 'release.key'), 2, /exclude each other/);
  succeeded(await operator('attestation', 'push', '--key', 'release.key'));
});

test('with --signing keyless a key in the environment is left alone', async () => {
  await craft();
  const env = { CHAINLOOP_TOKEN: account.token, CHAINLOOP_SIGNING_KEY: join(cli.folder, 'missing.key') };
  assert.equal((await cli.run(['attestation', 'push'], { env })).code, 2);
  const ended = await cli.run(['attestation', 'push', '--signing', 'keyless'], { env });
  succeeded(ended);
  assert.match(ended.stderr, /^INF Signing keyless as /m);
});

test('new authorities are for the owner of the instance; what the old ones signed keeps verifying', async () => {
  refused(await operator('trust-root', 'rotate'), 5, /owner token/);
  const env = { CHAINLOOP_TOKEN: plane.ownerToken };
  const made: { generation: number } = JSON.parse(succeeded(await cli.run(['trust-root', 'rotate', '--output', 'json'], { env })));
  assert.equal(made.generation, 2);
  await craft();
  succeeded(await job('attestation', 'push', '--bundle', 'b2.json'));
  succeeded(await cli.run(['trust-root', 'export', '--output', 'root2.json']));
  const verify = (bundle: string, root: string) =>
    nobody('attestation', 'verify', '--bundle', bundle, '--trust-root', root, '--identity', san, 'server.tar');
  succeeded(await verify('b.json', 'root2.json'));
  succeeded(await verify('b2.json', 'root2.json'));
  // The old trusted root does not know the new authorities.
  refused(
    await verify('b2.json', 'root.json'),
    1,
    /^ERR b2\.json: .*rotated since it was exported, export it again: chainloop trust-root export/,
  );
});

test('a binding is refused with every problem, its line and column', async () => {
  await writeFile(
    join(cli.folder, 'bad.yaml'),
    `workflow: bedrock/release\nissuer: https://evil.example.com\nrepository: acme\nrefs: [main]\nbranch: main\n`,
  );
  const ended = await operator('binding', 'create', '-f', 'bad.yaml');
  assert.equal(ended.code, 2);
  for (const place of ['2:9', '3:13', '4:8', '5:1']) assert.match(ended.stderr, new RegExp(`^ {4}bad\\.yaml:${place}: `, 'm'));
  refused(await operator('binding', 'create', '-f', 'missing.yaml'), 2, /missing\.yaml/);
});

test('a binding is pending until a job comes, is listed and described with its deadline, and removed', async () => {
  const body = `workflow: bedrock/release\nissuer: ${github.issuer}\nrepository: acme/app\nrefs: [refs/heads/main, refs/tags/v*]\n`;
  await writeFile(join(cli.folder, 'binding.yaml'), body);
  const created = await operator('binding', 'create', '-f', 'binding.yaml', '--output', 'json');
  const { id, state }: { id: string; state: string } = JSON.parse(succeeded(created));
  assert.equal(state, 'pending');
  assert.match(created.stderr, /^WRN pending: the first job of acme\/app /m);

  const row = succeeded(await operator('binding', 'ls'));
  assert.match(row, new RegExp(`│ ${id} │ bedrock/release │ acme/app +│ pending until \\d\\d \\w{3} \\d\\d \\d\\d:\\d\\d UTC │`));
  const describe = ['binding', 'describe', '--id', id];
  const table = succeeded(await operator(...describe));
  assert.match(table, /│ State +│ pending until .* +│/);
  assert.match(table, /│ Refs +│ refs\/heads\/main refs\/tags\/v\* +│/);

  const { token: runCredential } = await federated.exchange(await github.github());
  assert.match(succeeded(await operator(...describe)), /│ State +│ active +│[\s\S]*│ Repository ID +│ 456789 +│\n│ Owner ID +│ 123456 +│/);

  const controlPlane = createControlPlane({ url: plane.url, token: runCredential });
  const { runId: federatedRun } = await controlPlane.init({ runner: { authenticated: false }, idempotencyKey: randomUUID() });
  const shown = succeeded(await operator('workflow', 'run', 'describe', '--id', federatedRun));
  assert.match(shown, /│ Runner Type +│ Github action \(verified\) +│/);
  assert.match(shown, /│ Verified Claims +│ +│[\s\S]*│ Repository +│ acme\/app +│[\s\S]*│ Actor +│ alice +│\n│ Event +│ push +│/);
  const runs = succeeded(await operator('workflow', 'run', 'ls', '--limit', '1'));
  assert.match(runs, /https:\/\/github\.com\/acme\/app\/actions\/runs\/\d+\/attempts\/1 \(verified\)/);

  succeeded(await operator('binding', 'rm', '--id', id));
  assert.equal((await operator(...describe)).code, 1);
  const left: { items: unknown[] } = JSON.parse(succeeded(await operator('binding', 'ls', '--output', 'json')));
  assert.deepEqual(left.items, []);
});

test('an identity is trusted, exactly or by a prefix, under our authorities or others, until it is removed', async () => {
  const issuer = ['--issuer', 'https://ci.example.com'];
  refused(await operator('identity', 'trust', '--name', 'a', ...issuer), 2, /either --san <uri>/);
  refused(await operator('identity', 'trust', '--name', 'a', ...issuer, '--san', 'https://x/', '--san-prefix', 'https://x/'), 2, /either/);
  refused(await operator('identity', 'trust', '--name', 'a', ...issuer, '--san-prefix', 'https://github.com'), 2, /host and path/);
  refused(await operator('identity', 'trust', '--name', 'a', ...issuer, '--san', 'https://x/', '--ca', 'release.pub'), 2, /trusted root/);
  succeeded(await operator('identity', 'trust', '--name', 'exactly', ...issuer, '--san', 'https://x.example.com/job'));
  const byPrefix = ['--san-prefix', 'https://github.com/acme/', '--ca', 'root.json', '--output', 'json'];
  const trusted: { match: string; authority: string } = JSON.parse(
    succeeded(await operator('identity', 'trust', '--name', 'prefix', ...issuer, ...byPrefix)),
  );
  assert.deepEqual([trusted.match, trusted.authority], ['prefix', 'own']);
  const list = succeeded(await operator('identity', 'ls'));
  assert.match(list, /│ exactly │ https:\/\/x\.example\.com\/job +│ https:\/\/ci\.example\.com │ built-in +│/);
  assert.match(list, /│ prefix +│ begins with https:\/\/github\.com\/acme\/ │ https:\/\/ci\.example\.com │ own +│/);
  assert.equal((await operator('identity', 'trust', '--name', 'prefix', ...issuer, '--san', 'https://x/')).code, 6);
  succeeded(await operator('identity', 'rm', '--name', 'prefix'));
  const left: { items: unknown[] } = JSON.parse(succeeded(await operator('identity', 'ls', '--output', 'json')));
  assert.equal(left.items.length, 1);
  assert.equal((await operator('identity', 'rm', '--name', 'prefix')).code, 1);
});

test('a trusted root that cannot be used is named by its file', async () => {
  await writeFile(join(cli.folder, 'broken.json'), '{"mediaType":"x"}');
  const given = ['--trust-root', 'broken.json', '--identity', san];
  refused(await nobody('attestation', 'verify', '--bundle', 'b.json', ...given), 2, /broken\.json: trusted root/);
  const ca = ['--issuer', plane.url, '--san', san, '--ca', 'broken.json'];
  refused(await operator('identity', 'trust', '--name', 'broken', ...ca), 2, /broken\.json: trusted root/);
});

test('a job is told how the contract wants it signed before it pushes, and no certificate is asked for', async () => {
  await api.contract.update.mutate({ name: 'release', format: 'yaml', body: `${contract}signing: [key]\n` });
  await craft();
  const status = await job('attestation', 'status');
  assert.match(succeeded(status), /│ Signing +│ key +│/);
  assert.match(status.stderr, /attestation push --key FILE/);
  const push = await job('attestation', 'push');
  refused(push, 3, /the contract accepts only: key; .*--key FILE/);
  assert.doesNotMatch(push.stderr, /Signing keyless as/);
  await api.contract.update.mutate({ name: 'release', format: 'yaml', body: contract });
});
