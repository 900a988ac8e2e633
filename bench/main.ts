import { mkdtempDisposable } from 'node:fs/promises';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildPackage } from '../test/fakes/package.ts';
import { action } from './action.ts';
import { api } from './api.ts';
import type { Context, Group } from './context.ts';
import { digest } from './digest.ts';
import { lists } from './lists.ts';
import { packed } from './package.ts';
import { push } from './push.ts';
import { type Row, table, verdict } from './report.ts';
import { scrape } from './scrape.ts';
import { start } from './start.ts';
import { upload } from './upload.ts';

// `npm run bench`: what the product costs, beside what else does the job, in the same run on the same machine. Words select groups of rows:
// `npm run bench -- start upload`. --quick takes fewer runs and smaller sizes, --output json prints JSON alone. A slow figure is no failure.

const groups: Readonly<Record<string, Group>> = { start, package: packed, action, digest, upload, push, lists, api, scrape };

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false }, output: { type: 'string', default: 'table' } },
});
const unknown = positionals.filter((word) => groups[word] === undefined);
if (unknown.length > 0 || !['table', 'json'].includes(values.output)) {
  process.stderr.write(`usage: npm run bench -- [--quick] [--output table|json] [${Object.keys(groups).join('|')}]…\n`);
  process.exit(2);
}

const json = values.output === 'json';
const machine = `${cpus().length} x ${cpus()[0]?.model.trim()}, ${(totalmem() / 1024 ** 3).toFixed(0)} GiB, ${process.platform}, Node ${process.version}`;
const date = new Date().toISOString().slice(0, 16);
if (!json) process.stdout.write(`${date} UTC, ${machine}${values.quick ? ', --quick' : ''}\n`);

await using installed = await buildPackage();
await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-bench-'));
const context: Context = {
  installed,
  home: folder.path,
  quick: values.quick,
  runs: values.quick ? { short: 5, long: 3 } : { short: 15, long: 7 },
};

const rows: (Row & { readonly group: string })[] = [];
for (const [name, group] of Object.entries(groups)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  const own: Row[] = [];
  for await (const row of group(context)) {
    own.push(row);
    rows.push({ group: name, ...row });
    process.stderr.write(`  ${name}: ${row.name}\n`);
  }
  if (!json) process.stdout.write(`\n${name}\n${table(own)}`);
}

const skipped = rows.filter((row) => row.type === 'skipped');
if (json)
  process.stdout.write(`${JSON.stringify({ date, machine, rows: rows.map((row) => ({ ...row, verdict: verdict(row) })) }, null, 2)}\n`);
else if (skipped.length > 0) {
  process.stdout.write(`\n${skipped.length} ROWS WERE SKIPPED, because programs are missing on this machine:\n`);
  for (const row of skipped) process.stdout.write(`  ${row.group}: ${row.name}: ${row.missing.join(', ')}\n`);
}
