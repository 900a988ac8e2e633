import { ChainloopError } from '../core/errors.ts';
import type { CollectionStep, RetentionView } from '../core/retention.ts';
import { command, count, group, toggle } from './command.ts';
import { connect } from './connect.ts';
import { print } from './context.ts';
import type { Table } from './terminal/table.ts';
import { formatTime } from './terminal/time.ts';

export const retention = group('retention', 'how long evidence and attestations are kept, and what is removed', [
  command({
    name: 'describe',
    about: 'show how long the organization keeps what',
    examples: ['chainloop retention describe'],
    flags: {},
    run: async (context) => {
      const kept = await (await connect(context)).retention.describe.query();
      print(context, kept, () => [settings(kept)]);
    },
  }),
  command({
    name: 'set',
    about: 'say how long the organization keeps what',
    examples: [
      'chainloop retention set --unpushed-days 14',
      'chainloop retention set --attestation-days 3650',
      'chainloop retention set --forever',
    ],
    details: `Unpushed is evidence that a job brought and no attestation speaks of; its time begins anew whenever somebody uploads it again. What
an operator uploads is not removed. A hold (run hold, workflow hold) is stronger than any time.`,
    flags: {
      unpushedDays: count('<n>', 'days for evidence that no attestation speaks of, from 2', { most: 36_500 }),
      attestationDays: count('<n>', 'days for attestations, and the evidence that only they speak of', { most: 36_500 }),
      forever: toggle('keep attestations for ever, as at the beginning'),
    },
    run: async (context, { unpushedDays, attestationDays, forever }) => {
      if (unpushedDays === undefined && attestationDays === undefined && !forever) throw new ChainloopError('USAGE', 'say what to change');
      if (attestationDays !== undefined && forever) throw new ChainloopError('USAGE', 'give either --attestation-days or --forever');
      const client = await connect(context);
      const kept = await client.retention.set.mutate({ unpushedDays, attestationDays: forever ? 'forever' : attestationDays });
      context.log.info('Retention set!');
      print(context, kept, () => [settings(kept)]);
    },
  }),
  command({
    name: 'run',
    about: 'remove now what is not kept any more, or list what that would be; servers do it by themselves every day',
    examples: ['chainloop retention run --dry-run', 'chainloop retention run --dry-run --output json', 'chainloop retention run'],
    details: 'Attestations are taken out of storage a moment later, by the outbox; then their evidence goes, with the next run.',
    flags: { dryRun: toggle('only list it') },
    run: async (context, { dryRun }) => {
      const client = await connect(context);
      const steps: CollectionStep[] = [];
      let cursor: string | undefined;
      for (let more = true; more; ) {
        const step = await client.retention.collect.mutate({ dryRun, cursor });
        steps.push(step);
        ({ nextCursor: cursor, more } = step);
      }
      const attestations = steps.flatMap((step) => step.attestations);
      const evidence = steps.flatMap((step) => step.evidence);
      const sizeBytes = evidence.reduce((sum, one) => sum + one.sizeBytes, 0);
      const failed = steps.reduce((sum, step) => sum + step.failed, 0);
      context.log.info(
        `${dryRun ? 'would remove' : 'removed'}: ${attestations.length} attestations, ${evidence.length} pieces of evidence, ${sizeBytes} bytes`,
      );
      print(context, { dryRun, attestations, evidence, sizeBytes, failed }, () => [
        ...(attestations.length === 0 ? [] : [runTable(attestations)]),
        ...(evidence.length === 0 ? [] : [evidenceTable(evidence)]),
      ]);
      if (failed > 0) {
        throw new ChainloopError(
          'STORAGE_UNAVAILABLE',
          `${failed} pieces of evidence could not be removed; the server's log says why; try again later`,
        );
      }
    },
  }),
]);

function settings({ unpushedDays, attestationDays }: RetentionView): Table {
  return {
    rows: [
      ['Evidence without an attestation', `${unpushedDays} days`],
      ['Attestations and their evidence', attestationDays === null ? 'for ever' : `${attestationDays} days`],
    ],
  };
}

function runTable(runs: CollectionStep['attestations']): Table {
  return { header: ['RUN', 'FINISHED AT'], rows: runs.map(({ runId, finishedAt }) => [runId, formatTime(finishedAt)]) };
}

function evidenceTable(evidence: CollectionStep['evidence']): Table {
  return {
    header: ['DIGEST', 'NAME', 'SIZE'],
    rows: evidence.map(({ digest, fileName, sizeBytes }) => [digest, fileName ?? '', String(sizeBytes)]),
    right: [2],
  };
}
