import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import * as z from 'zod';
import { startInstalledServer } from '../test/fakes/installed-server.ts';
import { run } from '../test/fakes/process.ts';
import type { Group } from './context.ts';
import { pairs, spread, timed } from './measure.ts';
import { compared } from './report.ts';

const sizeBytes = 1_000_000;

/** What an attestation of a text and a file of 1 MB costs a job that makes it command by command, and the network. */
export const journey: Group = async function* ({ installed, home, runs }) {
  const cwd = join(home, 'checkout');
  await mkdir(cwd);
  const contract = join(home, 'contract.yaml');
  await writeFile(
    contract,
    'schemaVersion: v1\nmaterials:\n  - { type: STRING, name: version }\n  - { type: ARTIFACT, name: binary, output: true }\n',
  );
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const [key, trusted] = [join(home, 'ci.key'), join(home, 'ci.pub')];
  await writeFile(key, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  await writeFile(trusted, publicKey.export({ type: 'spki', format: 'pem' }));

  await using server = await startInstalledServer({ bin: installed.bin });
  await server.cli(['workflow', 'contract', 'create', '--name', 'release', '-f', contract]);
  await server.cli(['workflow', 'create', '--name', 'release', '--project', 'bench', '--contract', 'release']);
  await server.cli(['key', 'trust', '--name', 'ci', '-f', trusted]);
  const account = ['service-account', 'create', '--workflow', 'release', '--project', 'bench', '--name', 'ci', '--output', 'json'];
  const { token } = z.object({ token: z.string() }).parse(JSON.parse((await server.cli(account)).stdout));
  await using wire = await countingProxy(new URL(server.url));

  const env = { ...server.env, CHAINLOOP_URL: wire.origin, CHAINLOOP_TOKEN: token };
  const commands = [
    ['init'],
    ['add', '--name', 'version', '--value', '1.0.0'],
    ['add', '--name', 'binary', '--value', 'app.bin'],
    ['push', '--key', key],
  ] as const;
  const seconds: number[][] = commands.map(() => []);
  const sent: number[] = [];
  const received: number[] = [];
  const whole = async (): Promise<number> => {
    await writeFile(join(cwd, 'app.bin'), randomBytes(sizeBytes));
    const before = wire.counted();
    let sum = 0;
    for (const [index, words] of commands.entries()) {
      const sample = await run({ program: process.execPath, args: [installed.bin, 'attestation', ...words], cwd, env });
      seconds[index]?.push(sample.seconds);
      sum += sample.seconds;
    }
    const after = wire.counted();
    sent.push(after.sent - before.sent - sizeBytes);
    received.push(after.received - before.received);
    return sum;
  };
  const node = timed({ program: process.execPath, args: ['-e', '0'] });
  const nodes = async (): Promise<number> => {
    let sum = 0;
    for (const _ of commands) sum += await node();
    return sum;
  };
  yield compared('attestation init, add, add, push', await pairs(runs.long, whole, nodes), { unit: 's', reference: 'node -e 0, as often' });
  for (const [index, words] of commands.entries())
    yield {
      type: 'measured',
      name: `of that: ${words
        .filter((word) => word !== key)
        .slice(0, 3)
        .join(' ')}`,
      ours: { ...spread(seconds[index]?.slice(1) ?? []), unit: 's' },
    };
  yield { type: 'measured', name: 'bytes sent on the wire, beside the file of 1 MB', ours: { ...spread(sent.slice(1)), unit: 'B' } };
  yield { type: 'measured', name: 'bytes received', ours: { ...spread(received.slice(1)), unit: 'B' } };
};

/** Passes everything on, and counts it: what TCP carries, without its own headers. */
async function countingProxy(target: URL) {
  const total = { sent: 0, received: 0 };
  const proxy = createServer((near) => {
    const far = connect(Number(target.port), target.hostname);
    near.on('data', (piece) => {
      total.sent += piece.length;
    });
    far.on('data', (piece) => {
      total.received += piece.length;
    });
    near.on('error', () => far.destroy()).pipe(far);
    far.on('error', () => near.destroy()).pipe(near);
  });
  await new Promise<void>((resolve) => void proxy.listen(0, '127.0.0.1', resolve));
  const address = proxy.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  return {
    origin: `http://127.0.0.1:${address.port}`,
    counted: () => ({ ...total }),
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => void proxy.close(() => resolve())),
  };
}
