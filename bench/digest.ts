import { join } from 'node:path';
import { bundled } from './bundled.ts';
import { type Group, missing } from './context.ts';
import { large, largeBytes, newKey, randomFile } from './files.ts';
import { pairs, timed } from './measure.ts';
import { compared } from './report.ts';

/** G1: the digest of a large file that is in the page cache. */
export const digest: Group = async function* ({ home, quick, runs }) {
  const name = `G1 digest of ${large({ quick })}, whole process`;
  const absent = missing('openssl');
  if (absent.length > 0) return yield { type: 'skipped', name, missing: absent };
  const file = join(home, 'digest');
  await randomFile(file, largeBytes({ quick }));
  const ours = timed({ program: process.execPath, args: [await bundled('digest', home), file] });
  const openssl = timed({ program: 'openssl', args: ['dgst', '-sha256', file] });
  yield compared(name, await pairs(runs.long, ours, openssl), {
    unit: 's',
    reference: 'openssl dgst',
    goal: { of: 'ratio', atMost: 1 },
  });
  const lacking = missing('in-toto-run');
  if (lacking.length > 0) return yield { type: 'skipped', name: `${name}, beside in-toto-run`, missing: lacking };
  const toto = timed({ program: 'in-toto-run', args: ['-n', 'bench', '--signing-key', await newKey(home), '-p', file, '-x'], cwd: home });
  yield compared(name, await pairs(runs.long, ours, toto), {
    unit: 's',
    reference: 'in-toto-run',
    goal: { of: 'ratio', atMost: 0.6 },
  });
};
