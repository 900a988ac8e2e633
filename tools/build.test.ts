import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

// The package as npm would install it: bin/, dist/ and package.json, with the dependencies beside, and no sources.

const root = join(import.meta.dirname, '..');
const folder = await mkdtemp(join(tmpdir(), 'chainloop-build-'));
const installed = join(folder, 'node_modules', 'chainloop');
after(() => rm(folder, { recursive: true, force: true }));

function build(outdir: string): void {
  const ended = spawnSync(process.execPath, [join(root, 'tools', 'build.ts'), outdir]);
  assert.equal(ended.status, 0, ended.stderr.toString());
}

before(async () => {
  await mkdir(installed, { recursive: true });
  build(join(installed, 'dist'));
  await cp(join(root, 'bin'), join(installed, 'bin'), { recursive: true });
  await cp(join(root, 'package.json'), join(installed, 'package.json'));
  for (const name of await readdir(join(root, 'node_modules'))) {
    if (!name.startsWith('.')) await symlink(join(root, 'node_modules', name), join(folder, 'node_modules', name));
  }
});

async function contents(path: string): Promise<readonly (readonly [string, string])[]> {
  const names = (await readdir(path, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const files = names.map(async ({ parentPath, name }) => {
    const file = join(parentPath, name);
    return [file.slice(path.length), (await readFile(file)).toString('base64')] as const;
  });
  return (await Promise.all(files)).sort(([a], [b]) => (a < b ? -1 : 1));
}

function chainloop(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const ended = spawnSync(process.execPath, [join(installed, 'bin', 'chainloop.js'), ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: folder, CHAINLOOP_RETRY_SECONDS: '0', ...env },
  });
  return { code: ended.status, stdout: ended.stdout.toString(), stderr: ended.stderr.toString() };
}

test('the same sources give the same bytes', async () => {
  const again = join(folder, 'again');
  build(again);
  assert.deepEqual(await contents(again), await contents(join(installed, 'dist')));
});

test('nothing in the bundle names a path of the machine that built it', async () => {
  for (const [name, base64] of await contents(join(installed, 'dist'))) {
    assert.ok(!Buffer.from(base64, 'base64').includes(root), name);
  }
});

test('the licences of everything that is bundled are passed on', async () => {
  const text = await readFile(join(installed, 'dist', 'LICENSES.txt'), 'utf8');
  for (const name of ['commander', 'zod', '@trpc/client', 'hono', 'pg', 'yaml']) assert.match(text, new RegExp(`^${name} \\d`, 'm'));
});

test('the package says its version', () => {
  const { version }: { version: string } = JSON.parse(chainloop(['version', '--output', 'json']).stdout);
  assert.equal(chainloop(['--version']).stdout, `${version}\n`);
});

test('the package serves: migrations, the CUE process and the embedded database are found', async () => {
  const args = [join(installed, 'bin', 'chainloop.js'), 'server', '--listen', '127.0.0.1:0', '--data-dir', join(folder, 'data')];
  const env = { PATH: process.env.PATH, HOME: folder, CHAINLOOP_LOG_LEVEL: 'warn' };
  const child = spawn(process.execPath, args, { cwd: folder, env, stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const CHAINLOOP_URL = await urlOf(child);
    const CHAINLOOP_TOKEN = (await readFile(join(folder, 'data', 'owner-token'), 'utf8')).trim();
    const owner = { CHAINLOOP_URL, CHAINLOOP_TOKEN, CHAINLOOP_ORGANIZATION: 'acme' };
    assert.equal(chainloop(['org', 'create', '--name', 'acme'], owner).code, 0);
    await writeFile(join(folder, 'contract.cue'), 'schemaVersion: "v1", materials: [{ type: "STRING", name: "commit" }]');
    const created = chainloop(['workflow', 'contract', 'create', '--name', 'release', '-f', 'contract.cue'], owner);
    assert.equal(created.code, 0, created.stderr);
  } finally {
    child.kill('SIGTERM');
    const [code]: unknown[] = await once(child, 'exit');
    assert.equal(code, 0);
  }
});

async function urlOf(child: ChildProcess): Promise<string> {
  let text = '';
  for await (const piece of child.stdout ?? []) {
    text += String(piece);
    const [url] = /http:\/\/127\.0\.0\.1:\d+/.exec(text) ?? [];
    if (url !== undefined && text.includes('Next')) return url;
  }
  throw new Error(`the server did not start: ${text}`);
}
