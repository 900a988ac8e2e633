import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtempDisposable, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { startRegistry } from '../fakes/docker-registry.ts';
import { startPostgres } from '../fakes/postgres.ts';
import { refused, snapshot, startWorkplace, succeeded, type Workplace } from '../fakes/workplace.ts';
import { needs } from '../needs.ts';
import { record } from './reliability.ts';

// F7: a disk that is full, in each of the places that bytes are written to. A small file system in memory stands for it.

const contract = 'schemaVersion: v1\nmaterials:\n  - { type: ARTIFACT, name: binary, output: true }\n';
const sizeMiB = 24;
const tooLarge = (sizeMiB + 8) * 1024 * 1024;

/** A file system of that size at a folder; undefined, and the test skipped, where it cannot be mounted. */
async function smallDisk(t: TestContext, path: string, ofMiB = sizeMiB) {
  await mkdir(path, { recursive: true });
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${ofMiB}m,mode=0700`, 'tmpfs', path], { stdio: 'ignore' }).status === 0;
  if (!mounted) {
    t.skip('a small file system cannot be mounted here: that takes root, and a kernel that lets it');
    return undefined;
  }
  const filler = join(path, 'filler');
  return {
    /** Leaves nothing. */
    fill: () => writeFile(filler, Buffer.alloc(2 * ofMiB * 1024 * 1024)).catch(() => undefined),
    free: () => rm(filler),
    async [Symbol.asyncDispose]() {
      spawnSync('umount', ['-l', path]);
    },
  };
}

const job = (work: Workplace, ...args: readonly string[]) => work.line.run(['attestation', ...args], { env: work.job });
const add = ['add', '--name', 'binary', '--value', 'app.bin'];

test('F7: a full disk of the server refuses evidence, keeps nothing of it, and takes it when there is room', async (t) => {
  await using work = await startWorkplace({ contract });
  await using disk = await smallDisk(t, join(work.plane.dataDir, 'storage'));
  if (disk === undefined) return;
  succeeded(await job(work, 'init'));
  const state = await snapshot(join(work.line.folder, 'state'));
  await work.write('app.bin', randomBytes(tooLarge));
  refused(await job(work, ...add), 1, /'binary'/, /no space/);
  assert.deepEqual(await snapshot(join(work.line.folder, 'state')), state);
  await work.write('app.bin', randomBytes(sizeMiB * 512 * 1024));
  // What was refused takes no room any more.
  succeeded(await job(work, ...add));
  succeeded(await job(work, 'push'));
  // It writes its index when it ends, and the disk goes first.
  await work.plane.close();
  record(t, {
    fault: 'F7',
    what: "the disk of the server's evidence is full",
    trials: 1,
    sees: 'exit 1, DISK_FULL: no space left',
    stored: 'nothing of it, and its space is free again; smaller evidence, and the same later, is taken',
  });
});

test('F7: a full disk of the job keeps the old state of its attestation, and goes on when there is room', async (t) => {
  await using work = await startWorkplace({ contract });
  await using disk = await smallDisk(t, join(work.line.folder, 'state'));
  if (disk === undefined) return;
  succeeded(await job(work, 'init'));
  await work.write('app.bin', 'the program');
  await disk.fill();
  const before = await job(work, 'status', '--output', 'json');
  refused(await job(work, ...add), 1, /no space left/, /make room/);
  assert.equal((await job(work, 'status', '--output', 'json')).stdout, before.stdout);
  await disk.free();
  succeeded(await job(work, ...add));
  await disk.fill();
  refused(await job(work, 'push'), 1, /no space left/, /make room/);
  await disk.free();
  succeeded(await job(work, 'push'));
  const { items } = await work.api.run.list.query({});
  assert.deepEqual(
    items.map((run) => run.state),
    ['success'],
  );
  record(t, {
    fault: 'F7',
    what: 'the temporary disk of the job is full, at add and at push',
    trials: 2,
    sees: 'exit 1, DISK_FULL: make room, and try again',
    stored: 'the old state of the attestation; the same commands finish it as one success',
  });
});

test('F7: a download onto a full disk leaves nothing behind, and works when there is room', async (t) => {
  await using work = await startWorkplace({ contract });
  const target = join(work.line.folder, 'target');
  await using disk = await smallDisk(t, target);
  if (disk === undefined) return;
  await work.write('app.bin', randomBytes(sizeMiB * 512 * 1024));
  const operator = (...args: readonly string[]) => work.line.run(args, { env: work.operator });
  const { digest }: { digest: string } = JSON.parse(succeeded(await operator('artifact', 'upload', '-f', 'app.bin', '--output', 'json')));
  await disk.fill();
  refused(await operator('artifact', 'download', '-d', digest, '--path', target), 1, /no space left/, /make room/);
  assert.deepEqual(await readdir(target), ['filler']);
  await disk.free();
  succeeded(await operator('artifact', 'download', '-d', digest, '--path', target));
  assert.deepEqual(await readdir(target), ['app.bin']);
  record(t, {
    fault: 'F7',
    what: 'the disk that a download goes to is full',
    trials: 1,
    sees: 'exit 1, DISK_FULL: make room, and try again',
    stored: 'no file, no part of one',
  });
});

test("F7: a full disk of the organization's registry refuses evidence, and takes it when there is room", async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using work = await startWorkplace({ contract });
  const dataDir = join(work.line.folder, 'registry');
  await using disk = await smallDisk(t, dataDir);
  if (disk === undefined) return;
  await using registry = await startRegistry({ dataDir });
  const backend = ['cas-backend', 'add', 'oci', '--name', 'registry', '--repo', `${registry.host}/evidence`, '--insecure'];
  succeeded(await work.line.run(backend, { env: work.operator }));
  succeeded(await job(work, 'init'));
  await work.write('app.bin', randomBytes(sizeMiB * 512 * 1024));
  await disk.fill();
  const ended = await job(work, ...add);
  assert.ok(ended.code === 1 || ended.code === 75, ended.stderr);
  refused(ended, ended.code, /'binary'/, /no space left|try again/);
  await disk.free();
  succeeded(await job(work, ...add));
  succeeded(await job(work, 'push'));
  record(t, {
    fault: 'F7',
    what: 'the disk of the registry is full (docker-registry)',
    trials: 1,
    sees: `exit ${ended.code}: no space left, or try again`,
    stored: 'nothing; the same command stores it when there is room',
  });
});

test('F7: a full disk of PostgreSQL loses nothing that was acknowledged, ends no process, and goes on when there is room', {
  timeout: 240_000,
}, async (t) => {
  if (!needs(t, 'postgresql')) return;
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-full-database-'));
  await chmod(folder.path, 0o755);
  await using disk = await smallDisk(t, join(folder.path, 'disk'), 200);
  if (disk === undefined) return;
  await chmod(join(folder.path, 'disk'), 0o755);
  await using postgres = await startPostgres({ fsync: true, folder: join(folder.path, 'disk') });
  await using work = await startWorkplace({ contract, database: { databaseUrl: postgres.url } });
  await work.write('app.bin', 'the program');
  const attest = async () => {
    succeeded(await job(work, 'init'));
    succeeded(await job(work, ...add));
    succeeded(await job(work, 'push'));
  };
  await attest();
  succeeded(await job(work, 'init'));
  succeeded(await job(work, ...add));
  await disk.fill();
  // More than fits into pages that are there already.
  const rows = Array.from(
    { length: 150 },
    (_, n) =>
      `  - { type: ARTIFACT, name: m${n}, optional: true, annotations: [{ name: a, value: "${randomBytes(200).toString('hex')}" }] }`,
  );
  await work.write('large.yaml', `schemaVersion: v1\nmaterials:\n${rows.join('\n')}\n`);
  const large = ['workflow', 'contract', 'create', '--name', 'large', '-f', 'large.yaml'];
  refused(await work.line.run(large, { env: work.operator }), 1, /no space left/);
  const ended = await job(work, 'push');
  if (ended.code !== 0) refused(ended, ended.code ?? -1, /no space left|again/);
  await disk.free();
  succeeded(await work.line.run(large, { env: work.operator }));
  if (ended.code !== 0) succeeded(await job(work, 'push'));
  await attest();
  const { items } = await work.api.run.list.query({});
  assert.deepEqual(
    items.map((run) => run.state),
    ['success', 'success', 'success'],
  );
  record(t, {
    fault: 'F7',
    what: 'the disk of PostgreSQL is full when a contract is created',
    trials: 1,
    sees: 'exit 1, DISK_FULL: no space left',
    stored: 'nothing of it, and what was acknowledged before; the same command stores it when there is room',
    figure: `a push meanwhile ended with ${ended.code}: what fits into pages that are there is still taken`,
  });
});
