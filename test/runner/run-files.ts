import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { FileEvent } from './events.ts';

export type Limits = {
  /** A file that runs longer is killed. */
  readonly fileMs: number;
  /** A file in which no test has run for so long, after its first one, is killed: something that was left open keeps it from its end. */
  readonly lingerMs: number;
  /** When all of it takes longer, what runs is killed, and the rest does not begin. */
  readonly allMs: number;
  /** How long a file that has ended may take to let go of its output, and its children to end. */
  readonly graceMs: number;
};

export type FileResult = {
  readonly file: string;
  readonly seconds: number;
  /** Each with its name and why. None: the file is green. */
  readonly failures: readonly string[];
  readonly skipped: readonly string[];
  /** What its tests said with `t.diagnostic`. */
  readonly said: readonly string[];
};

const compileCache = join(import.meta.dirname, '..', '..', 'node_modules', '.cache', 'compile');
/** What is kept of what a file prints. */
const maxOutput = 4 * 1024 * 1024;

/**
 * Runs test files, each in a process group of its own, so many at once. Ends in any case, within `limits.allMs` and a few seconds: what hangs is
 * killed with all that it started, and is a failure with a name. Failures are written when they happen, what a file printed when it ends.
 *
 * node:test's own `run()` waits for each file to end, however long: its `timeout` is only that of a test, and its `forceExit` hides what was left open.
 */
export async function runFiles(options: {
  readonly files: readonly string[];
  readonly concurrency: number;
  readonly limits: Limits;
  readonly write: (text: string) => void;
}): Promise<readonly FileResult[]> {
  const { files, concurrency, limits, write } = options;
  const results: FileResult[] = [];
  const endsAt = performance.now() + limits.allMs;
  const waiting = files.values();
  const worker = async (): Promise<void> => {
    for (const file of waiting) {
      const leftMs = endsAt - performance.now();
      const result = leftMs <= 0 ? notRun(file, limits.allMs) : await runFile(file, { ...limits, allMs: leftMs }, limits.allMs, write);
      results.push(result);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return results;
}

function notRun(file: string, allMs: number): FileResult {
  return { file, seconds: 0, failures: [`${file}: was not run: the ${allMs / 1000} s of the whole run were over`], skipped: [], said: [] };
}

async function runFile(file: string, limits: Limits, wholeMs: number, write: (text: string) => void): Promise<FileResult> {
  const startedAt = performance.now();
  const failures: string[] = [];
  const skipped: string[] = [];
  const said: string[] = [];
  const running: string[] = [];
  const fail = (failure: string): void => {
    failures.push(failure);
    write(`✖ ${failure}\n`);
  };
  const child = spawn(process.execPath, [`--test-reporter=${join(import.meta.dirname, 'report.ts')}`, file], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    detached: true,
    // Under `node --test` a file would report to that. Each start of the command line and of a server takes half of the time with a cache.
    env: { NODE_COMPILE_CACHE: compileCache, ...process.env, NODE_TEST_CONTEXT: undefined },
  });
  const forget = killWithThis(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-maxOutput);
    });
  }

  const exited = once(child, 'exit');
  const finished = Promise.all([once(child, 'close'), once(child, 'disconnect')]).then(() => true);
  let killed = Promise.resolve();
  const stop = (why: string): void => {
    stopTimers();
    fail(`${file}: ${why}, and was killed`);
    killed = killTree(child, limits.graceMs);
  };
  const during = (): string => (running.length === 0 ? '' : ` (running: ${running.join('; ')})`);
  const limit = setTimeout(
    () => {
      if (limits.allMs < limits.fileMs) stop(`still ran when the ${wholeMs / 1000} s of the whole run were over${during()}`);
      else stop(`did not end within ${limits.fileMs / 1000} s${during()}`);
    },
    Math.min(limits.fileMs, limits.allMs),
  );
  let linger: NodeJS.Timeout | undefined;
  const stopTimers = (): void => {
    clearTimeout(limit);
    clearTimeout(linger);
  };
  child.on('message', (message) => {
    const event = FileEvent.parse(message);
    clearTimeout(linger);
    switch (event.type) {
      case 'begun':
        running.push(event.name);
        break;
      case 'ended':
        running.splice(running.indexOf(event.name), 1);
        break;
      case 'failed':
        if (event.error !== '') fail(`${file}:${event.at}: ${event.name}\n${event.error.replaceAll(/^/gm, '    ')}`);
        break;
      case 'skipped':
        skipped.push(`${file}: ${event.name}: ${event.why}`);
        break;
      case 'said':
        said.push(event.message);
        break;
    }
    if (running.length === 0 && child.connected)
      linger = setTimeout(
        () => stop(`did not end within ${limits.lingerMs / 1000} s of its last test: something was left open`),
        limits.lingerMs,
      );
  });
  const [code, signal]: unknown[] = await exited;

  // Whatever it started and did not end holds its output still.
  const inTime = new AbortController();
  const clean = await Promise.race([finished, delay(limits.graceMs, false, { signal: inTime.signal })]).finally(() => inTime.abort());
  stopTimers();
  await killed;
  // What ends by itself when the file is gone, as a database does, may do so in peace.
  if (clean) setTimeout(() => killGroup(child), limits.graceMs).unref();
  else {
    killGroup(child);
    fail(`${file}: left a process behind that holds its output`);
    child.stdout?.destroy();
    child.stderr?.destroy();
  }
  forget();
  if (code !== 0 && failures.length === 0) fail(`${file}: ended with ${String(code ?? signal)}\n${output.slice(-4_000)}`);
  const seconds = (performance.now() - startedAt) / 1000;
  write(`\n${failures.length === 0 ? '✔' : '✖'} ${file} (${seconds.toFixed(1)} s)\n${output.replaceAll(/^(?=.)/gm, '  ')}`);
  return { file, seconds, failures, skipped, said };
}

/** Ends the file and what it started; also what has a group of its own, when it is still there after it could clear up. */
async function killTree(child: ChildProcess, graceMs: number): Promise<void> {
  const descendants = descendantsOf(child.pid);
  killGroup(child);
  await delay(graceMs);
  for (const pid of descendants) kill(pid);
}

function descendantsOf(root: number | undefined): readonly number[] {
  const found = new Set(root === undefined ? [] : [root]);
  const { stdout } = spawnSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' });
  const pairs = (stdout ?? '')
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number));
  // A child may stand before its parent in the list: the numbers go around.
  for (let size = 0; size !== found.size; ) {
    size = found.size;
    for (const [pid, parent] of pairs) if (pid !== undefined && parent !== undefined && found.has(parent)) found.add(pid);
  }
  return [...found];
}

function killGroup(child: ChildProcess): void {
  if (child.pid !== undefined) kill(-child.pid);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

/** When somebody stops the run, the file stops too: its group is not that of the terminal. */
function killWithThis(child: ChildProcess): () => void {
  const end = (signal: NodeJS.Signals): void => {
    killGroup(child);
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  process.once('SIGINT', end).once('SIGTERM', end);
  return () => void process.off('SIGINT', end).off('SIGTERM', end);
}
