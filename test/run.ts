import { globSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { runFiles } from './runner/run-files.ts';
import { summary } from './runner/summary.ts';

// `npm test` runs every test; `npm test -- core db/runs` only the files whose path contains one of the words.
const { positionals } = parseArgs({ allowPositionals: true });

const [major] = process.versions.node.split('.').map(Number);
if (major === undefined || major < 24) {
  process.stderr.write(`Node 24 is needed, this is ${process.version}; run the tests through npm: npm ci && npm test\n`);
  process.exit(2);
}

const files = globSync('{core,db,server,client,cli,plugin,action,test,examples,bench,tools}/**/*.test.ts')
  .filter((file) => positionals.length === 0 || positionals.some((word) => file.includes(word)))
  .sort();
if (files.length === 0) {
  process.stderr.write(`no test file matches ${positionals.join(' ')}\n`);
  process.exit(2);
}

const limits = { fileMs: 20 * 60_000, lingerMs: 60_000, allMs: 70 * 60_000, graceMs: 5_000 } as const;
const startedAt = performance.now();
const results = await runFiles({ files, concurrency: 2, limits, write: (text) => void process.stdout.write(text) });
process.stdout.write(summary(results, (performance.now() - startedAt) / 1000));
if (results.some(({ failures }) => failures.length > 0)) process.exitCode = 1;
