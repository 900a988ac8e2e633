import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createApi } from '../client/api.ts';
import { commandLine } from './fakes/command-line.ts';
import { startFederatedPlane } from './fakes/federated.ts';

// The drill of docs/trust.md: its lines are read from there and run, with `ID` filled in. Then the thief tries.

const docs = readFileSync(new URL('../docs/trust.md', import.meta.url), 'utf8');
const drill = docs.slice(docs.indexOf('## When something is stolen'), docs.indexOf('## Each claim'));

const federated = await startFederatedPlane();
const { plane, api, github } = federated;
const cli = await commandLine({ CHAINLOOP_URL: plane.url });
const { token: operatorToken } = await api.apiToken.create.mutate({ name: 'responder' });
after(async () => {
  await cli[Symbol.asyncDispose]();
  await federated[Symbol.asyncDispose]();
});

/** Runs the commands under the heading that begins so, as the one who responds. */
async function respond(heading: string, { id = '', token = operatorToken } = {}): Promise<string> {
  const from = drill.indexOf(`**${heading}`);
  assert.ok(from >= 0, heading);
  const block = /```console\n(.*?)```/s.exec(drill.slice(from))?.[1] ?? '';
  const lines = block.trim().split('\n');
  assert.ok(lines.length > 0 && lines.every((line) => line.startsWith('$ chainloop ')), heading);
  let printed = '';
  for (const line of lines) {
    const args = line
      .slice('$ chainloop '.length)
      .replace(/\bID\b/, id)
      .split(' ');
    const ended = await cli.run(args, { env: { CHAINLOOP_TOKEN: token } });
    assert.equal(ended.code, 0, `${line}\n${ended.stderr}`);
    printed += ended.stdout;
  }
  return printed;
}

/** A whole attestation of a job, whose bundle is left in a file. */
async function attest(token: string, bundle: string, ...push: readonly string[]): Promise<string> {
  const env = { env: { CHAINLOOP_TOKEN: token } };
  const where = token.startsWith('chl_a_') ? ['--workflow', 'release', '--project', 'bedrock'] : [];
  const steps = [
    ['init', '--replace', ...where],
    ['add', '--name', 'commit', '--value', 'deadbeef'],
    ['add', '--name', 'binary', '--value', 'server.tar'],
  ];
  for (const step of steps) {
    const ended = await cli.run(['attestation', ...step], env);
    assert.equal(ended.code, 0, ended.stderr);
  }
  const ended = await cli.run(['attestation', 'push', '--bundle', bundle, '--output', 'json', ...push], env);
  assert.equal(ended.code, 0, ended.stderr);
  const { runId }: { runId: string } = JSON.parse(ended.stdout);
  return runId;
}

const verify = (bundle: string, root: string) =>
  cli.run(['attestation', 'verify', '--bundle', bundle, '--trust-root', root, '--identity-prefix', `${plane.url}/organizations/acme/`]);

async function prepare(): Promise<void> {
  await writeFile(join(cli.folder, 'server.tar'), 'the server');
  const body = 'schemaVersion: v1\nmaterials:\n  - { type: STRING, name: commit }\n  - { type: ARTIFACT, name: binary, output: true }\n';
  await api.contract.update.mutate({ name: 'release', format: 'yaml', body });
}
await prepare();

test('drill: a service account is stolen', async () => {
  const stolen = await api.serviceAccount.create.mutate({ workflow: 'release', project: 'bedrock', name: 'ci' });
  const runId = await attest(stolen.token, 'by-thief.json');
  const printed = await respond("A service account's token", { id: stolen.id });
  assert.ok(printed.includes(runId), 'what was attested with it is in the list');
  const refused = await cli.run(['attestation', 'init'], { env: { CHAINLOOP_TOKEN: stolen.token } });
  assert.equal(refused.code, 5, refused.stderr);
});

test('drill: an API token is stolen', async () => {
  const stolen = await api.apiToken.create.mutate({ name: 'leaked' });
  const thief = createApi({ url: plane.url, token: stolen.token, retryBudgetMs: 0 });
  const planted = await thief.serviceAccount.create.mutate({ workflow: 'release', project: 'bedrock', name: 'backdoor' });
  const printed = await respond("An operator's API token", { id: stolen.id });
  await assert.rejects(thief.auth.whoami.query(), { code: 'TOKEN_REVOKED' });
  assert.match(printed, /backdoor/, 'what the thief made is in the lists');
  await api.serviceAccount.revoke.mutate({ id: planted.id });
});

test('drill: a repository is taken over', async () => {
  const id = await federated.bind('github');
  const { token } = await federated.exchange(await github.github({}));
  const thief = createApi({ url: plane.url, token, retryBudgetMs: 0 });
  await thief.auth.whoami.query();
  await respond('A repository or its CI system', { id });
  await assert.rejects(thief.auth.whoami.query(), { code: 'TOKEN_REVOKED' });
  await assert.rejects(federated.exchange(await github.github({})));
});

test('drill: a signing key is stolen', async () => {
  const env = { env: { CHAINLOOP_TOKEN: operatorToken } };
  assert.equal((await cli.run(['key', 'generate', '--output-key-prefix', 'release'])).code, 0);
  assert.equal((await cli.run(['key', 'trust', '--name', 'release', '-f', 'release.pub'], env)).code, 0);
  const runId = await attest(operatorToken, 'by-key.json', '--key', 'release.key');
  assert.equal((await api.run.describe.query({ id: runId })).attestation?.verified, true);
  await respond('A signing key');
  assert.equal((await api.run.describe.query({ id: runId })).attestation?.verified, false);
  const again = await attest(operatorToken, 'by-new-key.json', '--key', 'release-2.key');
  assert.equal((await api.run.describe.query({ id: again })).attestation?.verified, true);
});

test('drill: the keys of the authorities are stolen', async () => {
  const account = await api.serviceAccount.create.mutate({ workflow: 'release', project: 'bedrock', name: 'builder' });
  await attest(account.token, 'before.json');
  assert.equal((await cli.run(['trust-root', 'export', '--output', 'whole.json'])).code, 0);
  assert.equal((await verify('before.json', 'whole.json')).code, 0);
  await respond('The keys of the control plane', { token: plane.ownerToken });
  await attest(account.token, 'after.json');
  assert.notEqual((await verify('before.json', 'trusted-root.json')).code, 0, 'nothing of the old generation is believed');
  assert.equal((await verify('after.json', 'trusted-root.json')).code, 0);
  const { certificateAuthorities }: { certificateAuthorities: unknown[] } = JSON.parse(
    await readFile(join(cli.folder, 'trusted-root.json'), 'utf8'),
  );
  assert.equal(certificateAuthorities.length, 1);
});
