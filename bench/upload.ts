import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { files } from '../core/adapters/files.ts';
import { type InstalledServer, startInstalledServer } from '../test/fakes/installed-server.ts';
import { peakOf, resetPeak, said, tellsMemory } from '../test/fakes/process.ts';
import { bundled } from './bundled.ts';
import { type Context, type Group, missing, openPostgres, part } from './context.ts';
import { changeFile, large, largeBytes, randomFile, sparseFile } from './files.ts';
import { paired, pairs, rounds, spread, timed } from './measure.ts';
import { compared, type Row } from './report.ts';

const mebibyte = 1024 ** 2;
const gibibyte = 1024 ** 3;

/** G3, G6 and G7: bytes, from a file to the control plane's own storage and back. */
export const upload: Group = async function* (context) {
  const file = join(context.home, 'upload');
  await randomFile(file, largeBytes(context));
  yield* part('G3', toSink(context, file));
  await using postgres = await openPostgres();
  await using server = await startInstalledServer({ bin: context.installed.bin, databaseUrl: await postgres?.createDatabase() });
  yield* part('G3 on disk', toDisk(context, server, file));
  yield* part('G7', back(context, server, file));
  yield* part('G6', memory(context, server, postgres !== undefined));
};

/** Without a registry: what the client itself costs. */
async function* toSink({ home, quick, runs }: Context, file: string): AsyncGenerator<Row> {
  const name = `G3 upload ${large({ quick })}, hashed on the way, to a sink`;
  const absent = missing('curl', 'openssl');
  if (absent.length > 0) return yield { type: 'skipped', name, missing: absent };
  const sink = spawn(process.execPath, [await bundled('sink', home)], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [origin] = await said(sink, /http:\S+/);
    const ours = timed({ program: process.execPath, args: [await bundled('upload', home), origin, 'sink', file] });
    const put = `curl -sSf -T '${file}' -H 'expect:' '${origin}/v2/sink/blobs/uploads/1?digest=sha256:0'`;
    const [own, alone, hashed] = await rounds(runs.long, [
      ours,
      timed({ program: 'sh', args: ['-c', put] }),
      timed({ program: 'sh', args: ['-c', `openssl dgst -sha256 '${file}' && ${put}`] }),
    ]);
    yield compared(name, paired(own, alone), { unit: 's', reference: 'curl -T, no hash', goal: { of: 'ratio', atMost: 1.45 } });
    yield compared(name, paired(own, hashed), { unit: 's', reference: 'openssl; curl -T', goal: { of: 'ratio', atMost: 0.75 } });
  } finally {
    sink.kill();
    await once(sink, 'exit');
  }
}

async function* toDisk({ quick, runs, installed }: Context, server: InstalledServer, file: string): AsyncGenerator<Row> {
  const absent = missing('openssl');
  const name = `G3 upload ${large({ quick })} through the gateway to disk`;
  if (absent.length > 0) return yield { type: 'skipped', name, missing: absent };
  const before = async () => {
    await changeFile(file);
    await forgetBlobs(server);
  };
  const ours = timed(cli(installed.bin, server, 'artifact', 'upload', '-f', file), { before });
  const twice = `${file}.copy`;
  const reference = timed({
    program: 'sh',
    args: ['-c', `openssl dgst -sha256 '${file}' && dd if='${file}' of='${twice}' bs=1M conv=fsync`],
  });
  yield compared(name, await pairs(runs.long, ours, reference), { unit: 's', reference: 'openssl; dd conv=fsync' });
  await rm(twice, { force: true });
  const again = timed(cli(installed.bin, server, 'artifact', 'upload', '-f', file));
  const openssl = timed({ program: 'openssl', args: ['dgst', '-sha256', file] });
  yield compared('the same file again, which is there', await pairs(runs.long, again, openssl), { unit: 's', reference: 'openssl dgst' });
}

async function* back({ home, quick, runs, installed }: Context, server: InstalledServer, path: string): AsyncGenerator<Row> {
  const name = `G7 download ${large({ quick })}, verify, rename`;
  const absent = missing('curl', 'openssl');
  if (absent.length > 0) return yield { type: 'skipped', name, missing: absent };
  await using file = await files.open(path);
  const digest = await file.digest();
  const target = join(home, 'download');
  await mkdir(target);
  const words = ['artifact', 'download', '-d', digest, '--path', target, '--name', 'ours', '--force'];
  const fetch = `curl -sSf -H "authorization: Bearer $CHAINLOOP_TOKEN" -o '${target}/curl' ${server.url}/v2/acme/blobs/${digest}`;
  const curl = { program: 'sh', args: ['-c', `${fetch} && openssl dgst -sha256 '${target}/curl'`], env: server.env };
  const peaks: number[] = [];
  const measured = await pairs(runs.long, timed(cli(installed.bin, server, ...words), { peaks }), timed(curl));
  yield compared(name, measured, { unit: 's', reference: 'curl; openssl', goal: { of: 'ratio', atMost: 1 } });
  if (peaks.length > 0) yield { type: 'measured', name: 'peak of its memory', ours: { ...spread(peaks), unit: 'B' } };
  await rm(target, { recursive: true });
}

/** G6: memory does not depend on size. */
async function* memory({ home, quick, installed }: Context, server: InstalledServer, onPostgres: boolean): AsyncGenerator<Row> {
  const name = 'G6 peak memory of client and server';
  if (!tellsMemory) return yield { type: 'skipped', name, missing: ['/proc'] };
  const node: number[] = [];
  for (let index = 0; index < 3; index++) await timed({ program: process.execPath, args: ['-e', '0'] }, { peaks: node })();
  const path = join(home, 'sparse');
  const sizes = quick ? [64 * mebibyte, gibibyte] : [64 * mebibyte, gibibyte, 4 * gibibyte];
  const found: { size: number; peaks: number[]; server: number }[] = [];
  for (const size of sizes) {
    const peaks: number[] = [];
    resetPeak(server.pid);
    for (let index = 0; index < 3; index++) {
      await sparseFile(path, size);
      await timed(cli(installed.bin, server, 'artifact', 'upload', '-f', path), { peaks })();
      await forgetBlobs(server);
    }
    found.push({ size, peaks, server: peakOf(server.pid) ?? Number.NaN });
  }
  for (const { size, peaks } of found) {
    yield {
      type: 'measured',
      name: `G6 client, upload of ${size / mebibyte} MiB`,
      ours: { ...spread(peaks), unit: 'B' },
      reference: { ...spread(node), unit: 'B', name: 'node -e 0' },
      ratio: spread(peaks.map((bytes) => bytes / spread(node).median)),
      goal: { of: 'ratio', atMost: 2 },
    };
  }
  const [small, large] = [found[0], found.at(-1)];
  if (small !== undefined && large !== undefined) {
    yield {
      type: 'measured',
      name: 'G6 the largest beside 64 MiB',
      ours: { ...spread(large.peaks), unit: 'B' },
      reference: { ...spread(small.peaks), unit: 'B', name: '64 MiB' },
      ratio: spread([spread(large.peaks).median / spread(small.peaks).median]),
      goal: { of: 'ratio', atMost: 1.05 },
    };
  }
  if (!onPostgres) return yield { type: 'skipped', name: 'memory of the server (the embedded database hides it)', missing: ['postgresql'] };
  for (const one of found) {
    yield {
      type: 'measured',
      name: `server, uploads of ${one.size / mebibyte} MiB`,
      ours: { ...spread([one.server]), unit: 'B' },
      goal: { of: 'ours', atMost: 200 * mebibyte },
    };
  }
  resetPeak(server.pid);
  await Promise.all(
    Array.from({ length: 8 }, async (_, index) => {
      const own = `${path}-${index}`;
      await sparseFile(own, 256 * mebibyte);
      await timed(cli(installed.bin, server, 'artifact', 'upload', '-f', own))();
      await rm(own);
    }),
  );
  yield {
    type: 'measured',
    name: 'server, 8 uploads of 256 MiB at once',
    ours: { ...spread([peakOf(server.pid) ?? Number.NaN]), unit: 'B' },
    goal: { of: 'ours', atMost: 300 * mebibyte },
  };
  await rm(path);
}

/** The command line, as the operator of that server. */
export function cli(bin: string, server: InstalledServer, ...words: readonly string[]) {
  return { program: process.execPath, args: [bin, ...words], env: server.env };
}

/** What was uploaded takes a disk of many GiB otherwise. Nobody asks for it again. */
async function forgetBlobs({ dataDir }: InstalledServer): Promise<void> {
  const blobs = join(dataDir, 'storage', 'acme', 'blobs', 'sha256');
  await rm(blobs, { recursive: true, force: true });
  await mkdir(blobs, { recursive: true });
}
