import { globSync } from 'node:fs';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { parseArgs } from 'node:util';

// `npm test` runs every test; `npm test -- core db/runs` only the files whose path contains one of the words.
const { positionals } = parseArgs({ allowPositionals: true });

const [major] = process.versions.node.split('.').map(Number);
if (major === undefined || major < 24) {
  process.stderr.write(`Node 24 is needed, this is ${process.version}; run the tests through npm: npm ci && npm test\n`);
  process.exit(2);
}

const files = globSync('{core,db,server,client,cli,action,test,examples,bench,tools}/**/*.test.ts')
  .filter((file) => positionals.length === 0 || positionals.some((word) => file.includes(word)))
  .sort();
if (files.length === 0) {
  process.stderr.write(`no test file matches ${positionals.join(' ')}\n`);
  process.exit(2);
}

const skipped: string[] = [];
const stream = run({ files, concurrency: 2, timeout: 10 * 60 * 1000 });
stream.on('test:pass', (event) => {
  if (event.skip !== undefined && event.skip !== false) skipped.push(`${event.name}: ${event.skip}`);
});
stream.on('test:fail', () => {
  process.exitCode = 1;
});
stream.on('end', () => {
  if (skipped.length > 0) process.stdout.write(`\n${skipped.length} TESTS WERE SKIPPED:\n${skipped.map((line) => `  ${line}\n`).join('')}`);
});
stream.compose(new spec()).pipe(process.stdout);
