import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bundled } from './bundled.ts';
import { type Group, missing } from './context.ts';
import { newKey } from './files.ts';
import { paired, rounds, timed } from './measure.ts';
import { compared } from './report.ts';

const count = 10_000;

/** G2: many small files hashed, said in a statement, signed, written. */
export const small: Group = async function* ({ home, runs }) {
  const name = `G2 ${count.toLocaleString('en')} files of 4 KiB, recorded and signed`;
  const directory = join(home, 'files');
  await mkdir(directory);
  for (let index = 0; index < count; index++) await writeFile(join(directory, `file-${index}`), randomBytes(4096));
  const key = await newKey(home);

  const record = [await bundled('record', home), directory, key, join(home, 'bundle')];
  const ours = timed({ program: process.execPath, args: record });
  const peers = [
    {
      needs: 'in-toto-run',
      reference: 'in-toto-run',
      goal: { of: 'ratio', atMost: 0.5 },
      command: { program: 'in-toto-run', args: ['-n', 'bench', '--signing-key', key, '-p', directory, '-x'], cwd: home },
    },
    {
      needs: 'openssl',
      reference: 'openssl dgst, no statement',
      goal: undefined,
      command: { program: 'sh', args: ['-c', `find '${directory}' -type f | xargs openssl dgst -sha256`] },
    },
  ] as const;
  for (const { needs, reference } of peers) {
    const absent = missing(needs);
    if (absent.length > 0) yield { type: 'skipped', name: `${name}, beside ${reference}`, missing: absent };
  }
  const present = peers.filter(({ needs }) => missing(needs).length === 0);
  const [own, ...others] = await rounds(runs.long, [ours, ...present.map(({ command }) => timed(command))]);
  for (const [index, { reference, goal }] of present.entries())
    yield compared(name, paired(own, others[index]), { unit: 's', reference, goal });
};
