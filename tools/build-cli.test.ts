import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { startGitlabJob } from '../test/fakes/ci-job.ts';
import { startFederatedPlane } from '../test/fakes/federated.ts';
import { run } from '../test/fakes/process.ts';

// The package for CI jobs as they get it: packed by npm, and installed from the tarball into an empty folder, without a registry.

const root = join(import.meta.dirname, '..');
const folder = await mkdtemp(join(tmpdir(), 'chainloop-npm-'));
const empty = join(folder, 'empty');
const program = join(empty, 'node_modules', 'chainloop', 'dist', 'chainloop.js');
after(() => rm(folder, { recursive: true, force: true }));

const npm = (args: readonly string[], cwd: string): string =>
  execFileSync('npm', [...args], {
    cwd,
    env: { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}`, npm_config_offline: 'true' },
    stdio: ['ignore', 'pipe', 'pipe'],
  }).toString();

before(async () => {
  await mkdir(empty);
  const name = npm(['pack', './cli/npm', '--silent', '--pack-destination', folder], root).trim().split('\n').at(-1) ?? '';
  await writeFile(join(empty, 'package.json'), '{}');
  npm(['install', join(folder, name)], empty);
});

test('the package depends on nothing, and is of the version of the project', async () => {
  assert.deepEqual(
    (await readdir(join(empty, 'node_modules'))).filter((name) => !name.startsWith('.')),
    ['chainloop'],
  );
  const packed = JSON.parse(await readFile(join(root, 'cli', 'npm', 'package.json'), 'utf8'));
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  assert.equal(packed.version, version);
  for (const key of ['dependencies', 'optionalDependencies', 'peerDependencies']) assert.equal(packed[key], undefined);
  const bin = join(empty, 'node_modules', '.bin', 'chainloop');
  assert.equal(spawnSync(bin, ['--version'], { env: { PATH: dirname(process.execPath) } }).stdout.toString(), `${version}\n`);
});

test('it is one file below 1.25 MB, and the licences of what is in it', async () => {
  const files = await readdir(dirname(program));
  assert.deepEqual(files.sort(), ['LICENSE', 'LICENSES.txt', 'chainloop.js']);
  const text = await readFile(program, 'utf8');
  assert.ok(text.length < 1_250_000, `${text.length} bytes`);
  assert.ok(!text.includes(root));
  const licences = await readFile(join(dirname(program), 'LICENSES.txt'), 'utf8');
  for (const name of ['commander', 'zod', '@trpc/client', 'yaml', '@cyclonedx/cyclonedx-library'])
    assert.match(licences, new RegExp(`^${name} \\d`, 'm'));
  for (const name of ['pg', 'hono', '@electric-sql/pglite']) assert.doesNotMatch(licences, new RegExp(`^${name} \\d`, 'm'));
});

test('the same sources give the same bytes', async () => {
  const again = join(folder, 'again');
  execFileSync(process.execPath, [join(root, 'tools', 'build-cli.ts'), again]);
  assert.ok((await readFile(join(again, 'chainloop.js'))).equals(await readFile(program)));
});

test('it runs chainloop attest end to end, keyless, with an SBOM that is validated', async () => {
  await using federated = await startFederatedPlane();
  const body =
    'schemaVersion: v1\nmaterials:\n  - { type: ARTIFACT, name: app, output: true }\n  - { type: SBOM_CYCLONEDX_JSON, name: sbom }\n';
  await federated.api.contract.update.mutate({ name: 'release', format: 'yaml', body });
  await federated.bind('gitlab');
  await using job = await startGitlabJob({ url: federated.plane.url, issuer: federated.gitlab });
  await writeFile(join(job.checkout, 'app'), 'built');
  const env = { ...job.env, HOME: job.folder, CHAINLOOP_URL: federated.plane.url, CHAINLOOP_MATERIALS: 'app=app\nsbom=app.cdx.json' };
  const attest = () => run({ program: process.execPath, args: [program, 'attest', '--output', 'json'], cwd: job.checkout, env });
  await writeFile(
    join(job.checkout, 'app.cdx.json'),
    JSON.stringify({ bomFormat: 'CycloneDX', specVersion: '1.6', components: [{ name: 'x' }] }),
  );
  await assert.rejects(attest, /components\[0\]/);
  await writeFile(
    join(job.checkout, 'app.cdx.json'),
    JSON.stringify({ bomFormat: 'CycloneDX', specVersion: '1.6', version: 1, components: [] }),
  );
  const { stdout } = await attest();
  const { status, runId } = JSON.parse(stdout);
  assert.equal(status, 'passed');
  assert.equal((await federated.api.run.describe.query({ id: runId })).run.state, 'success');
});

test('what it cannot do, it says: no control plane is in it', () => {
  const { status, stderr } = spawnSync(process.execPath, [program, 'server'], { cwd: empty });
  assert.equal(status, 2);
  assert.match(stderr.toString(), /start a control plane from a checkout/);
});
