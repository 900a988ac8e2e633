import assert from 'node:assert/strict';
import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isChainloopError } from '../core/errors.ts';
import type { Env } from '../core/runner.ts';
import { readInputs } from './inputs.ts';

const plane = { 'control-plane': 'https://cp.example.com' };
const read = (given: Readonly<Record<string, string>>, env: Env = {}) => readInputs((name) => given[name] ?? '', env);

/** `path: message` of every problem. */
function problems(given: Readonly<Record<string, string>>, env: Env = {}): readonly string[] {
  try {
    read(given, env);
    return [];
  } catch (error) {
    assert.ok(isChainloopError(error, 'USAGE'));
    return error.problems.map(({ path, message }) => `${path}: ${message}`);
  }
}

test('nothing but the control plane is needed', () => {
  const inputs = read(plane);
  assert.deepEqual(
    [inputs.command, inputs.auth, inputs.signing, inputs.onViolation, inputs.onOutage, inputs.forkPr, inputs.dryRun, inputs.showSummary],
    ['attest', 'auto', 'auto', 'contract', 'fail', 'skip', false, true],
  );
  assert.equal(inputs.retryTimeoutMs, 180_000);
  assert.equal(read({}, { CHAINLOOP_URL: 'http://127.0.0.1:8080/' }).controlPlane, 'http://127.0.0.1:8080');
  assert.equal(read({ 'dry-run': 'true' }).controlPlane, '', 'a dry run asks nobody');
});

test('every problem of every input is said at once', () => {
  const said = problems({
    command: 'atest',
    'control-plane': 'https://cp.example.com/path',
    workflow: 'Release!',
    'contract-revision': '0',
    materials: 'binary\nsbom=',
    annotations: 'x\na=\nb=1\nb=2',
    'attestation-id': '42',
    auth: 'token',
    signing: 'key',
    'retry-timeout': '2h',
    'dry-run': 'yes',
    'on-outage': 'continue',
  });
  for (const says of [
    /^command: 'atest' is not one of .*; did you mean 'attest'\?/,
    /^control-plane: is not an origin/,
    /^workflow: 'Release!' is no name/,
    /^contract-revision: '0' is not a number from 1/,
    /^materials: 'binary' is not NAME=VALUE/,
    /^materials: material 'sbom' has no value/,
    /^annotations: line 1: 'x' is not KEY=VALUE/,
    /^annotations: line 2: 'a' has no value/,
    /^annotations: line 4: 'b' is given twice/,
    /^attestation-id: '42' is not the id of a run/,
    /^token: is empty/,
    /^signing-key: is empty/,
    /^retry-timeout: '2h' is not a time/,
    /^dry-run: 'yes' is neither true nor false/,
    /^on-outage: 'continue' is not one of fail, defer/,
  ])
    assert.equal(said.filter((line) => says.test(line)).length, 1, `${says}\n${said.join('\n')}`);
  assert.equal(said.length, 15);
});

test('no problem repeats a token or a key', () => {
  const secret = 'chl_a_0123456789';
  const said = problems({ ...plane, token: secret, 'signing-key': secret, signing: 'keyless', command: 'x' }).join('\n');
  assert.match(said, /^signing-key: is given, and signing is 'keyless'/m);
  assert.ok(!said.includes(secret));
});

test('the organization is that of the input, else of CHAINLOOP_ORGANIZATION; none of them is a name that cannot be', () => {
  const env = { CHAINLOOP_ORGANIZATION: ' acme ' };
  assert.equal(read(plane, env).organization, 'acme');
  assert.equal(read({ ...plane, organization: 'other' }, env).organization, 'other');
  assert.equal(read(plane, { CHAINLOOP_ORGANIZATION: '' }).organization, undefined);
  assert.match(problems(plane, { CHAINLOOP_ORGANIZATION: 'A/b' })[0] ?? '', /^organization: 'A\/b' is no name/);
});

test('times are seconds, or say what they are', () => {
  const of = (text: string) => read({ ...plane, 'retry-timeout': text }).retryTimeoutMs;
  assert.deepEqual(['0', '5', '5s', '500ms', '3m', '60m'].map(of), [0, 5000, 5000, 500, 180_000, 3_600_000]);
  for (const text of ['-1', '1h', '61m', 'soon', '1.5s']) assert.equal(problems({ ...plane, 'retry-timeout': text }).length, 1, text);
});

test('only attest and add take materials, and add needs some', () => {
  for (const command of ['init', 'push', 'status', 'reset'])
    assert.match(problems({ ...plane, command, materials: 'a=1' })[0] ?? '', /takes none; use attest or add/);
  assert.match(problems({ ...plane, command: 'add' })[0] ?? '', /is empty/);
});

test('.chainloop/materials is read when it is there, another file must be', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-inputs-'));
  const env = { GITHUB_WORKSPACE: folder.path };
  assert.deepEqual(read(plane, env).materials, []);
  await mkdir(join(folder.path, '.chainloop'));
  await writeFile(join(folder.path, '.chainloop', 'materials'), 'a=1\nb');
  assert.match(problems(plane, env)[0] ?? '', /'b' is not NAME=VALUE/);
  await writeFile(join(folder.path, 'list'), 'c=1\n');
  assert.deepEqual(
    read({ ...plane, 'materials-file': 'list', materials: 'd=2' }, env).materials.map(({ name, file }) => [name, file]),
    [
      ['d', undefined],
      ['c', 'list'],
    ],
  );
  assert.match(problems({ ...plane, 'materials-file': 'none' }, env)[0] ?? '', /'none' cannot be read/);
});

test('a job of a matrix is called as GitHub calls it', () => {
  const job = (matrix: string) => read({ ...plane, matrix }, { GITHUB_JOB: 'build' }).job;
  assert.equal(job('null'), 'build');
  assert.equal(job('{"arch":"arm64","os":{"name":"x"},"node":24}'), 'build (arm64, 24)');
  assert.equal(job('{'), 'build');
  assert.equal(job('{"a":"\\n::error::x"}'), 'build ( ::error::x)');
});
