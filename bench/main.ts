import { mkdir, mkdtempDisposable, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildPackage } from '../test/fakes/package.ts';
import { part } from './context.ts';
import { document } from './document.ts';
import { groups } from './groups.ts';
import { machine } from './machine.ts';
import { type Row, table, verdict } from './report.ts';

// `npm run bench`: what the product costs, beside what else does the job, in the same run on the same machine, and docs/performance.md of it.
// Words select groups of rows, by name or goal, and write no file: `npm run bench -- start G3`. --quick takes fewer runs and smaller sizes,
// --output json prints JSON alone. A slow figure is no failure; a group that breaks off is, and keeps no other from being measured.

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false }, output: { type: 'string', default: 'table' } },
});
const words = groups.flatMap(({ name, goals }) => [name, ...goals]);
if (positionals.some((word) => !words.includes(word)) || !['table', 'json'].includes(values.output)) {
  process.stderr.write(`usage: npm run bench -- [--quick] [--output table|json] [${words.join('|')}]…\n`);
  process.exit(2);
}
const json = values.output === 'json';
const say = (text: string): unknown => json || process.stdout.write(text);
const startedAt = performance.now();
const date = new Date().toISOString().slice(0, 10);
const description = machine();
say(`${date}${values.quick ? ', --quick' : ''}\n${description.map((pair) => pair.join(': ')).join('\n')}\n`);

await using installed = await buildPackage();
await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-bench-'));
const results: { readonly name: string; readonly about: string; readonly rows: readonly Row[] }[] = [];
for (const { name, goals, about, rows } of groups) {
  if (positionals.length > 0 && ![name, ...goals].some((word) => positionals.includes(word))) continue;
  const home = join(folder.path, name);
  await mkdir(home);
  const runs = values.quick ? { short: 5, long: 3 } : { short: 15, long: 7 };
  const own: Row[] = [];
  for await (const row of part(name, rows({ installed, home, quick: values.quick, runs }))) {
    own.push(row);
    process.stderr.write(`  ${name}: ${row.name}\n`);
  }
  await rm(home, { recursive: true, force: true });
  results.push({ name, about, rows: own });
  say(`\n${about}\n${table(own)}`);
}

const minutes = Math.ceil((performance.now() - startedAt) / 60_000);
if (json) {
  const rows = results.flatMap(({ name, rows }) => rows.map((row) => ({ group: name, ...row, verdict: verdict(row) })));
  process.stdout.write(`${JSON.stringify({ date, machine: Object.fromEntries(description), rows }, null, 2)}\n`);
}
if (positionals.length === 0) {
  const text = document({ date, quick: values.quick, minutes, machine: description, groups: results });
  await writeFile(join(import.meta.dirname, '..', 'docs', 'performance.md'), text);
  say(`\ndocs/performance.md is written, after ${minutes} minutes\n`);
}
process.exitCode = results.some(({ rows }) => rows.some(({ type }) => type === 'failed')) ? 1 : 0;
