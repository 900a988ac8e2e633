import { mkdir, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestOf, hexOf } from '../../core/digest.ts';
import { commandLine } from '../fakes/command-line.ts';
import { startFaultProxy } from '../fakes/fault-proxy.ts';
import { refused, startWorkplace, succeeded, type Workplace } from '../fakes/workplace.ts';

// Evidence that somebody or something changed in storage, and a control plane that is away while evidence is sent.

const contract = 'schemaVersion: v1\nmaterials:\n  - { type: ARTIFACT, name: binary, output: true }\n';
const content = 'the evidence';
const digest = digestOf(content);
const add = ['add', '--name', 'binary', '--value', 'app.bin'];
const job = (work: Workplace, ...args: readonly string[]) => work.line.run(['attestation', ...args], { env: work.job });
const download = (work: Workplace) => work.line.run(['artifact', 'download', '-d', digest, '--path', 'copy'], { env: work.operator });
const blobOf = (work: Workplace) => join(work.plane.dataDir, 'storage', 'acme', 'blobs', 'sha256', hexOf(digest));

for (const [name, damage] of [
  ['other bytes of another size', 'evil\n'],
  ['as many other bytes', 'THE EVIDENCE'],
  ['nothing', ''],
] as const) {
  test(`evidence that was replaced by ${name} makes no success, is told apart from a lost connection, and is mended by the same add`, async () => {
    await using work = await startWorkplace({ contract });
    await work.write('app.bin', content);
    await mkdir(join(work.line.folder, 'copy'));
    succeeded(await job(work, 'init'));
    succeeded(await job(work, ...add));
    await writeFile(blobOf(work), damage);
    refused(await job(work, 'push'), 1, /'binary'.* is not in storage; add it again with: chainloop attestation add/);
    refused(await download(work), 1, /changed on disk/);
    succeeded(await job(work, ...add));
    succeeded(await job(work, 'push'));
    succeeded(await download(work));
  });
}

test('bytes that the disk changed by itself are found by whoever reads them, and mended by the same upload', async () => {
  await using work = await startWorkplace({ contract });
  await work.write('app.bin', content);
  await mkdir(join(work.line.folder, 'copy'));
  const upload = () => work.line.run(['artifact', 'upload', '-f', 'app.bin'], { env: work.operator });
  succeeded(await upload());
  const { atime, mtime } = await stat(blobOf(work));
  await writeFile(blobOf(work), 'THE EVIDENCE');
  await utimes(blobOf(work), atime, mtime);
  const downloaded = await work.line.run(['artifact', 'download', '-d', digest, '--path', 'copy'], {
    env: { ...work.operator, CHAINLOOP_RETRY_SECONDS: '10' },
  });
  refused(downloaded, 1, /changed on disk/);
  succeeded(await upload());
  succeeded(await download(work));
});

test('evidence is sent for as long as CHAINLOOP_RETRY_SECONDS says, and the control plane is called by its name', async () => {
  await using work = await startWorkplace({ contract });
  await using proxy = await startFaultProxy({ target: work.plane.url });
  await using line = await commandLine({ CHAINLOOP_URL: proxy.origin, CHAINLOOP_TOKEN: work.operatorToken });
  await writeFile(join(line.folder, 'app.bin'), content);
  const upload = (seconds: string) => line.run(['artifact', 'upload', '-f', 'app.bin'], { env: { CHAINLOOP_RETRY_SECONDS: seconds } });
  proxy.inject({ type: 'status', status: 503, path: /\/blobs\/uploads/, times: 1 });
  refused(await upload('0'), 75, /control plane 127\.0\.0\.1:\d+: upload of app\.bin failed \(503\); it is in trouble: try again later/);
  proxy.inject({ type: 'status', status: 503, path: /\/blobs\/uploads/, times: 6 });
  succeeded(await upload('30'));
});
