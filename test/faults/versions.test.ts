import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtempDisposable, readFile, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import * as z from 'zod';
import { startInstalledServer } from '../fakes/installed-server.ts';
import { run } from '../fakes/process.ts';
import { isLong, record } from './reliability.ts';

// Real older versions, from the history of this repository. In the long form alone: what CI clones has no history.

const root = join(import.meta.dirname, '..', '..');
const versions = [
  { commit: '21076dc0efeaf844f643ac8179f6eb0809a41a07', age: 'with the database of the last release' },
  { commit: 'b2d614321491dbc36bb49b3850da0c3f972941a3', age: 'from before people logged in' },
];

/** The program of an older version: its sources, with the packages of this one. */
async function older(commit: string, folder: string): Promise<string> {
  await mkdir(folder);
  const archive = join(folder, 'sources.tar');
  const run = promisify(execFile);
  await run('git', ['archive', '--output', archive, commit], { cwd: root }).catch((cause: unknown) => {
    throw new Error(`version ${commit} is not in this clone; get its history with: git fetch --unshallow`, { cause });
  });
  await run('tar', ['-xf', archive, '-C', folder]);
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  return join(folder, 'bin', 'chainloop.js');
}

const contract = 'schemaVersion: v1\nmaterials:\n  - type: ARTIFACT\n    name: binary\n    output: true\n';

/** Everything from an empty control plane to evidence that is read back, all by one command line. */
async function journey(cli: string, server: string, folder: string): Promise<void> {
  await using plane = await startInstalledServer({ bin: server });
  await mkdir(folder);
  const command = async (args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
    (await run({ program: process.execPath, args: [cli, ...args], cwd: folder, env: { ...plane.env, ...env } })).stdout;
  await writeFile(join(folder, 'contract.yaml'), contract);
  const artifact = join(folder, 'app.bin');
  await writeFile(artifact, 'what is released');
  await command(['workflow', 'contract', 'create', '--name', 'release', '-f', 'contract.yaml']);
  await command(['workflow', 'create', '--name', 'release', '--project', 'app', '--contract', 'release']);
  const account = await command([
    'service-account',
    'create',
    '--workflow',
    'release',
    '--project',
    'app',
    '--name',
    'ci',
    '--output',
    'json',
  ]);
  const job = { CHAINLOOP_TOKEN: z.object({ token: z.string() }).parse(JSON.parse(account)).token };
  await command(['attestation', 'init'], job);
  await command(['attestation', 'add', '--name', 'binary', '--value', artifact], job);
  await command(['attestation', 'push', '--bundle', 'bundle.json'], job);
  await command(['trust-root', 'export', '--output', 'root.json']);
  const identity = `${plane.url}/organizations/acme/projects/app/workflows/release/service-accounts/ci`;
  await command(['attestation', 'verify', '--bundle', 'bundle.json', '--trust-root', 'root.json', '--identity', identity]);
  assert.match(await command(['workflow', 'run', 'ls', '--output', 'json']), /"success"/);
  await mkdir(join(folder, 'back'));
  const digest = z.string().parse(/sha256:[0-9a-f]{64}/.exec(await command(['artifact', 'upload', '-f', artifact]))?.[0]);
  await command(['artifact', 'download', '--digest', digest, '--path', 'back']);
  assert.equal(await readFile(join(folder, 'back', 'app.bin'), 'utf8'), 'what is released');
}

if (isLong) {
  for (const { commit, age } of versions) {
    test(`F13: a command line ${age} works with this control plane, and this one with a control plane ${age}`, async (t) => {
      await using scratch = await mkdtempDisposable(join(tmpdir(), 'chainloop-versions-'));
      const old = await older(commit, join(scratch.path, 'older'));
      const now = join(root, 'bin', 'chainloop.js');
      await journey(old, now, join(scratch.path, 'old-cli'));
      await journey(now, old, join(scratch.path, 'old-server'));
      record(t, {
        fault: 'F13',
        what: `a command line ${age} (${commit.slice(0, 7)}) at this control plane, and the other way around: from a contract to evidence that is verified and read back`,
        trials: 2,
        sees: 'nothing',
        stored: 'the run, its attestation and its evidence',
      });
    });
  }
}
