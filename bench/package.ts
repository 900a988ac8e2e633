import { execFile } from 'node:child_process';
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Group } from './context.ts';
import { pairs, spread, timed } from './measure.ts';
import { compared } from './report.ts';

const root = join(import.meta.dirname, '..');

/** What the package for CI jobs costs each job that installs it: its bytes, and its start, which reads all of the one file. */
export const packed: Group = async function* ({ home, runs }) {
  const npm = promisify(execFile);
  const { stdout } = await npm('npm', ['pack', './cli/npm', '--silent', '--pack-destination', home], { cwd: root });
  const tarball = join(home, stdout.trim().split('\n').at(-1) ?? '');
  const job = join(home, 'ci-job');
  await mkdir(job);
  await npm('npm', ['install', '--offline', '--no-save', tarball], { cwd: job });
  const program = join(job, 'node_modules', 'chainloop', 'dist', 'chainloop.js');
  const size = async (path: string) => ({ ...spread([(await stat(path)).size]), unit: 'B' as const });
  yield {
    type: 'measured',
    name: 'the package for CI jobs, as it is downloaded',
    ours: await size(tarball),
    goal: { of: 'ours', atMost: 400 * 1024 },
  };
  yield { type: 'measured', name: '  its program', ours: await size(program), goal: { of: 'ours', atMost: 1024 ** 2 } };

  const node = timed({ program: process.execPath, args: ['-e', '0'] });
  const env = { CHAINLOOP_STATE_DIR: join(home, 'ci-state') };
  for (const words of [['--version'], ['attest', '--dry-run', '--materials', 'version=1.0.0']]) {
    const ours = timed({ program: process.execPath, args: [program, ...words], cwd: job, env });
    yield compared(`  chainloop ${words.slice(0, 2).join(' ')}`, await pairs(runs.short, ours, node), {
      unit: 's',
      reference: 'node -e 0',
    });
  }
};
