import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { runFiles } from '../runner/run-files.ts';
import { summary } from '../runner/summary.ts';
import { type Row, recorded, seed } from './reliability.ts';

// `npm run reliability` runs every fault table in its long form, hours of it, and writes docs/reliability.md. `--share 10` takes ten percent of
// the trials, `--share 0` those of CI. Words select test files by their path: then the page goes to standard output.

const { values, positionals } = parseArgs({ allowPositionals: true, options: { share: { type: 'string', default: '100' } } });
if (!/^\d{1,3}$/.test(values.share)) {
  process.stderr.write('usage: npm run reliability -- [--share PERCENT] [words of test files]\n');
  process.exit(2);
}
const root = new URL('../..', import.meta.url).pathname;
const marker = /from '[^']*\/reliability\.ts'/;
const files = globSync('{core,db,server,client,cli,plugin,test}/**/*.test.ts', { cwd: root })
  .filter((file) => marker.test(readFileSync(`${root}${file}`, 'utf8')))
  .filter((file) => positionals.length === 0 || positionals.some((word) => file.includes(word)))
  .sort();

/** The table of faults: what each has to be, whether a test has filled it or not. */
const faults: Readonly<Record<string, string>> = {
  F1: 'The command line is killed',
  F2: 'The server is killed',
  F3: 'Connections are reset at any byte',
  F4: 'A registry fails, waits, stalls, lies',
  F5: 'A token expires in the middle',
  F6: 'What bytes go to is killed in the middle of a blob',
  F7: 'A disk is full',
  F8: 'PostgreSQL restarts',
  F9: 'The same thing is done at once, or again',
  F10: 'Clocks are wrong',
  F11: 'The server is stopped under load',
  F12: 'All of it, for a long time',
  F13: 'Versions meet: migrations and older clients',
  F14: 'A certificate or timestamp authority is down',
};

process.env.CHAINLOOP_RELIABILITY = values.share;
const startedAt = Date.now();
const hour = 60 * 60_000;
const limits = { fileMs: 6 * hour, lingerMs: 60_000, allMs: 24 * hour, graceMs: 5_000 } as const;
const write = (text: string): void => void process.stderr.write(text);
const results = await runFiles({ files, concurrency: 1, limits, write });
write(summary(results, (Date.now() - startedAt) / 1000));
const failed = results.flatMap(({ failures }) => failures.map((text) => text.split('\n', 1).join('')));
const skipped = results.flatMap((result) => result.skipped);
if (failed.length > 0) process.exitCode = 1;

const rows: (Row & { trials: number })[] = [];
for (const row of results.flatMap(({ said }) => said.map(recorded))) {
  if (row === undefined) continue;
  // Several tests may be trials of one row.
  const same = rows.find(({ fault, what }) => fault === row.fault && what === row.what);
  if (same === undefined) rows.push(row);
  else same.trials += row.trials;
}
const text = page();
if (positionals.length > 0) process.stdout.write(`\n${text}`);
else writeFileSync(`${root}docs/reliability.md`, text);

function page(): string {
  const machine = `${cpus().length} x ${cpus()[0]?.model.trim()}, ${(totalmem() / 1024 ** 3).toFixed(0)} GiB, ${process.platform}, Node ${process.version}`;
  const minutes = Math.round((Date.now() - startedAt) / 60_000);
  const form = values.share === '0' ? 'with the trials of CI' : `with ${values.share} % of the trials of the long form`;
  const list = (title: string, lines: readonly string[]) =>
    lines.length === 0 ? '' : `\n## ${title}\n\n${lines.map((line) => `- ${line}\n`).join('')}`;
  return `# What happens when things break

Written by \`npm run reliability\`, ${form}: ${new Date(startedAt).toISOString().slice(0, 16)} UTC, ${minutes} minutes on ${machine}, everything on loopback, seed ${seed}
(\`CHAINLOOP_SEED\`). A trial is one injected fault and its recovery, and fails when anything acknowledged is lost, anything is visible before it was
verified, something exists twice, or a person would have to repair something by hand. No trial of a row that is here failed; a test that
fails is named below instead. "At most" is the upper 95 % bound of the failure rate, 3/n.
${Object.entries(faults)
  .map(([fault, title]) => section(fault, title))
  .join('')}${list('Failed', failed)}${list('Skipped on this machine', skipped)}`;
}

function section(fault: string, title: string): string {
  const own = rows.filter((row) => row.fault === fault);
  if (own.length === 0) return `\n## ${fault}: ${title}\n\nNo row: nothing was recorded in this run.\n`;
  const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
  const lines = own.map((row) => {
    const figure = [row.figure, row.peer].filter((text) => text !== undefined).join('; ');
    const atMost = `${Number(((3 / row.trials) * 100).toPrecision(2))} %`;
    return `| ${[row.what, String(row.trials), '0', row.trials < 3 ? '' : atMost, row.sees, row.stored, figure].map(cell).join(' | ')} |\n`;
  });
  return `\n## ${fault}: ${title}\n\n| What was done | Trials | Failures | At most | The user sees | What is stored | Measured; peer |\n| --- | --- | --- | --- | --- | --- | --- |\n${lines.join('')}`;
}
