import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

const lines = Array.from({ length: 20_000 }, (_, index) => `line ${index}, of many that are more than what a pipe holds\n`).join('');

for (const [kind, before] of [
  ['waits', ''],
  ['does not wait', 'process.stdout;'],
] as const)
  test(`all that is written arrives, and in order, when the pipe is full and ${kind}`, () => {
    const program = `import { writeOut } from ${JSON.stringify(new URL('./stdout.ts', import.meta.url).href)};
${before}
for (let index = 0; index < 20_000; index++) writeOut('line ' + index + ', of many that are more than what a pipe holds\\n');`;
    const ended = spawnSync(process.execPath, ['--input-type=module', '-e', program], { maxBuffer: 2 * lines.length });
    assert.equal(ended.status, 0, ended.stderr.toString());
    assert.equal(ended.stdout.toString(), lines);
  });
