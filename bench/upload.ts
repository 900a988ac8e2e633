import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, mkdir, mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cli, startControlPlane } from './control-plane.ts';
import { type Command, measure, pairs, peak, peakOf, type Row, seconds } from './measure.ts';

const gibibyte = 1024 ** 3;

/** G1, G3 to G7: bytes. One file of 1 GiB, its digest, through the gateway to disk and to docker-registry, and back. */
export async function* upload(project: string): AsyncGenerator<Row> {
  const home = await mkdtemp(join(tmpdir(), 'chainloop-bench-files-'));
  try {
    const [small, large] = [join(home, '64MiB'), join(home, '1GiB')];
    await randomFile(small, 64 * 1024 ** 2);
    await randomFile(large, gibibyte);
    const contract = join(project, 'bench', 'contract.yaml');
    yield* toDisk(contract, small, large, home);
    yield* toRegistry(contract, large, home);
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

async function* toDisk(contract: string, small: string, large: string, home: string): AsyncGenerator<Row> {
  await using server = await startControlPlane(contract);
  const up = (file: string): Command => ({
    program: process.execPath,
    args: [cli, 'artifact', 'upload', '-f', file],
    env: server.env,
    before: () => changeTail(file),
  });
  const openssl = (file: string): Command => ({ program: 'openssl', args: ['dgst', '-sha256', file] });
  const one = await pairs(up(large), openssl(large), 5);
  const few = await measure(up(small));
  yield {
    name: 'G3 upload 1 GiB through the gateway to disk',
    ours: seconds(one.a),
    reference: `openssl dgst (hash only): ${seconds(one.b)}`,
    ratio: one.ratio,
  };
  yield { name: 'G6 peak memory of the client, 1 GiB', ours: peak(one.a), reference: `64 MiB: ${peak([few])}`, goal: '< 200 MiB' };
  yield { name: 'peak memory of the server, after all uploads', ours: mebibytes(peakOf(server.pid)), goal: 'see docs/operating.md' };

  const again = await pairs({ ...up(large), before: async () => undefined }, openssl(large), 5);
  yield {
    name: 'the same file again (already there)',
    ours: seconds(again.a),
    reference: `openssl dgst: ${seconds(again.b)}`,
    ratio: again.ratio,
  };

  const digest = `sha256:${await digestOf(large)}`;
  const target = join(home, 'download');
  await mkdir(target, { recursive: true });
  const down: Command = {
    program: process.execPath,
    args: [cli, 'artifact', 'download', '-d', digest, '--path', target, '--force'],
    env: server.env,
  };
  const curl: Command = {
    program: 'sh',
    args: [
      '-c',
      `curl -sSf -H "authorization: Bearer $CHAINLOOP_TOKEN" -o '${target}/curl' ${server.url}/v2/bench/blobs/${digest} && openssl dgst -sha256 '${target}/curl'`,
    ],
    env: server.env,
  };
  const back = await pairs(down, curl, 5);
  yield {
    name: 'G7 download 1 GiB, verify, rename',
    ours: `${seconds(back.a)}, ${peak(back.a)}`,
    reference: `curl && openssl dgst: ${seconds(back.b)}`,
    ratio: back.ratio,
    goal: '<= 1.0',
  };
}

async function* toRegistry(contract: string, large: string, home: string): AsyncGenerator<Row> {
  if (spawnSync('docker-registry', ['--version']).status !== 0 || spawnSync('skopeo', ['--version']).status !== 0) {
    yield { name: 'G4 upload 1 GiB to docker-registry', ours: 'SKIPPED: docker-registry or skopeo is not installed' };
    return;
  }
  const port = await freePort();
  const root = join(home, 'registry');
  const config = join(home, 'registry.yml');
  await writeFile(
    config,
    `version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: ${root} }, delete: { enabled: true } }\nhttp: { addr: 127.0.0.1:${port}, secret: bench }\n`,
  );
  const registry = spawn('docker-registry', ['serve', config], { stdio: 'ignore' });
  try {
    await answering(`http://127.0.0.1:${port}/v2/`);
    await using server = await startControlPlane(contract);
    await measure({
      program: process.execPath,
      args: [cli, ...['cas-backend', 'add', 'oci', '--name', 'bench', '--repo', `127.0.0.1:${port}/evidence`, '--insecure']],
      env: server.env,
    });
    const ours: Command = {
      program: process.execPath,
      args: [cli, 'artifact', 'upload', '-f', large],
      env: server.env,
      before: () => changeTail(large),
    };
    const layout = join(home, 'layout');
    const skopeo: Command = {
      program: 'skopeo',
      args: [
        'copy',
        '--quiet',
        '--insecure-policy',
        '--preserve-digests',
        '--dest-tls-verify=false',
        `oci:${layout}:v1`,
        `docker://127.0.0.1:${port}/direct:v1`,
      ],
      before: async () => {
        await changeTail(large);
        await writeLayout(layout, large);
      },
    };
    const result = await pairs(ours, skopeo, 5);
    yield {
      name: 'G4 upload 1 GiB through the gateway to docker-registry',
      ours: `${seconds(result.a)}, client ${peak(result.a)}, server ${mebibytes(peakOf(server.pid))}`,
      reference: `skopeo copy, direct: ${seconds(result.b)}, ${peak(result.b)}`,
      ratio: result.ratio,
      goal: '<= 0.80 (direct)',
    };
  } finally {
    registry.kill();
    await once(registry, 'exit');
  }
}

const mebibytes = (bytes: number | undefined): string => (bytes === undefined ? 'unknown' : `${(bytes / 1024 ** 2).toFixed(0)} MiB`);

async function randomFile(path: string, sizeBytes: number): Promise<void> {
  const block = Buffer.alloc(1024 ** 2);
  await writeFile(path, '');
  for (let offset = 0; offset < sizeBytes; offset += block.length) await appendFile(path, randomFillSync(block));
}

/** Another digest for the same size, so that the next upload is a real one. */
async function changeTail(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.write(randomFillSync(Buffer.alloc(32)), 0, 32, (await file.stat()).size - 32);
  } finally {
    await file.close();
  }
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  const file = await open(path);
  for await (const piece of file.createReadStream({ highWaterMark: 1024 ** 2 })) hash.update(piece);
  return hash.digest('hex');
}

/** An OCI image layout whose one layer is the file. */
async function writeLayout(directory: string, path: string): Promise<void> {
  await rm(directory, { recursive: true, force: true });
  const blobs = join(directory, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const hex = await digestOf(path);
  await measure({ program: 'cp', args: ['--reflink=auto', path, join(blobs, hex)] });
  const blob = async (value: unknown) => {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = createHash('sha256').update(bytes).digest('hex');
    await writeFile(join(blobs, digest), bytes);
    return { digest: `sha256:${digest}`, size: bytes.length };
  };
  const config = await blob({ architecture: 'amd64', os: 'linux', config: {}, rootfs: { type: 'layers', diff_ids: [`sha256:${hex}`] } });
  const manifest = await blob({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: `sha256:${hex}`, size: (await stat(path)).size }],
  });
  await writeFile(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(
    join(directory, 'index.json'),
    JSON.stringify({
      schemaVersion: 2,
      manifests: [
        {
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          ...manifest,
          annotations: { 'org.opencontainers.image.ref.name': 'v1' },
        },
      ],
    }),
  );
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}

async function answering(url: string): Promise<void> {
  const until = performance.now() + 10_000;
  for (;;) {
    const answer = await fetch(url).catch(() => undefined);
    if (answer !== undefined) return;
    if (performance.now() > until) throw new Error(`${url} does not answer`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
