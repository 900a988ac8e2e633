import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestOf } from '../core/digest.ts';
import { isChainloopError } from '../core/errors.ts';
import { commandLine } from '../test/fakes/command-line.ts';
import { startControlPlane } from '../test/fakes/control-plane.ts';
import { jobContract, startJob, text } from '../test/fakes/job.ts';
import { startTinyRegistry } from '../test/fakes/tiny-registry.ts';
import { refused, succeeded } from '../test/fakes/workplace.ts';

const account = { username: 'robot', password: 'CANARY-registry-password' };

test('new evidence goes to the new default backend; what is in the old one stays readable and verifies', async () => {
  await using registry = await startTinyRegistry({ account, referrers: true });
  await using plane = await startControlPlane();
  const { api, token, name } = await plane.createOrganization('acme');
  await api.contract.create.mutate({ name: 'release', format: 'yaml', body: jobContract });
  const jobToken = await plane.createServiceAccount(api, { workflow: 'release', project: 'bedrock', contract: 'release' });
  const job = await startJob({ url: plane.url, organization: name, token: jobToken, trustedBy: api });
  const attest = async (content: string): Promise<readonly [string, string]> => {
    const run = await job.init();
    const binary = await job.upload('binary', content);
    await job.push(run, await job.bundle(run, [text('commit', 'x'), binary]));
    return [run.runId, binary.digest ?? ''];
  };
  const before = await attest('on disk');

  const repo = `${registry.host}/evidence`;
  const added = await api.casBackend.add.mutate({ name: 'registry', repo, ...account, insecure: true });
  assert.deepEqual([added.location, added.default, added.status], [repo, true, 'ok']);
  const after = await attest('in the registry');
  assert.ok(registry.blobs.has(after[1]));
  assert.ok(!registry.blobs.has(before[1]));

  for (const [runId, digest] of [before, after]) {
    const { attestation } = await api.run.describe.query({ id: runId });
    assert.deepEqual([attestation?.verified, attestation?.verificationError], [true, null]);
    const blob = await fetch(`${plane.url}/v2/acme/blobs/${digest}`, { headers: { authorization: `Bearer ${token}` } });
    assert.equal(blob.status, 200);
    await blob.arrayBuffer();
  }
  await assert.rejects(api.casBackend.remove.mutate({ name: 'default' }), { code: 'CONFLICT' });
  // The same bytes once more: they are in the old backend only, so they have to be sent.
  const again = await attest('on disk');
  assert.ok(registry.blobs.has(again[1]));
  assert.ok(!plane.log.join('').includes('CANARY'));
});

test('a backend that cannot be written to is not kept, and no message repeats its password', async () => {
  await using registry = await startTinyRegistry({ account });
  await using plane = await startControlPlane();
  const { api } = await plane.createOrganization('acme');
  const repo = `${registry.host}/evidence`;
  const wrong = { name: 'registry', repo, username: 'robot', password: 'CANARY-wrong', insecure: true };
  const without = { name: 'registry', repo: 'registry.example.com/evidence:tag' };
  const ecr = { name: 'registry', repo: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/evidence', ...account };
  const half = { name: 'registry', repo, username: 'robot' };
  for (const [input, code] of [
    [wrong, 'REGISTRY_UNAUTHORIZED'],
    [without, 'USAGE'],
    [half, 'USAGE'],
    [ecr, 'USAGE'],
  ] as const) {
    await assert.rejects(api.casBackend.add.mutate(input), (error) => isChainloopError(error, code) && !error.message.includes('CANARY'));
  }
  assert.equal((await api.casBackend.list.query()).items.length, 1);
  assert.ok(!plane.log.join('').includes('CANARY'));
});

test('a registry that went away is found by a check, and said with the backend', async () => {
  await using plane = await startControlPlane();
  const { api } = await plane.createOrganization('acme');
  {
    await using registry = await startTinyRegistry();
    await api.casBackend.add.mutate({ name: 'registry', repo: `${registry.host}/evidence`, insecure: true, default: false });
    assert.equal((await api.casBackend.check.mutate({ name: 'registry' })).status, 'ok');
  }
  const { status, problem } = await api.casBackend.check.mutate({ name: 'registry' });
  assert.equal(status, 'invalid');
  assert.match(problem ?? '', /storage 127\.0\.0\.1:\d+.*nothing listens there/);
});

test('a tenant cannot make the server connect to its own network', async () => {
  const seen: string[] = [];
  await using trap = await startTinyRegistry({ onRequest: (method, path) => void seen.push(`${method} ${path}`) });
  await using plane = await startControlPlane({ options: { allowPrivateRegistries: false } });
  const { api } = await plane.createOrganization('acme');
  const port = trap.host.split(':')[1];
  for (const host of [trap.host, `localhost:${port}`, `[::ffff:127.0.0.1]:${port}`, `0.0.0.0:${port}`, '169.254.169.254', '10.0.0.1']) {
    const add = api.casBackend.add.mutate({ name: 'inside', repo: `${host}/evidence`, insecure: true });
    await assert.rejects(add, (error) => isChainloopError(error) && error.code !== 'INTERNAL', host);
  }
  const add = api.casBackend.add.mutate({ name: 'inside', repo: `${trap.host}/evidence`, insecure: true });
  await assert.rejects(add, { code: 'REGISTRY_ERROR', message: /started with --allow-private-registries/ });
  assert.deepEqual(seen, []);
});

test('metadata services are out of reach even where private registries are allowed', async () => {
  await using plane = await startControlPlane();
  const { api } = await plane.createOrganization('acme');
  const add = api.casBackend.add.mutate({ name: 'metadata', repo: '169.254.169.254/evidence', insecure: true });
  await assert.rejects(add, (error) => isChainloopError(error) && /169\.254\.169\.254/.test(error.message));
});

test('credentials never cross a public network in clear: plain http is for private addresses', async () => {
  await using plane = await startControlPlane();
  const { api } = await plane.createOrganization('acme');
  // 192.0.2.0/24 is for documentation and answers nowhere; 8.8.8.8 is public: both are refused before a connection is made.
  for (const host of ['8.8.8.8', '192.0.2.1']) {
    const add = api.casBackend.add.mutate({ name: 'clear', repo: `${host}/evidence`, username: 'u', password: 'CANARY', insecure: true });
    await assert.rejects(add, (error) => isChainloopError(error, 'REGISTRY_ERROR') && !error.message.includes('CANARY'), host);
  }
});

test('a password that the registry changed is told as such at every turn, replaced in place, and nothing has to be moved', async () => {
  const current = { ...account };
  await using registry = await startTinyRegistry({ account: current, referrers: true });
  await using plane = await startControlPlane();
  const { api, token } = await plane.createOrganization('acme');
  await api.casBackend.add.mutate({ name: 'registry', repo: `${registry.host}/evidence`, ...account, insecure: true });
  await using line = await commandLine({ CHAINLOOP_URL: plane.url, CHAINLOOP_TOKEN: token });
  await writeFile(join(line.folder, 'a.bin'), 'evidence');
  const upload = () => line.run(['artifact', 'upload', '-f', 'a.bin']);
  const update = (password: string, name = 'registry') =>
    line.run(['cas-backend', 'update', '--name', name, '--username', 'robot'], { env: { CHAINLOOP_REGISTRY_PASSWORD: password } });
  current.password = 'rotated';
  registry.expireTokens();

  refused(await upload(), 5, /^ERR control plane .*; that is the storage behind it: its operator has to mend it$/m);
  const check = await line.run(['cas-backend', 'check', '--name', 'registry']);
  assert.deepEqual([check.code, check.stderr.includes('chainloop cas-backend update --name')], [5, true]);
  assert.match(check.stdout, /credentials +│ FAILED +│ .*log in failed/);
  assert.match(check.stdout, /limits +│ skipped +│ not tried: it needs 'credentials'/);
  refused(await update('CANARY-wrong'), 5, /registry 127\.0\.0\.1/);
  refused(await update('rotated', 'default'), 2, /takes no credentials/);
  refused(await update('rotated', 'absent'), 1, /absent/);
  assert.equal((await api.casBackend.list.query()).items[0]?.status, 'invalid');
  succeeded(await update('rotated'));
  assert.deepEqual((await api.casBackend.list.query()).items.map(({ status, problem }) => [status, problem])[0], ['ok', null]);
  succeeded(await upload());
  assert.ok(registry.blobs.has(digestOf('evidence')));
  assert.ok(!plane.log.join('').includes('CANARY'));
});

test('a backend that was found invalid is fine again with the first evidence that it takes', async () => {
  const current = { ...account };
  await using registry = await startTinyRegistry({ account: current });
  await using plane = await startControlPlane();
  const { api, name, token } = await plane.createOrganization('acme');
  await api.casBackend.add.mutate({ name: 'registry', repo: `${registry.host}/evidence`, ...account, insecure: true });
  const check = async () => (await api.casBackend.check.mutate({ name: 'registry' })).problemCode;
  assert.equal(await check(), undefined);
  current.password = 'another';
  registry.expireTokens();
  assert.equal(await check(), 'REGISTRY_UNAUTHORIZED');
  current.password = account.password;
  await (await startJob({ url: plane.url, organization: name, token })).upload('binary', 'evidence');
  const [backend] = (await api.casBackend.list.query()).items;
  assert.deepEqual([backend?.status, backend?.problem], ['ok', null]);
});
