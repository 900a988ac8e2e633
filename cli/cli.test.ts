import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { commandLine } from '../test/fakes/command-line.ts';

// Without a control plane. With one: cli/journey.test.ts.

const contract = `schemaVersion: v1
materials:
  - { type: STRING, name: commit }
  - { type: ARTIFACT, name: binary, output: true }
`;

test('the version is one word on stdout', async () => {
  await using cli = await commandLine();
  const { version }: { version: string } = JSON.parse(await readFile(join(import.meta.dirname, '..', 'package.json'), 'utf8'));
  assert.deepEqual(await cli.run(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' });
  assert.deepEqual(await cli.run(['version']), { code: 0, stdout: `${version}\n`, stderr: '' });
});

test('help is on stdout and shows examples, of the program and of each command', async () => {
  await using cli = await commandLine();
  for (const args of [['--help'], ['attestation', 'add', '--help'], ['help', 'attestation', 'add'], ['att', 'add', '-h']]) {
    const ended = await cli.run(args);
    assert.equal(ended.code, 0, args.join(' '));
    assert.equal(ended.stderr, '');
    assert.match(ended.stdout, /Examples:\n {2}\$ chainloop/);
  }
});

test('the help of a command shows the options of every command, but for one that it has for itself', async () => {
  await using cli = await commandLine();
  const usual = (await cli.run(['attestation', 'verify', '--help'])).stdout;
  const own = (await cli.run(['trust-root', 'export', '--help'])).stdout;
  for (const option of ['--output <format>', '--url <origin>']) assert.ok(usual.includes(option), usual);
  assert.deepEqual(
    [own.includes('--output <path>'), own.includes('--output <format>'), own.includes('--url <origin>')],
    [true, false, true],
  );
});

test('run is short for workflow run', async () => {
  await using cli = await commandLine();
  const whole = await cli.run(['workflow', 'run', 'describe', '--help']);
  for (const args of [
    ['run', 'describe', '--help'],
    ['help', 'run', 'describe'],
    ['--output', 'json', 'run', 'describe', '--help'],
  ]) {
    assert.deepEqual(await cli.run(args), whole);
  }
  const ended = await cli.run(['run', 'describe', '--id', 'x']);
  assert.equal(ended.code, 2);
  assert.match(ended.stderr, /--id takes an id/);
});

test('a word that is no command is answered with the nearest one', async () => {
  await using cli = await commandLine();
  const ended = await cli.run(['wrokflow', 'ls']);
  assert.deepEqual(ended, { code: 2, stdout: '', stderr: "ERR unknown command 'wrokflow' (Did you mean workflow?)\n" });
});

test('everything that is missing is named at once', async () => {
  await using cli = await commandLine();
  const ended = await cli.run(['service-account', 'create', '--expires-in-days', 'x']);
  assert.equal(ended.code, 2);
  for (const word of ['--workflow', '--project', '--name', "'x'"]) assert.ok(ended.stderr.includes(word), ended.stderr);
});

test('with --output json a failure leaves stdout empty, and the last line of stderr is the error', async () => {
  await using cli = await commandLine();
  const ended = await cli.run(['attestation', 'status', '--output', 'json']);
  assert.equal(ended.code, 2);
  assert.equal(ended.stdout, '');
  const { error }: { error: { code: string } } = JSON.parse(ended.stderr.trim().split('\n').at(-1) ?? '');
  assert.equal(error.code, 'NO_CRAFTING');
});

test('nothing is coloured in a pipe', async () => {
  await using cli = await commandLine({ NO_COLOR: undefined });
  const ended = await cli.run(['attestation', 'status']);
  assert.match(ended.stderr, /^ERR /);
  assert.ok(!ended.stderr.includes('\x1b'));
});

test('a reader that stops reading is not a failure', async () => {
  await using cli = await commandLine();
  const child = cli.start(['--help']);
  child.stdout?.destroy();
  const [code]: unknown[] = await once(child, 'exit');
  assert.equal(code, 0);
});

test('a standard output that is full is said', async (t) => {
  if (!existsSync('/dev/full')) return t.skip('there is no /dev/full here');
  await using cli = await commandLine();
  const ended = await cli.run(['help'], { through: ['sh', '-c', '"$@" > /dev/full', 'sh'] });
  assert.deepEqual(ended, {
    code: 1,
    stdout: '',
    stderr: 'ERR standard output cannot be written (ENOSPC); what was printed is not whole\n',
  });
});

test('a folder that is gone, a home that takes no file and a variable that makes no sense are errors of the user', async () => {
  await using cli = await commandLine();
  await mkdir(join(cli.folder, 'gone'));
  const gone = await cli.run(['attestation', 'status'], {
    cwd: join(cli.folder, 'gone'),
    through: ['sh', '-c', 'rmdir ../gone && "$@"', 'sh'],
  });
  assert.equal(gone.code, 2);
  assert.match(gone.stderr, /^ERR the current folder does not exist any more/);

  await symlink(join(cli.folder, 'nowhere', 'at-all'), join(cli.folder, 'chainloop'));
  const home = await cli.run(['config', 'set', 'organization', 'acme'], { env: { XDG_CONFIG_HOME: cli.folder } });
  assert.equal(home.code, 2);
  assert.match(home.stderr, /^ERR .*config\.json cannot be written .*XDG_CONFIG_HOME/);

  const retry = await cli.run(['workflow', 'ls'], { env: { CHAINLOOP_TOKEN: 'chl_a_x', CHAINLOOP_RETRY_SECONDS: 'abc' } });
  assert.equal(retry.code, 2);
  assert.match(retry.stderr, /^ERR CHAINLOOP_RETRY_SECONDS: 'abc' is not a whole number of seconds/);
});

test('a token that is more than one word is refused at once, and not repeated; space around it is not part of it', async () => {
  await using cli = await commandLine({ CHAINLOOP_URL: 'http://127.0.0.1:9' });
  const broken = await cli.run(['workflow', 'ls'], { env: { CHAINLOOP_TOKEN: 'chl_a_one\nchl_a_two' } });
  assert.deepEqual(broken, {
    code: 2,
    stdout: '',
    stderr: 'ERR CHAINLOOP_TOKEN: that is not a token, which is one word that begins with chl_\n',
  });
  assert.equal((await cli.run(['workflow', 'ls'], { env: { CHAINLOOP_TOKEN: ' chl_a_one\n' } })).code, 75);
});

test('a token or password on the command line is in no message', async () => {
  await using cli = await commandLine({ CHAINLOOP_URL: 'http://robot:hunter2@127.0.0.1:9' });
  const token = 'chl_sa_abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJK';
  for (const args of [
    ['workflow', 'ls'],
    ['workflow', token],
    ['cas-backend', 'add', 'oci', `--pasword=${token}`],
    ['attestation', 'add', '--name', 'x', token],
    ['config', 'set', 'url', `http://u:${token}@127.0.0.1`],
  ]) {
    const ended = await cli.run(args, { env: { CHAINLOOP_TOKEN: token, CHAINLOOP_DEBUG: '1' } });
    assert.notEqual(ended.code, 0);
    assert.ok(!`${ended.stdout}${ended.stderr}`.includes(token), `${args.join(' ')}: ${ended.stderr}`);
    assert.ok(!ended.stderr.includes('hunter2'), ended.stderr);
  }
});

test('an attestation can be tried out from a contract file alone, without any network', async () => {
  await using cli = await commandLine({ CHAINLOOP_URL: 'http://127.0.0.1:9' });
  await writeFile(join(cli.folder, 'contract.yaml'), contract);
  await writeFile(join(cli.folder, 'server.tar'), 'content');
  const key = join(cli.folder, 'k.key');
  assert.equal((await cli.run(['key', 'generate', '--output-key-prefix', join(cli.folder, 'k')])).code, 0);

  const init = await cli.run(['attestation', 'init', '--dry-run', '--contract', 'contract.yaml']);
  assert.equal(init.code, 0, init.stderr);
  assert.match(init.stdout, /│ binary │ ARTIFACT │ No {2}│ Yes {6}│ x {9}│/);

  const early = await cli.run(['attestation', 'push', '--key', key]);
  assert.equal(early.code, 3);
  assert.match(early.stderr, /commit/);
  assert.match(early.stderr, /binary/);

  assert.equal(
    (await cli.run(['attestation', 'add', '--name', 'commit', '--value', 'deadbeef'])).stderr,
    'INF material added to attestation\n',
  );
  assert.equal((await cli.run(['attestation', 'add', '--name', 'binary', '--value', 'server.tar'])).code, 0);
  const push = await cli.run(['attestation', 'push', '--key', key, '--bundle', 'out.sigstore.json']);
  assert.equal(push.code, 0, push.stderr);
  const envelope: { payloadType: string } = JSON.parse(push.stdout);
  assert.equal(envelope.payloadType, 'application/vnd.in-toto+json');

  const verify = ['attestation', 'verify', '--bundle', 'out.sigstore.json', '--key', join(cli.folder, 'k.pub')];
  assert.equal((await cli.run([...verify, 'server.tar'])).code, 0);
  const other = await cli.run([...verify, 'contract.yaml']);
  assert.equal(other.code, 1);
  assert.match(other.stderr, /contract\.yaml/);
  await cli.run(['key', 'generate', '--output-key-prefix', join(cli.folder, 'other')]);
  assert.equal((await cli.run(['attestation', 'verify', '--bundle', 'out.sigstore.json', '--key', 'other.pub'])).code, 1);
});

test('a contract is checked offline, with file, line and column of every problem', async () => {
  await using cli = await commandLine();
  await writeFile(join(cli.folder, 'bad.yaml'), 'schemaVersion: v1\nmaterials:\n  - type: STRNG\n    name: a\nenAllowList: []\n');
  const ended = await cli.run(['workflow', 'contract', 'validate', '-f', 'bad.yaml']);
  assert.equal(ended.code, 2);
  assert.match(ended.stderr, /^ {4}bad\.yaml:3:11: .*STRING/m);
  assert.match(ended.stderr, /^ {4}bad\.yaml:5:1: .*envAllowList/m);
});

test('a key is written for its owner alone, encrypted when there is a password, and never over another', async () => {
  await using cli = await commandLine();
  const generate = ['key', 'generate', '--output-key-prefix', 'release'];
  assert.equal((await cli.run(generate, { env: { CHAINLOOP_SIGNING_PASSWORD: 'correct horse' } })).code, 0);
  const pem = await readFile(join(cli.folder, 'release.key'), 'utf8');
  assert.match(pem, /^-----BEGIN ENCRYPTED PRIVATE KEY-----/);
  assert.equal((await stat(join(cli.folder, 'release.key'))).mode & 0o777, 0o600);
  assert.equal((await cli.run(generate)).code, 6);
  assert.equal(await readFile(join(cli.folder, 'release.key'), 'utf8'), pem);
});

test('the configuration is kept for its owner alone, and another URL forgets token and organization', async () => {
  await using cli = await commandLine();
  assert.equal((await cli.run(['config', 'set', 'url', 'https://chainloop.test'])).code, 0);
  assert.equal((await cli.run(['config', 'set', 'organization', 'acme'])).code, 0);
  const path = join(cli.folder, 'config', 'chainloop', 'config.json');
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.deepEqual(JSON.parse((await cli.run(['config', 'show', '--output', 'json'])).stdout), {
    file: path,
    url: 'https://chainloop.test',
    organization: 'acme',
    token: 'none',
  });
  await cli.run(['config', 'set', 'url', 'https://other.test']);
  assert.deepEqual(JSON.parse(await readFile(path, 'utf8')), { url: 'https://other.test' });
});

test('a token that is kept for one control plane is not used with another', async () => {
  await using cli = await commandLine();
  await mkdir(join(cli.folder, 'config', 'chainloop'), { recursive: true });
  const config = { url: 'http://127.0.0.1:9', token: 'chl_a_x', organization: 'acme' };
  await writeFile(join(cli.folder, 'config', 'chainloop', 'config.json'), JSON.stringify(config));
  const shown = await cli.run(['config', 'show', '--output', 'json', '--url', 'http://127.0.0.1:10']);
  assert.deepEqual(JSON.parse(shown.stdout), {
    file: join(cli.folder, 'config', 'chainloop', 'config.json'),
    url: 'http://127.0.0.1:10',
    organization: null,
    token: 'none',
  });
});

for (const [exit, why, args, env] of [
  [0, 'done', ['version'], {}],
  [2, 'usage', ['workflow', 'ls', '--nope'], {}],
  [2, 'no command', ['workflow'], {}],
  [2, 'no file', ['workflow', 'contract', 'validate', '-f', 'missing.yaml'], {}],
  [5, 'no token', ['workflow', 'ls'], {}],
  [75, 'no control plane', ['workflow', 'ls'], { CHAINLOOP_URL: 'http://127.0.0.1:9', CHAINLOOP_TOKEN: 'chl_a_x' }],
] as const) {
  test(`exit code ${exit}: ${why}`, async () => {
    await using cli = await commandLine();
    const ended = await cli.run(args, { env });
    assert.equal(ended.code, exit, ended.stderr);
  });
}

for (const shell of ['bash', 'zsh', 'fish']) {
  test(`the ${shell} completion knows every noun, verb and option`, async () => {
    await using cli = await commandLine();
    const ended = await cli.run(['completion', shell]);
    assert.equal(ended.code, 0, ended.stderr);
    for (const word of ['cas-backend', 'whoami', '--contract-revision']) assert.ok(ended.stdout.includes(word), word);
    // Where the shell is: most machines have only one of the three.
    if (existsSync(`/bin/${shell}`)) assert.equal(spawnSync(shell, ['-n'], { input: ended.stdout }).status, 0);
  });
}

test('bash completes commands, options and files', async (t) => {
  if (!existsSync('/bin/bash')) return t.skip('bash is not installed');
  await using cli = await commandLine();
  const script = (await cli.run(['completion', 'bash'])).stdout;
  const complete = (...words: readonly string[]) =>
    spawnSync('bash', [
      '-c',
      `${script}\nCOMP_WORDS=(chainloop ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}; _chainloop; echo "\${COMPREPLY[*]}"`,
    ])
      .stdout.toString()
      .trim();
  assert.equal(complete('work'), 'workflow');
  assert.equal(complete('workflow', 'contract', 'val'), 'validate');
  assert.equal(complete('att', 'add', '--registry-u'), '--registry-username');
  assert.equal(complete('attestation', 'add', '--value', './fi'), '');
});
