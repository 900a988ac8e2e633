import { displayRunnerType } from '../core/runner.ts';
import type { RunDescription } from '../core/wire.ts';
import type { RunCheck } from './run-verify.ts';
import type { Table } from './terminal/table.ts';
import { formatTime } from './terminal/time.ts';

/** What is shown of a description: all but the raw documents. */
export type ShownRun = Omit<RunDescription, 'attestation'> & {
  readonly attestation: null | Omit<NonNullable<RunDescription['attestation']>, 'statement' | 'bundle'>;
};

/** The boxes of `workflow run describe`. `check` is what this program found itself, with the user's own keys. */
export function describeTables({ workflow, run, attestation }: ShownRun, check: RunCheck | undefined): readonly Table[] {
  const section = (title: string): Table['rows'] => ['line', [title, ''], 'line'];
  const optional = (name: string, value: string | null): Table['rows'] => (value === null || value === '' ? [] : [[name, value]]);
  const summary: Table = {
    title: 'Workflow',
    rows: [
      ['ID', workflow.id],
      ['Name', workflow.name],
      ['Team', workflow.team],
      ['Project', workflow.project],
      ['Contract', `${workflow.contractName} (revision ${workflow.contractRevision})`],
      ...section('Workflow Run'),
      ['ID', run.id],
      ['Initialized At', formatTime(run.initializedAt)],
      ...(run.finishedAt === null ? [['Expires At', formatTime(run.expiresAt)]] : [['Finished At', formatTime(run.finishedAt)]]),
      ['State', run.state],
      ...optional('Reason', run.reason),
      ['Runner Type', displayRunnerType(run.runnerType)],
      ...optional('Runner Link', run.runnerUrl),
      ...(attestation === null
        ? []
        : [...section('Statement'), ['Payload Type', attestation.payloadType], ...verification(attestation, check)]),
    ],
  };
  if (attestation === null) return [summary];
  const { materials, env, annotations } = attestation;
  return [
    summary,
    { title: 'Materials', header: ['NAME', 'TYPE', 'VALUE'], rows: materials.map(({ name, type, value }) => [name, type, value]) },
    ...recordTable('Environment Variables', env),
    ...recordTable('Annotations', annotations),
  ];
}

function verification(attestation: NonNullable<ShownRun['attestation']>, check: RunCheck | undefined): readonly (readonly string[])[] {
  const digest = ['Digest', attestation.digest];
  switch (check?.type) {
    case 'verified':
      return [['Verified', 'true'], ['Verified By', 'this program, with the keys given'], ['Signer', check.signer], digest];
    case 'refused':
      return [['Verified', 'false'], ['Verified By', 'this program, with the keys given'], ['Reason', check.error.message], digest];
    case undefined: {
      const reason = attestation.verificationError === null ? [] : [['Reason', attestation.verificationError]];
      const signer = attestation.signer === null ? [] : [['Signer', attestation.signer]];
      return [
        ['Verified', String(attestation.verified)],
        ...(attestation.verified ? [['Verified By', 'the control plane']] : []),
        ...reason,
        ...signer,
        digest,
      ];
    }
  }
}

function recordTable(title: string, record: Readonly<Record<string, string>>): readonly Table[] {
  const entries = Object.entries(record);
  return entries.length === 0 ? [] : [{ title, header: ['NAME', 'VALUE'], rows: entries }];
}
