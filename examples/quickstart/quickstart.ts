import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import * as z from 'zod';
import { writeImageLayout } from './image.ts';

// The whole product in one run: a control plane on its embedded defaults, an operator, a CI job, a verifier without a server.
// Every command below is one that you can type; each is a process of its own.

const project = join(import.meta.dirname, '..', '..');
const cli = join(project, 'bin', 'chainloop.js');
const startedAt = performance.now();
const home = await mkdtemp(join(tmpdir(), 'chainloop-quickstart-'));
const release = join(home, 'release');
await mkdir(release);

type Answer = { readonly stdout: string };

/** Runs a command to its end, showing it and what it prints. Throws when it fails. */
async function run(
  program: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; shown?: string; quiet?: boolean } = {},
): Promise<Answer> {
  process.stdout.write(`\n$ ${options.shown ?? [program, ...args].join(' ')}\n`);
  const child = spawn(program, args, {
    cwd: project,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    shell: process.platform === 'win32' && program === 'npm',
  });
  let stdout = '';
  child.stdout.on('data', (piece: Buffer) => {
    stdout += piece.toString();
    if (options.quiet !== true) process.stdout.write(piece);
  });
  child.stderr.on('data', (piece: Buffer) => process.stdout.write(piece));
  const [code]: unknown[] = await once(child, 'close');
  if (code !== 0) throw new Error(`${options.shown ?? program} ended with exit code ${String(code)}`);
  return { stdout };
}

const chainloop =
  (env: NodeJS.ProcessEnv) =>
  (args: readonly string[], options: { quiet?: boolean } = {}) =>
    run(process.execPath, [cli, ...args], { env, shown: `chainloop ${args.join(' ').replaceAll(home, '$TMP')}`, ...options });

function say(text: string): void {
  process.stdout.write(`\n── ${text} ${'─'.repeat(Math.max(0, 74 - text.length))}\n`);
}

/** Starts the control plane as a process and waits until it answers. */
async function startServer(): Promise<{ url: string; child: ChildProcess }> {
  const args = ['server', '--listen', '127.0.0.1:0', '--data-dir', join(home, 'data')];
  process.stdout.write('\n$ chainloop server --listen 127.0.0.1:0 --data-dir $TMP/data\n');
  const { DATABASE_URL: _, ...env } = process.env;
  const child = spawn(process.execPath, [cli, ...args], {
    cwd: home,
    env: { ...env, CHAINLOOP_LOG_LEVEL: 'warn' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const url = await new Promise<string>((resolve, reject) => {
    let text = '';
    const look = (piece: Buffer) => {
      process.stdout.write(piece);
      text += piece.toString();
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(text);
      if (found !== null) resolve(found[0]);
    };
    child.stdout.on('data', look);
    child.stderr.on('data', look);
    child.once('exit', (code) => reject(new Error(`the server ended with exit code ${code}`)));
  });
  return { url, child };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}

const CreatedToken = z.object({ token: z.string() });
const Packed = z.array(z.object({ filename: z.string() })).length(1);

let server: ChildProcess | undefined;
try {
  say('1. The control plane: one process, nothing else to install');
  const started = await startServer();
  server = started.child;
  // Nothing of the caller's own set-up leaks in: the quickstart has its own configuration and state folders.
  const base: NodeJS.ProcessEnv = {
    CHAINLOOP_URL: started.url,
    CHAINLOOP_STATE_DIR: join(home, 'state'),
    XDG_CONFIG_HOME: join(home, 'config'),
    CHAINLOOP_TOKEN: '',
    CHAINLOOP_ORGANIZATION: 'acme',
    CHAINLOOP_SIGNING_KEY: '',
    CHAINLOOP_SIGNING_PASSWORD: '',
  };
  const ownerToken = (await readFile(join(home, 'data', 'owner-token'), 'utf8')).trim();
  const operator = chainloop({ ...base, CHAINLOOP_TOKEN: ownerToken });

  say('2. The operator: what must a release bring?');
  await operator(['org', 'create', '--name', 'acme']);
  await operator(['workflow', 'contract', 'create', '--name', 'release', '-f', 'examples/quickstart/contract.yaml']);
  await operator(['workflow', 'create', '--name', 'release', '--project', 'chainloop', '--team', 'core', '--contract', 'release']);
  const account = await operator(
    ['service-account', 'create', '--workflow', 'release', '--project', 'chainloop', '--name', 'ci', '--output', 'json'],
    { quiet: true }, // it carries the token
  );
  const jobToken = CreatedToken.parse(JSON.parse(account.stdout)).token;
  process.stdout.write('(the token goes into the secrets of the CI system)\n');

  say('3. The build: a release of this repository');
  const packed = await run('npm', ['pack', '--json', '--loglevel=error', '--pack-destination', release], {
    shown: 'npm pack --pack-destination $TMP/release',
    quiet: true,
  });
  const tarball = join(release, Packed.parse(JSON.parse(packed.stdout.slice(packed.stdout.indexOf('[\n'))))[0]?.filename ?? '');
  const sbom = await run('npm', ['sbom', '--sbom-format', 'cyclonedx', '--omit', 'dev', '--loglevel=error'], {
    shown: 'npm sbom --sbom-format cyclonedx --omit dev > $TMP/release/sbom.cdx.json',
    quiet: true,
  });
  await writeFile(join(release, 'sbom.cdx.json'), sbom.stdout);
  const image = join(release, 'image');
  await writeImageLayout(image, await readFile(tarball), 'v1');
  const commit = await run('git', ['rev-parse', 'HEAD']).then(
    (answer) => answer.stdout.trim(),
    () => 'unknown: not a git checkout',
  );

  say('4. The CI job: init, add, push. No signing key, no access to the registry');
  const job = chainloop({ ...base, CHAINLOOP_TOKEN: jobToken });
  await job(['attestation', 'init']);
  await job(['attestation', 'add', '--name', 'package', '--value', tarball]);
  await job(['attestation', 'add', '--name', 'sbom', '--value', join(release, 'sbom.cdx.json')]);
  await job(['attestation', 'add', '--name', 'commit', '--value', commit]);
  await job(['attestation', 'add', '--name', 'image', '--value', `oci:${image}:v1`]);
  await job(['attestation', 'status', '--full']);
  await job(['attestation', 'push', '--bundle', join(home, 'release.sigstore.json')], { quiet: true });

  say('5. The operator sees it');
  await operator(['workflow', 'ls']);
  await operator(['workflow', 'run', 'ls']);
  await operator(['workflow', 'run', 'describe', '--latest']);

  say('6. Anybody who may, downloads the evidence');
  const digest = `sha256:${await sha256(tarball)}`;
  const downloads = join(home, 'downloads');
  await mkdir(downloads);
  await operator(['artifact', 'download', '-d', digest, '--path', downloads]);
  const [built, downloaded] = await Promise.all([readFile(tarball), readFile(join(downloads, basename(tarball)))]);
  if (!built.equals(downloaded)) throw new Error('the download differs from what was built');
  process.stdout.write(`${basename(tarball)}: ${built.length} bytes, the same byte for byte\n`);

  say('7. Whoever verifies pins the authorities, once');
  const trustRoot = join(home, 'trusted-root.json');
  await chainloop(base)(['trust-root', 'export', '--output', trustRoot]);

  say('8. The control plane stops. Three files and no network are enough to verify');
  await stop(server);
  await chainloop({ ...base, CHAINLOOP_URL: 'http://127.0.0.1:9' })([
    ...['attestation', 'verify', '--bundle', join(home, 'release.sigstore.json'), '--trust-root', trustRoot],
    ...['--identity', `${started.url}/organizations/acme/projects/chainloop/workflows/release/service-accounts/ci`, tarball],
  ]);

  process.stdout.write(`
Done in ${((performance.now() - startedAt) / 1000).toFixed(1)} s. Next:

  npm start                         a control plane that keeps its data, on http://127.0.0.1:8080
  docs/contract.md                  what a contract can ask for
  docs/federation.md                GitHub and GitLab without any secret
  examples/quickstart/contract.yaml the contract that you just satisfied
  npx chainloop --help              every command, with examples
`);
} finally {
  if (server !== undefined) await stop(server);
  await rm(home, { recursive: true, force: true });
}

async function sha256(path: string): Promise<string> {
  const { createHash } = await import('node:crypto');
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}
