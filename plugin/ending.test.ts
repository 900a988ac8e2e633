import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endingOf, type JobStatus, type Saved } from './ending.ts';

const saved: Saved = { command: 'attest', session: undefined, runId: 'id', status: '', reason: '' };

/** How the run of such a step ends: `state: reason`, or nothing. */
function ending(change: Partial<Saved>, jobStatus: JobStatus): string | undefined {
  const found = endingOf({ ...saved, ...change }, jobStatus, 'build');
  return found === undefined ? undefined : `${found.state}: ${found.reason}`;
}

const rows: readonly (readonly [Partial<Saved>, JobStatus, string | undefined])[] = [
  [{ status: 'passed' }, 'failure', undefined],
  [{ status: 'deferred' }, 'success', undefined],
  [{ status: 'violations', reason: 'missing sbom' }, 'failure', 'failed: missing sbom'],
  [{ status: 'violations', reason: 'missing sbom' }, 'success', 'failed: missing sbom'],
  [{ status: 'failed', reason: 'x'.repeat(300) }, 'failure', `failed: ${'x'.repeat(256)}`],
  [{ status: 'failed' }, 'cancelled', 'cancelled: job build was cancelled'],
  [{}, 'cancelled', 'cancelled: job build was cancelled'],
  [{}, 'failure', 'failed: job build ended before it was attested'],
  [{}, 'timeout', 'failed: job build took too long'],
  [{}, 'success', 'failed: job build ended before it was attested'],
  [{ runId: '' }, 'cancelled', undefined],
  [{ command: 'init', status: 'open' }, 'success', undefined],
  [{ command: 'init', status: 'open' }, 'failure', 'failed: job build failed'],
  [{ command: 'init', status: 'open' }, 'timeout', 'failed: job build took too long'],
  [{ command: 'init', status: 'open' }, 'cancelled', 'cancelled: job build was cancelled'],
  ...['add', 'push', 'status', 'reset'].map((command) => [{ command, status: 'failed' }, 'failure', undefined] as const),
];
for (const [change, jobStatus, expected] of rows) {
  const { command = 'attest', status = 'nothing', runId } = change;
  test(`${command} with status ${status}${runId === '' ? ' and no run' : ''} in a job that is ${jobStatus}: ${expected?.slice(0, 60) ?? 'nothing to end'}`, () => {
    assert.equal(ending(change, jobStatus), expected);
  });
}
