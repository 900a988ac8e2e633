import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import * as z from 'zod';
import { startInstalledServer } from '../test/fakes/installed-server.ts';
import { said } from '../test/fakes/process.ts';
import { bundled } from './bundled.ts';
import { type Group, missing, openPostgres, unlimited } from './context.ts';
import { pairs, spread } from './measure.ts';
import { compared } from './report.ts';

const Loaded = z.object({ perSecond: z.number(), p50Ms: z.number(), p99Ms: z.number() });
type Target = { readonly url: string; readonly headers: Readonly<Record<string, string>>; readonly body: string; readonly status: number };
const connections = 32;

/** G14: the API beside the least that a server in Node can do. Ours also authenticates, and asks the database. */
export const api: Group = async function* ({ installed, home, quick, runs }) {
  const absent = missing('postgresql');
  if (absent.length > 0) return yield { type: 'skipped', name: 'G14', missing: absent };
  await using postgres = await openPostgres();
  await using server = await startInstalledServer({ bin: installed.bin, databaseUrl: postgres?.url, args: unlimited });
  const bare = spawn(process.execPath, [await bundled('bare', home)], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [origin] = await said(bare, /http:\S+/);
    const program = await bundled('load', home);
    const seconds = quick ? 2 : 4;
    const send = async (target: Target) => {
      const child = spawnSync(process.execPath, [program], {
        input: JSON.stringify({ ...target, connections, seconds }),
        encoding: 'utf8',
      });
      if (child.status !== 0) throw new Error(child.stderr);
      return Loaded.parse(JSON.parse(child.stdout));
    };
    const headers = {
      authorization: `Bearer ${server.env.CHAINLOOP_TOKEN ?? ''}`,
      'x-chainloop-organization': 'acme',
      'x-chainloop-method': 'POST',
    };
    const push = JSON.stringify({ runId: randomUUID(), bundle: 'x'.repeat(20_000) });
    const trpc = `${server.url}/trpc`;
    const cases = [
      {
        name: 'auth.whoami',
        ours: { url: `${trpc}/auth.whoami`, headers, body: '{}', status: 200 },
        bare: { url: `${origin}/trivial`, headers, body: '{}', status: 200 },
      },
      {
        name: 'attestation.push of 20 KB to no run',
        ours: { url: `${trpc}/attestation.push`, headers, body: push, status: 404 },
        bare: { url: `${origin}/push`, headers, body: push, status: 200 },
      },
    ];
    for (const { name, ours, bare: reference } of cases) {
      const p99: { ours: number[]; bare: number[] } = { ours: [], bare: [] };
      const rate = (target: Target, p99s: number[]) => async (): Promise<number> => {
        const { perSecond, p99Ms } = await send(target);
        p99s.push(p99Ms);
        return perSecond;
      };
      const measured = await pairs(runs.long, rate(ours, p99.ours), rate(reference, p99.bare));
      const rest = { reference: 'node:http and zod' } as const;
      yield compared(`G14 ${name}, ${connections} connections`, measured, { ...rest, unit: '/s' });
      const [own, others] = [p99.ours.slice(1), p99.bare.slice(1)];
      const ratio = spread(own.map((value, index) => value / (others[index] ?? Number.NaN)));
      yield compared(
        `G14 p99 of ${name}`,
        { ours: spread(own), reference: spread(others), ratio },
        { ...rest, unit: 'ms', goal: { of: 'ratio', atMost: 5 } },
      );
    }
  } finally {
    bare.kill();
    await once(bare, 'exit');
  }
};
