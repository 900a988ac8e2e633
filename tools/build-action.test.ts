import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempDisposable, readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'action', 'dist');

async function filesOf(folder: string): Promise<ReadonlyMap<string, Buffer>> {
  const entries = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const paths = entries.map(({ parentPath, name }) => join(parentPath, name)).sort();
  return new Map(await Promise.all(paths.map(async (path) => [path.slice(folder.length + 1), await readFile(path)] as const)));
}

test('S16: the committed bundle of the Action is, byte for byte, what its sources give', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-action-'));
  const rebuilt = join(folder.path, 'dist');
  const ended = spawnSync(process.execPath, [join(root, 'tools', 'build-action.ts'), rebuilt]);
  assert.equal(ended.status, 0, ended.stderr.toString());
  const [expected, committed] = await Promise.all([filesOf(rebuilt), filesOf(dist)]);
  const differing = [...new Set([...expected.keys(), ...committed.keys()])].filter((name) => {
    const [a, b] = [expected.get(name), committed.get(name)];
    return a === undefined || b === undefined || !a.equals(b);
  });
  assert.deepEqual(differing, [], 'run: npm run build:action, and commit action/dist');
});

test('nothing in the bundle names a path of the machine that built it', async () => {
  for (const [name, bytes] of await filesOf(dist)) assert.ok(!bytes.includes(root), name);
});

test('the licences of everything that is bundled are passed on, and of nothing else', async () => {
  const text = await readFile(join(dist, 'licenses.txt'), 'utf8');
  for (const name of ['@actions/core', '@actions/github', 'zod', '@trpc/client', 'ajv', '@cyclonedx/cyclonedx-library', '@sigstore/verify'])
    assert.match(text, new RegExp(`^${name} \\d`, 'm'));
  for (const name of ['undici', 'tunnel', '@octokit/core', 'commander', 'pg', 'hono'])
    assert.doesNotMatch(text, new RegExp(`^${name} \\d`, 'm'));
});

test('G9: a start loads one file, with no more than inputs and report need; the bundle is below 1 MB', async () => {
  const files = await filesOf(dist);
  const scripts = [...files].filter(([name]) => name.endsWith('.js'));
  const sizeBytes = scripts.reduce((sum, [, bytes]) => sum + bytes.length, 0);
  assert.ok(sizeBytes < 1_000_000, `${sizeBytes} bytes`);
  const eager = new Set<string>();
  const load = (name: string): void => {
    if (eager.has(name)) return;
    eager.add(name);
    const text = files.get(name)?.toString('utf8') ?? '';
    for (const [, next = ''] of text.matchAll(/(?:from|import)"\.\/([^"]+)"/g)) load(next);
  };
  load('main.js');
  const eagerBytes = [...eager].reduce((sum, name) => sum + (files.get(name)?.length ?? 0), 0);
  assert.ok(eager.size === 2 && eagerBytes < 50_000, `${eagerBytes} bytes in ${[...eager].join(', ')}`);
  const text = [...eager].map((name) => files.get(name)?.toString('utf8') ?? '').join('');
  assert.doesNotMatch(text, /\bfrom"[a-z]/, 'an import of a module of Node loads all of it, whatever is used');
  assert.doesNotMatch(text, /process\.stdout\.write/, 'a stream loads node:net');
});
