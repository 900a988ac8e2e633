import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client';
import { runStates } from '../core/names.ts';
import type { BackendCount } from '../db/cas-backends.ts';
import type { WorkflowCounts } from '../db/metrics.ts';
import type { OutboxCounts } from '../db/outbox.ts';

/** Counters that the database keeps; nothing here counts rows. */
export type RunCounts = {
  readonly byWorkflow: readonly WorkflowCounts[];
  readonly byRunner: readonly RunnerCount[];
  readonly backends: readonly BackendCount[];
  readonly outbox: readonly OutboxCounts[];
};
type RunnerCount = { readonly organization: string; readonly runnerType: string; readonly runs: number };

export type Metrics = {
  /** A push that was judged: `outcome` is `success` or the code of the refusal. */
  push(outcome: string, seconds: number): void;
  /** Bytes that went through the gateway. */
  transfer(direction: 'upload' | 'download', outcome: 'success' | 'failure', sizeBytes: number, seconds: number): void;
  /** An API call or gateway request that was answered. */
  request(route: 'trpc' | 'v2' | 'other', status: number, seconds: number): void;
  /** One try of an effect of a push: done, failed and tried again, or failed for good. */
  effect(kind: string, outcome: 'done' | 'retried' | 'failed', seconds: number): void;
  /** Prometheus text. */
  text(): Promise<string>;
  readonly contentType: string;
};

/** Counts are read at most once in this time, however often one scrapes: 10,000 workflows are 50,000 lines. */
const countsLifetimeMs = 5_000;

/** Metrics of this process, and of all runs, as `counts` says. */
export function createMetrics(counts: () => Promise<RunCounts>): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
  const pushes = new Histogram({
    name: 'chainloop_push_duration_seconds',
    help: 'Time to judge and record an attestation, by outcome: success, or the code of the refusal.',
    labelNames: ['outcome'],
    buckets,
    registers,
  });
  const transfers = new Histogram({
    name: 'chainloop_transfer_duration_seconds',
    help: 'Time that one blob took through the gateway.',
    labelNames: ['direction', 'outcome'],
    buckets,
    registers,
  });
  const bytes = new Counter({
    name: 'chainloop_transfer_bytes_total',
    help: 'Bytes of blobs that went through the gateway.',
    labelNames: ['direction'],
    registers,
  });
  const requests = new Histogram({
    name: 'chainloop_request_duration_seconds',
    help: 'Time until a request was answered, by the part of the server and the status.',
    labelNames: ['route', 'status'],
    buckets,
    registers,
  });
  const effects = new Histogram({
    name: 'chainloop_effect_duration_seconds',
    help: 'Time of one try of an effect of a push, by its kind and outcome: done, retried (it failed, and is tried again) or failed.',
    labelNames: ['kind', 'outcome'],
    buckets,
    registers,
  });
  const runs = remembered(countsLifetimeMs, async () => runsText(await counts()));
  return {
    push: (outcome, seconds) => pushes.observe({ outcome }, seconds),
    transfer(direction, outcome, sizeBytes, seconds) {
      transfers.observe({ direction, outcome }, seconds);
      bytes.inc({ direction }, sizeBytes);
    },
    request: (route, status, seconds) => requests.observe({ route, status: String(status) }, seconds),
    effect: (kind, outcome, seconds) => effects.observe({ kind, outcome }, seconds),
    text: async () => (await runs()) + (await registry.metrics()),
    contentType: registry.contentType,
  };
}

/** Built by hand: a client library needs ten times as long for as many series. */
function runsText({ byWorkflow, byRunner, backends, outbox }: RunCounts): string {
  const lines = ['# HELP chainloop_runs Runs of a workflow, by state.', '# TYPE chainloop_runs gauge'];
  for (const counts of byWorkflow) {
    const { organization, project, workflow } = counts;
    const labels = `organization="${escapeLabel(organization)}",project="${escapeLabel(project)}",workflow="${escapeLabel(workflow)}"`;
    for (const state of runStates) lines.push(`chainloop_runs{${labels},state="${state}"} ${counts[state]}`);
  }
  lines.push(
    '# HELP chainloop_runs_by_runner_total Runs opened, by the CI system that they say they ran in.',
    '# TYPE chainloop_runs_by_runner_total counter',
  );
  for (const { organization, runnerType, runs } of byRunner) {
    lines.push(`chainloop_runs_by_runner_total{organization="${escapeLabel(organization)}",runner="${escapeLabel(runnerType)}"} ${runs}`);
  }
  lines.push('# HELP chainloop_cas_backends Storage backends, as they were last checked.', '# TYPE chainloop_cas_backends gauge');
  for (const { provider, status, backends: count } of backends) {
    lines.push(`chainloop_cas_backends{provider="${provider}",status="${status}"} ${count}`);
  }
  lines.push(
    '# HELP chainloop_cas_backend_oldest_check_timestamp_seconds When the one was checked whose check is longest ago.',
    '# TYPE chainloop_cas_backend_oldest_check_timestamp_seconds gauge',
  );
  for (const { provider, status, oldestCheck } of backends) {
    if (oldestCheck === null) continue;
    const at = oldestCheck.getTime() / 1000;
    lines.push(`chainloop_cas_backend_oldest_check_timestamp_seconds{provider="${provider}",status="${status}"} ${at}`);
  }
  const gauges = [
    ['chainloop_outbox_pending', 'Effects of pushes that are still to be done.', 'pending'],
    ['chainloop_outbox_failed', 'Effects of pushes that failed for good and wait for an operator.', 'failed'],
    ['chainloop_outbox_oldest_pending_seconds', 'How long the oldest effect of a push waits.', 'oldestPendingSeconds'],
  ] as const;
  for (const [name, help, key] of gauges) {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} gauge`);
    for (const counts of outbox) lines.push(`${name}{organization="${escapeLabel(counts.organization)}"} ${counts[key]}`);
  }
  return `${lines.join('\n')}\n`;
}

/** Prometheus text format, "Comments, help text, and type information": label values. */
function escapeLabel(text: string): string {
  return text.replace(/[\\"\n]/g, (character) => (character === '\n' ? '\\n' : `\\${character}`));
}

/** The result of `compute`, for a while; those who ask meanwhile share one computation. A failure is not kept. */
function remembered<T>(lifetimeMs: number, compute: () => Promise<T>): () => Promise<T> {
  let until = 0;
  let value: Promise<T> | undefined;
  return () => {
    if (value === undefined || performance.now() > until) {
      until = performance.now() + lifetimeMs;
      const attempt = compute();
      attempt.catch(() => {
        if (value === attempt) value = undefined;
      });
      value = attempt;
    }
    return value;
  };
}
