import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type FileResult, type Limits, runFiles } from './run-files.ts';
import { summary } from './summary.ts';

const generous: Limits = { fileMs: 60_000, lingerMs: 60_000, allMs: 60_000, graceMs: 1_000 };

/** Runs the files, given as what they do after `import { test } from 'node:test'`. */
async function ran(sources: readonly string[], limits: Partial<Limits> = {}, concurrency = 2) {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-runner-'));
  const files: string[] = [];
  for (const [index, source] of sources.entries()) {
    const file = join(folder.path, `${index}.test.mjs`);
    await writeFile(file, `import { test } from 'node:test';\nimport { spawn } from 'node:child_process';\n${source}`);
    files.push(file);
  }
  let text = '';
  const startedAt = performance.now();
  const results = await runFiles({
    files,
    concurrency,
    limits: { ...generous, ...limits },
    write: (piece) => {
      text += piece;
    },
  });
  const kept = await readFile(join(folder.path, 'kept'), 'utf8').catch(() => '');
  return { results: results.toSorted((one, other) => one.file.localeCompare(other.file)), text, ms: performance.now() - startedAt, kept };
}

const failuresOf = (result: FileResult | undefined): string => result?.failures.join('\n') ?? '';
/** A process that was ended, and that nobody has waited for yet, is not alive. */
const alive = (pid: number): boolean => /^[^Z]/.test(spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).stdout);

// Most of their time they wait.
describe('the runner of tests', { concurrency: 3 }, () => {
  test('a green file is green, and a red one says which test, at which line, and why', async () => {
    const { results, text } = await ran([
      "test('fine', (t) => t.diagnostic('a figure')); test('not here', (t) => t.skip('no tool'));",
      "test('outer', async (t) => { await t.test('inner', () => { throw new Error('the reason'); }); });",
    ]);
    const [green, red] = results;
    assert.deepEqual([green?.failures, green?.said], [[], ['a figure']]);
    assert.match(green?.skipped.join() ?? '', /: not here: no tool$/);
    assert.match(failuresOf(red), /1\.test\.mjs:3: inner\n.*the reason/);
    assert.equal(red?.failures.length, 1);
    assert.ok(text.indexOf('the reason') < text.indexOf('✖ outer'), 'why it failed is written before what the file printed');
    assert.match(summary(results, 1), /1 FAILURES in 1 files:[\s\S]*the reason/);
  });

  for (const [what, source] of Object.entries({
    'a timer': 'setInterval(() => {}, 1000);',
    'an open server': "(await import('node:http')).createServer().listen(0);",
    'a process that holds its output': "spawn('sleep', ['600'], { stdio: 'inherit' });",
  })) {
    test(`a file whose test failed and left ${what} is killed soon after its last test`, async () => {
      const { results, ms } = await ran([`test('breaks', async () => { ${source} throw new Error('the true reason'); });`], {
        lingerMs: 500,
      });
      assert.match(
        failuresOf(results[0]),
        /the true reason[\s\S]*did not end within 0\.5 s of its last test: something was left open, and was killed/,
      );
      assert.ok(ms < 20_000, `${ms} ms`);
    });
  }

  test('a file whose test never ends is killed, with the name of the test, and the others run on', async () => {
    const { results, ms } = await ran(
      [
        "test('waits for ever', () => new Promise(() => { setInterval(() => {}, 1000); }));",
        "test('spins', () => { for (;;); });",
        "test('fine', () => {});",
      ],
      { fileMs: 6_000 },
    );
    assert.match(failuresOf(results[0]), /did not end within 6 s \(running: waits for ever\), and was killed/);
    assert.match(failuresOf(results[1]), /did not end within 6 s/);
    assert.deepEqual(results[2]?.failures, []);
    assert.ok(ms < 30_000, `${ms} ms`);
  });

  test('a process that outlives a file and holds its output is ended, and the file is red', async () => {
    const { results, ms } = await ran([
      "test('leaves one', (t) => { const child = spawn('sleep', ['600'], { stdio: 'inherit' }); child.unref(); t.diagnostic(String(child.pid)); });",
    ]);
    assert.match(failuresOf(results[0]), /left a process behind that holds its output/);
    assert.equal(alive(Number(results[0]?.said[0])), false);
    assert.ok(ms < 20_000, `${ms} ms`);
  });

  test('what a killed file started in a group of its own is ended too', async () => {
    const { results } = await ran(
      [
        `test('hangs', async (t) => {
         await t.test('starts', (t) => t.diagnostic(String(spawn('sleep', ['600'], { stdio: 'inherit', detached: true }).pid)));
         await new Promise(() => {}); });`,
      ],
      { fileMs: 6_000 },
    );
    assert.match(failuresOf(results[0]), /running: hangs/);
    assert.equal(alive(Number(results[0]?.said[0])), false);
  });

  test('when the time for all of it is over, what runs is killed and the rest is red, not forgotten', async () => {
    const hangs = "test('hangs', () => new Promise(() => { setInterval(() => {}, 1000); }));";
    const { results, ms } = await ran([hangs, "test('fine', () => {});"], { allMs: 5_000 }, 1);
    assert.match(failuresOf(results[0]), /still ran when the 5 s of the whole run were over \(running: hangs\), and was killed/);
    assert.match(failuresOf(results[1]), /was not run: the 5 s of the whole run were over/);
    assert.ok(ms < 20_000, `${ms} ms`);
  });

  test('a file that cannot be loaded, and one that ends itself, are red with what they said', async () => {
    const { results } = await ran(["throw new Error('cannot be loaded');", "console.error('last words'); process.exit(7);"]);
    assert.match(failuresOf(results[0]), /cannot be loaded/);
    assert.match(failuresOf(results[1]), /ended with 7\n[\s\S]*last words/);
  });
});
