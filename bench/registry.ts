import { existsSync } from 'node:fs';
import { mkdtempDisposable, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { files } from '../core/adapters/files.ts';
import { startRegistry } from '../test/fakes/docker-registry.ts';
import { type InstalledServer, startInstalledServer } from '../test/fakes/installed-server.ts';
import { peakOf, resetPeak } from '../test/fakes/process.ts';
import { bundled } from './bundled.ts';
import { type Context, type Group, missing, openPostgres, part } from './context.ts';
import { changeFile, large, largeBytes, randomFile, writeLayout } from './files.ts';
import { paired, pairs, rounds, spread, timed } from './measure.ts';
import { compared, type Row } from './report.ts';
import { cli } from './upload.ts';

/** G4 and G5: bytes to a registry, by us and by others. */
export const registry: Group = async function* (context) {
  await using postgres = await openPostgres();
  await using server = await startInstalledServer({ bin: context.installed.bin, databaseUrl: await postgres?.createDatabase() });
  yield* part('G4', toRegistry(context, server));
  yield* part('G5', manyBlobs(context));
};

/** G4: docker-registry in memory, by three ways. */
async function* toRegistry({ home, quick, runs, installed }: Context, server: InstalledServer): AsyncGenerator<Row> {
  const size = large({ quick });
  const name = `G4 upload ${size} to docker-registry in memory`;
  const absent = missing('docker-registry', 'skopeo', 'curl');
  if (absent.length > 0) return yield { type: 'skipped', name, missing: absent };
  const file = join(home, 'upload');
  await randomFile(file, largeBytes({ quick }));
  await using data = await mkdtempDisposable(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'chainloop-bench-'));
  await using registry = await startRegistry({ dataDir: data.path });
  await server.cli(['cas-backend', 'add', 'oci', '--name', 'main', '--repo', `${registry.host}/evidence`, '--insecure']);
  const before = async () => {
    await changeFile(file);
    await rm(join(data.path, 'docker'), { recursive: true, force: true });
  };
  const layout = join(home, 'layout');
  const direct = timed({ program: process.execPath, args: [await bundled('upload', home), registry.origin, 'direct', file] }, { before });
  const gateway = timed(cli(installed.bin, server, 'artifact', 'upload', '-f', file), { before });
  const skopeo = timed(skopeoCopy(layout, registry.host), {
    before: async () => {
      await before();
      await writeLayout(layout, [file]);
    },
  });
  const put = `curl -sSf -T '${file}' -H 'expect:' -H 'content-type: application/octet-stream'`;
  const opened = `curl -sSf -o /dev/null -w '%header{location}' -X POST '${registry.origin}/v2/curl/blobs/uploads/'`;
  let digest = '';
  const curl = timed(() => ({ program: 'sh', args: ['-c', `${put} "$(${opened})&digest=${digest}"`] }), {
    before: async () => {
      await before();
      await using source = await files.open(file);
      digest = await source.digest();
    },
  });
  resetPeak(server.pid);
  const [ours, through, theirs, floor] = await rounds(runs.long, [direct, gateway, skopeo, curl]);
  const unit = 's';
  yield compared(name, paired(ours, theirs), { unit, reference: 'skopeo copy', goal: { of: 'ratio', atMost: 0.8 } });
  yield compared(name, paired(ours, floor), { unit, reference: 'curl -T, no hash', goal: { of: 'ratio', atMost: 1.05 } });
  const gate = `${size} through the gateway to that registry`;
  yield compared(gate, paired(through, ours), { unit, reference: 'our client, directly', goal: { of: 'ratio', atMost: 1.25 } });
  yield compared(gate, paired(through, theirs), { unit, reference: 'skopeo copy, directly' });
  const peak = peakOf(server.pid);
  if (peak !== undefined) yield { type: 'measured', name: 'peak of the server meanwhile', ours: { ...spread([peak]), unit: 'B' } };
  await rm(layout, { recursive: true });
}

/** G5: many small blobs. */
async function* manyBlobs({ home, runs }: Context): AsyncGenerator<Row> {
  const name = 'G5 100 blobs of 1 MiB to docker-registry on disk';
  const absent = missing('docker-registry', 'skopeo');
  if (absent.length > 0) return yield { type: 'skipped', name, missing: absent };
  await using registry = await startRegistry();
  const paths = Array.from({ length: 100 }, (_, index) => join(home, `blob-${index}`));
  const layout = join(home, 'layout');
  const before = async () => {
    for (const path of paths) await randomFile(path, 1024 ** 2);
  };
  const ours = timed({ program: process.execPath, args: [await bundled('upload', home), registry.origin, 'direct', ...paths] }, { before });
  const skopeo = timed(skopeoCopy(layout, registry.host), {
    before: async () => {
      await before();
      await writeLayout(layout, paths);
    },
  });
  yield compared(name, await pairs(runs.long, ours, skopeo), {
    unit: 's',
    reference: 'skopeo copy',
    goal: { of: 'ratio', atMost: 0.45 },
  });
}

function skopeoCopy(layout: string, host: string) {
  const options = ['--quiet', '--insecure-policy', '--preserve-digests', '--dest-tls-verify=false'];
  return { program: 'skopeo', args: ['copy', ...options, `oci:${layout}:v1`, `docker://${host}/skopeo:v1`] };
}
