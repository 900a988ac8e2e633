import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { digestOf } from '../core/digest.ts';
import type { VerdictView } from '../core/verdict.ts';
import { commandLine } from '../test/fakes/command-line.ts';
import { startControlPlane } from '../test/fakes/control-plane.ts';
import { succeeded } from '../test/fakes/workplace.ts';

const contract = `schemaVersion: v1
materials:
  - { type: STRING, name: commit }
  - { type: ARTIFACT, name: binary, output: true }
`;

// One control plane with a workflow and a trusted key for all of these tests, and command lines of its operator and of its CI job.
const controlPlane = await startControlPlane();
const { token, api } = await controlPlane.createOrganization('acme');
const cli = await commandLine({ CHAINLOOP_URL: controlPlane.url });
const jobToken = await controlPlane.createServiceAccount(api, { workflow: 'release', project: 'bedrock' });
const jobEnv = { CHAINLOOP_TOKEN: jobToken, CHAINLOOP_SIGNING_KEY: join(cli.folder, 'release.key') };
const run = (env: NodeJS.ProcessEnv, ...args: readonly string[]) => cli.run(args, { env });
const operator = (...args: readonly string[]) => run({ CHAINLOOP_TOKEN: token }, ...args);
const job = (...args: readonly string[]) => run(jobEnv, ...args);
after(async () => {
  await cli[Symbol.asyncDispose]();
  await controlPlane[Symbol.asyncDispose]();
});

before(async () => {
  await writeFile(join(cli.folder, 'contract.yaml'), contract);
  await writeFile(join(cli.folder, 'server.tar'), 'the server');
  succeeded(await operator('workflow', 'contract', 'create', '--name', 'strict', '-f', 'contract.yaml'));
  succeeded(await operator('workflow', 'update', '--name', 'release', '--project', 'bedrock', '--contract', 'strict'));
  succeeded(await operator('key', 'generate', '--output-key-prefix', 'release'));
  succeeded(await operator('key', 'trust', '--name', 'release', '-f', 'release.pub'));
});

/** Of the first test; the others look at it again. */
let runId = '';

test('a contract, a job, a verified run, and the evidence back, byte for byte', async () => {
  succeeded(await job('attestation', 'init'));
  succeeded(await job('attestation', 'add', '--name', 'commit', '--value', 'deadbeef'));
  const add = await job('attestation', 'add', '--name', 'binary', '--value', 'server.tar');
  succeeded(add);
  assert.match(add.stderr, /^server\.tar@sha256:[0-9a-f]{64} \.\.\. done! \[10B in .*\]\nINF material added to attestation\n$/);

  const pushed: { runId: string; state: string } = JSON.parse(
    succeeded(await job('attestation', 'push', '--output', 'json', '--bundle', 'b.json')),
  );
  assert.equal(pushed.state, 'success');
  runId = pushed.runId;
  assert.equal((await job('attestation', 'status')).code, 2, 'nothing is open after a push');

  const describe = ['workflow', 'run', 'describe', '--id', runId];
  const table = succeeded(await operator(...describe));
  assert.match(table, /│ State +│ success +│/);
  assert.match(table, /│ Verified +│ true +│/);
  assert.match(succeeded(await operator(...describe, '--key', 'release.pub')), /│ Verified By +│ this program, with the keys given +│/);
  assert.equal(succeeded(await operator(...describe, '--output', 'attestation')), await readFile(join(cli.folder, 'b.json'), 'utf8'));
  const statement: { predicateType: string } = JSON.parse(succeeded(await operator(...describe, '--output', 'statement')));
  assert.equal(statement.predicateType, 'chainloop.dev/attestation/v0.2');

  assert.match(table, /│ Result +│ PASSED +│\n│ SLSA Build Level +│ 1 +│/);
  const { verdict }: { verdict: VerdictView } = JSON.parse(succeeded(await operator(...describe, '--output', 'json')));
  assert.equal(digestOf(succeeded(await operator(...describe, '--output', 'vsa'))), verdict.vsa?.digest);
  assert.match(
    (await operator(...describe, '--output', 'provenance')).stderr,
    /has no provenance, in state success: Only the job itself says/,
  );

  const digest = /server\.tar@(sha256:[0-9a-f]{64})/.exec(table)?.[1] ?? '';
  const download = await operator('artifact', 'download', '-d', digest, '--name', 'back.tar');
  succeeded(download);
  assert.match(download.stderr, /^INF downloading file name=back\.tar to=.*\nINF file downloaded! path=.*back\.tar\n$/);
  assert.equal(await readFile(join(cli.folder, 'back.tar'), 'utf8'), 'the server');
  assert.equal((await operator('artifact', 'download', '-d', digest)).code, 6, 'server.tar is there');
});

test('a run whose bundle does not verify with the given key fails the command', async () => {
  succeeded(await operator('key', 'generate', '--output-key-prefix', 'other'));
  const ended = await operator('workflow', 'run', 'describe', '--id', runId, '--key', 'other.pub');
  assert.deepEqual({ code: ended.code, stdout: ended.stdout }, { code: 1, stdout: '' });
  assert.match(ended.stderr, /│ Verified +│ false +│/);
  assert.match(ended.stderr, /^ERR /m);
  const quiet = await operator('workflow', 'run', 'describe', '--id', runId, '--key', 'other.pub', '--output', 'statement');
  assert.deepEqual({ code: quiet.code, stdout: quiet.stdout }, { code: 1, stdout: '' });
});

test('the attestation that is printed is the stored one byte for byte, and verifies', async () => {
  const describe = ['workflow', 'run', 'describe', '--latest', '--workflow', 'release', '--project', 'bedrock', '--output'];
  const printed = succeeded(await operator(...describe, 'attestation'));
  const { attestation }: { attestation: { digest: string } } = JSON.parse(succeeded(await operator(...describe, 'json')));
  assert.equal(digestOf(printed), attestation.digest);
  await writeFile(join(cli.folder, 'printed.sigstore.json'), printed);
  succeeded(await operator('attestation', 'verify', '--bundle', 'printed.sigstore.json', '--key', 'release.pub'));
});

test('which run is meant is said by its id or by being the latest, and not by both', async () => {
  const describe = ['workflow', 'run', 'describe'];
  for (const [args, says] of [
    [[], /either --id <id> or --latest/],
    [['--id', runId, '--latest'], /either --id <id> or --latest/],
    [['--id', runId, '--project', 'bedrock'], /give --latest with them/],
    [['--id', 'nope'], /--id takes an id such as .*chainloop workflow run ls/],
    [['--latest', '--project', ''], /--project <name> is empty/],
  ] as const) {
    const ended = await operator(...describe, ...args);
    assert.deepEqual({ code: ended.code, stdout: ended.stdout }, { code: 2, stdout: '' });
    assert.match(ended.stderr, says);
  }
});

test('a workflow is only updated when there is something to change; its team can be cleared', async () => {
  const update = ['workflow', 'update', '--name', 'release', '--project', 'bedrock', '--output', 'json'];
  const nothing = await operator(...update);
  assert.equal(nothing.code, 2);
  assert.match(nothing.stderr, /nothing to change .*--team or --contract/);
  const teamOf = (stdout: string): unknown => JSON.parse(stdout).team;
  assert.equal(teamOf(succeeded(await operator(...update, '--team', 'core'))), 'core');
  assert.equal(teamOf(succeeded(await operator(...update, '--team', ''))), '');
});

test('a job that is reset leaves a run that says why', async () => {
  succeeded(await job('attestation', 'init'));
  succeeded(await job('attestation', 'reset', '--trigger', 'failed', '--reason', 'the build failed'));
  const runs: { items: { id: string; state: string }[] } = JSON.parse(
    succeeded(await operator('workflow', 'run', 'ls', '--output', 'json')),
  );
  assert.equal(runs.items[0]?.state, 'failed');
  assert.match(
    succeeded(await operator('workflow', 'run', 'describe', '--id', runs.items[0]?.id ?? '')),
    /│ Reason +│ the build failed +│/,
  );
});

test('each failure has its exit code', async () => {
  assert.equal((await operator('workflow', 'create', '--name', 'release', '--project', 'bedrock')).code, 6);
  assert.equal((await run({ CHAINLOOP_TOKEN: 'chl_a_nobody' }, 'workflow', 'ls')).code, 5);
  assert.equal((await job('workflow', 'create', '--name', 'x', '--project', 'y')).code, 5);
  assert.equal((await operator('workflow', 'run', 'describe', '--id', '32f2af08-0839-40f8-9f77-c9f856b87351')).code, 1);
  assert.equal((await job('attestation', 'push')).code, 2);
  succeeded(await job('attestation', 'init'));
  assert.equal((await job('attestation', 'init')).code, 6);
  const missing = await job('attestation', 'push');
  assert.equal(missing.code, 3);
  assert.match(missing.stderr, /'commit'[\s\S]*'binary'/);
  assert.equal((await job('attestation', 'add', '--name', 'comit', '--value', 'x')).code, 3);
  assert.equal((await job('attestation', 'add', '--name', 'binary', '--value', 'missing.tar')).code, 2);
  succeeded(await job('attestation', 'reset'));
});

test('what others wrote reaches the terminal without its control characters', async () => {
  succeeded(await job('attestation', 'init'));
  succeeded(await job('attestation', 'add', '--name', 'commit', '--value', 'a\x1b[2Jb\u202ec'));
  succeeded(await job('attestation', 'add', '--name', 'binary', '--value', 'server.tar'));
  const status = succeeded(await job('attestation', 'status', '--full'));
  assert.match(status, /a\\x1b\[2Jb\\u\{202e\}c/);
  const { runId: id }: { runId: string } = JSON.parse(succeeded(await job('attestation', 'push', '--output', 'json')));
  for (const output of ['table', 'json', 'statement', 'attestation']) {
    const printed = succeeded(await operator('workflow', 'run', 'describe', '--id', id, '--output', output));
    assert.doesNotMatch(printed, /[\x00-\x09\x0b-\x1f\x7f-\x9f\p{Cf}]/u);
  }
});

test('operator commands print one JSON document each, and nothing else on stdout', async () => {
  for (const args of [
    ['workflow', 'ls'],
    ['workflow', 'describe', '--name', 'release', '--project', 'bedrock'],
    ['workflow', 'update', '--name', 'release', '--project', 'bedrock', '--team', 'core'],
    ['workflow', 'contract', 'ls'],
    ['workflow', 'contract', 'describe', '--name', 'strict'],
    ['workflow', 'contract', 'update', '--name', 'strict', '-f', 'contract.yaml'],
    ['workflow', 'contract', 'validate', '-f', 'contract.yaml'],
    ['workflow', 'run', 'ls'],
    ['service-account', 'create', '--workflow', 'release', '--project', 'bedrock', '--name', 'ci2'],
    ['service-account', 'ls'],
    ['api-token', 'create', '--name', 'more'],
    ['api-token', 'ls'],
    ['key', 'ls'],
    ['key', 'trust', '--name', 'other', '-f', 'other.pub'],
    ['key', 'rm', '--name', 'other'],
    ['cas-backend', 'ls'],
    ['cas-backend', 'check', '--name', 'default'],
    ['org', 'describe'],
    ['auth', 'whoami'],
    ['artifact', 'upload', '-f', 'server.tar'],
    ['workflow', 'create', '--name', 'scratch', '--project', 'bedrock'],
    ['workflow', 'delete', '--name', 'scratch', '--project', 'bedrock'],
    ['workflow', 'contract', 'delete', '--name', 'scratch'],
    ['config', 'show'],
  ]) {
    const ended = await operator(...args, '--output', 'json');
    assert.doesNotThrow(() => JSON.parse(succeeded(ended)), `${args.join(' ')}: ${ended.stdout}${ended.stderr}`);
  }
});

test('logging in keeps the token for the commands that follow, until logging out', async () => {
  const login = await cli.run(['auth', 'login', '--organization', 'acme'], { stdin: `${controlPlane.ownerToken}\n` });
  succeeded(login);
  assert.ok(!`${login.stdout}${login.stderr}`.includes(controlPlane.ownerToken));
  succeeded(await run({}, 'workflow', 'ls'));
  succeeded(await run({}, 'org', 'ls'));
  succeeded(await run({}, 'auth', 'logout'));
  assert.equal((await run({}, 'workflow', 'ls')).code, 5);
});

test('a token that is not accepted is not kept', async () => {
  assert.equal((await cli.run(['auth', 'login'], { stdin: 'chl_a_wrong' })).code, 5);
  assert.match(succeeded(await run({}, 'config', 'show')), /│ Token +│ none +│/);
});

test('a push to a control plane that is gone is worth another try', async () => {
  succeeded(await job('attestation', 'init'));
  succeeded(await job('attestation', 'add', '--name', 'commit', '--value', 'deadbeef'));
  succeeded(await job('attestation', 'add', '--name', 'binary', '--value', 'server.tar'));
  await controlPlane.close();
  const ended = await job('attestation', 'push');
  assert.equal(ended.code, 75);
  assert.match(ended.stderr, /the signed attestation is kept; push again/);

  const status = await job('attestation', 'status');
  assert.match(succeeded(status), /│ Signed +│ Yes +│/);
  assert.match(status.stderr, /^INF It is signed; send it, the same bytes again, with: chainloop attestation push\n$/);
  const again = await job('attestation', 'push', '--key', 'other.key', '--annotation', 'a=b');
  assert.equal(again.code, 75);
  assert.match(again.stderr, /^INF It is signed already.*\nWRN --key and --annotation cannot change it any more/);
});
