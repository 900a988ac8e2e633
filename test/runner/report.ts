import type { TestEvent } from 'node:test/reporters';
import { inspect } from 'node:util';
import type { FileEvent } from './events.ts';

// The reporter of one test file (`node --test-reporter=…/report.ts FILE`): a line for each test to standard output, and to the runner, which is
// the parent process, what it has to know at once.

const parent = process.send?.bind(process);
// A runner that was killed takes its files with it, and their groups. The listener must not keep a file from its end.
if (parent !== undefined) process.once('disconnect', () => process.kill(-process.pid, 'SIGKILL'));
process.channel?.unref();

/** What node:test says of each file at its end. */
const totals = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/;

export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of events) yield lineOf(event);
}

function lineOf(event: TestEvent): string {
  switch (event.type) {
    case 'test:dequeue':
      tell({ type: 'begun', name: event.data.name });
      return '';
    case 'test:complete': {
      const { name, details, line: at, todo } = event.data;
      tell({ type: 'ended', name });
      if (!details.passed && todo === undefined) tell({ type: 'failed', name, at: at ?? 0, error: reasonOf(details.error) });
      return '';
    }
    case 'test:pass':
    case 'test:fail': {
      const { name, nesting, details, skip, todo } = event.data;
      const why = skip ?? todo;
      if (why === undefined || why === false) {
        return line(nesting, `${event.type === 'test:pass' ? '✔' : '✖'} ${name} (${Math.round(details.duration_ms)} ms)`);
      }
      tell({ type: 'skipped', name, why: String(why) });
      return line(nesting, `﹣ ${name}: ${why}`);
    }
    case 'test:diagnostic': {
      const { message, nesting } = event.data;
      if (totals.test(message)) return '';
      tell({ type: 'said', message });
      return line(nesting, `ℹ ${message}`);
    }
    default:
      return '';
  }
}

/** What the test threw, without what the test runner wraps it in. Nothing for a test that failed by its subtests, which have said why. */
function reasonOf(error: Error | undefined): string {
  if (error === undefined || ('failureType' in error && error.failureType === 'subtestsFailed')) return '';
  return inspect(error.cause ?? error, { depth: 4 });
}

function tell(event: FileEvent): void {
  parent?.(event);
}

function line(nesting: number, text: string): string {
  return `${'  '.repeat(nesting)}${text}\n`;
}
