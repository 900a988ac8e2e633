import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { startInstalledServer } from '../test/fakes/installed-server.ts';
import { run } from '../test/fakes/process.ts';
import { type Group, missing } from './context.ts';
import { pairs, timed } from './measure.ts';
import { compared } from './report.ts';

/** G8: what a developer waits for before anything happens. `attestation status` reads an open crafting, and asks no server. */
export const start: Group = async function* ({ installed, home, runs }) {
  const cwd = join(home, 'job');
  await mkdir(cwd);
  await using server = await startInstalledServer({ bin: installed.bin });
  await server.cli(['workflow', 'contract', 'create', '--name', 'release', '-f', join(import.meta.dirname, 'contract.yaml')]);
  await server.cli(['workflow', 'create', '--name', 'release', '--project', 'bench', '--contract', 'release']);
  const command = (...words: readonly string[]) => ({ program: process.execPath, args: [installed.bin, ...words], cwd, env: server.env });
  await run(command('attestation', 'init', '--workflow', 'release', '--project', 'bench'));
  const node = timed({ program: process.execPath, args: ['-e', '0'] });
  for (const words of [['--version'], ['--help'], ['attestation', 'status']]) {
    yield compared(`G8 chainloop ${words.join(' ')}`, await pairs(runs.short, timed(command(...words)), node), {
      unit: 's',
      reference: 'node -e 0',
      goal: { of: 'ratio', atMost: 1.3 },
    });
  }
  const version = timed(command('--version'));
  const peers = [
    { program: 'gh', words: ['--version'], goal: { of: 'ratio', atMost: 0.8 } },
    { program: 'in-toto-verify', words: ['--help'], goal: undefined },
  ] as const;
  for (const { program, words, goal } of peers) {
    const reference = `${program} ${words.join(' ')}`;
    const name = `G8 chainloop --version, beside ${program}`;
    const absent = missing(program);
    if (absent.length > 0) yield { type: 'skipped', name, missing: absent };
    else yield compared(name, await pairs(runs.short, version, timed({ program, args: words })), { unit: 's', reference, goal });
  }
};
