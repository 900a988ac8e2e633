import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { writeImageLayout } from '../examples/quickstart/image.ts';
import { startRegistry } from './fakes/docker-registry.ts';
import { strangerFinds } from './fakes/stranger.ts';
import { refused, startWorkplace, succeeded } from './fakes/workplace.ts';
import { needs } from './needs.ts';

// `attestation push --attach`, against real registries, and with the eyes of those who look for the bundle later.

const skopeo = async (...args: readonly string[]): Promise<string> => (await promisify(execFile)('skopeo', args)).stdout;
const basic = (username: string, password: string): string => `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;

const contract = 'schemaVersion: v1\nmaterials: [{ type: CONTAINER_IMAGE, name: image, output: true }]\n';
const workplace = await startWorkplace({ contract });
const { line, job, operatorToken, plane } = workplace;
after(() => workplace[Symbol.asyncDispose]());
const publicKeyPath = join(line.folder, 'release.pub');
let digest = '';
before(async () => {
  await mkdir(join(line.folder, 'image'));
  digest = await writeImageLayout(join(line.folder, 'image'), gzipSync('layer'), 'v1');
});

type Pushed = { readonly runId: string; readonly attachments: readonly { image: string; referrer: string | null; error: unknown }[] };

/** One job, with the image and the Docker configuration that are given. */
async function jobOf(name: string, auths: Readonly<Record<string, string>> = {}) {
  const config = join(line.folder, `docker-${name}`);
  await mkdir(config);
  const entries = Object.entries(auths).map(([host, header]) => [host, { auth: header.replace('Basic ', '') }]);
  await writeFile(join(config, 'config.json'), JSON.stringify({ auths: Object.fromEntries(entries) }));
  const env = { ...job, DOCKER_CONFIG: config, CHAINLOOP_STATE_DIR: join(line.folder, `state-${name}`) };
  const run = (...args: readonly string[]) => line.run(['attestation', ...args], { env });
  return {
    run,
    async begun(image: string) {
      succeeded(await run('init'));
      succeeded(await run('add', '--name', 'image', '--value', image));
    },
    push: async (...args: readonly string[]): Promise<Pushed> =>
      JSON.parse(succeeded(await run('push', '--attach', '--output', 'json', ...args))),
  };
}

async function copyImage(t: TestContext, host: string, repository: string, credentials: string): Promise<boolean> {
  if (!needs(t, 'skopeo')) return false;
  const from = `oci:${join(line.folder, 'image')}:v1`;
  await skopeo('copy', '-q', '--dest-tls-verify=false', '--dest-creds', credentials, from, `docker://${host}/${repository}`);
  return true;
}

test('a registry without the referrers API: found by the fallback tag, and verified by others', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry({ auth: 'basic' });
  const { host, username, password } = registry;
  if (!(await copyImage(t, host, 'team/app:v1', `${username}:${password}`))) return;
  const authorization = basic(username, password);
  const { begun, run } = await jobOf('registry', { [host]: authorization });
  await begun(`${host}/team/app:v1`);
  const ended = await run('push', '--attach', '--bundle', 'bundle.json');
  succeeded(ended);
  assert.match(ended.stderr, new RegExp(`INF Attestation pushed!\\nINF Attached to ${host}/team/app@${digest}\\n`));

  const [found, ...others] = await strangerFinds(`${registry.origin}/v2/team/app`, digest, { authorization, publicKeyPath });
  assert.deepEqual([found?.by, found?.verified, found?.manifest.subject.digest, others], ['tag', true, digest, []]);
  const bundle = await readFile(join(line.folder, 'bundle.json'), 'utf8');
  assert.equal(found?.bundle, bundle);
  const statement = JSON.parse(Buffer.from(JSON.parse(bundle).dsseEnvelope.payload, 'base64').toString());
  assert.deepEqual(found?.referrer.annotations, {
    'dev.sigstore.bundle.content': 'dsse-envelope',
    'dev.sigstore.bundle.predicateType': 'chainloop.dev/attestation/v0.2',
    'org.opencontainers.image.created': statement.predicate.metadata.finishedAt,
  });
  const place = `docker://${host}/team/app@${found?.referrer.digest}`;
  const raw = await skopeo('inspect', '--raw', '--tls-verify=false', '--creds', `${username}:${password}`, place);
  assert.deepEqual(JSON.parse(raw), found?.manifest);
});

test('our own gateway, as the registry of the image: found by the referrers API', async (t) => {
  const host = new URL(plane.url).host;
  if (!(await copyImage(t, host, 'acme:app-v1', `x:${operatorToken}`))) return;
  const authorization = basic('x', operatorToken);
  const { begun, push } = await jobOf('gateway', { [host]: authorization });
  await begun(`${host}/acme:app-v1`);
  const { attachments } = await push();
  const found = await strangerFinds(`${plane.url}/v2/acme`, digest, { authorization, publicKeyPath });
  assert.deepEqual(
    found.map(({ by, verified, referrer }) => [by, verified, referrer.digest]),
    [['api', true, attachments[0]?.referrer]],
  );
});

test('what cannot be attached leaves the attestation recorded, says why, and is attached by the same command later', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry({ auth: 'basic' });
  const { host, username, password } = registry;
  if (!(await copyImage(t, host, 'app:v1', `${username}:${password}`))) return;
  const good = await jobOf('good', { [host]: basic(username, password) });
  await good.begun(`${host}/app:v1`);
  const wrong = await good.run('push', '--attach', '--output', 'json', '--registry-username', username, '--registry-password', 'wrong');
  assert.equal(wrong.code, 5, wrong.stderr);
  const pushed: Pushed & { readonly state: string } = JSON.parse(wrong.stdout);
  assert.deepEqual([pushed.state, pushed.attachments[0]?.referrer], ['success', null]);
  const { error } = JSON.parse(wrong.stderr.trim().split('\n').at(-1) ?? '');
  assert.equal(error.code, 'REGISTRY_UNAUTHORIZED');
  assert.match(error.message, /the attestation is recorded, but not attached to 1 of its 1 images; .* same command again/);
  assert.doesNotMatch(wrong.stderr, /wrong/);
  const described = await line.run(['workflow', 'run', 'describe', '--id', pushed.runId, '--output', 'json'], { env: workplace.operator });
  assert.equal(JSON.parse(succeeded(described)).run.state, 'success');

  await registry.stop();
  const away = await good.run('push', '--attach');
  assert.equal(away.code, 75, away.stderr);
  await registry.start();
  const again = await good.push();
  assert.equal(again.runId, pushed.runId);
  const found = await strangerFinds(`${registry.origin}/v2/app`, digest, { authorization: basic(username, password), publicKeyPath });
  assert.deepEqual(
    found.map(({ referrer }) => referrer.digest),
    [again.attachments[0]?.referrer],
  );
  refused(await good.run('push', '--attach'), 2, /start one with/);
});

test('an image in an OCI layout gets its attestation into the layout', async (t) => {
  const { begun, push } = await jobOf('layout');
  await begun('oci:image:v1');
  const { attachments } = await push();
  const index = JSON.parse(await readFile(join(line.folder, 'image', 'index.json'), 'utf8'));
  const [, entry] = index.manifests;
  assert.equal(entry.digest, attachments[0]?.referrer);
  assert.equal(entry.artifactType, 'application/vnd.dev.sigstore.bundle.v0.3+json');
  const blob = async (name: string) => readFile(join(line.folder, 'image', 'blobs', 'sha256', name.replace('sha256:', '')), 'utf8');
  const manifest = JSON.parse(await blob(entry.digest));
  assert.equal(manifest.subject.digest, digest);
  assert.equal(JSON.parse(await blob(manifest.layers[0].digest)).mediaType, entry.artifactType);
  if (!needs(t, 'skopeo')) return;
  await skopeo('inspect', '--raw', `oci:${join(line.folder, 'image')}:v1`);
});
