import type { JobClaims } from '../core/claims.ts';
import { displayRunnerType } from '../core/runner.ts';
import type { VerdictView } from '../core/verdict.ts';
import type { RunDescription, RunView } from '../core/wire.ts';
import { effectTable } from './outbox.ts';
import type { RunCheck } from './run-verify.ts';
import type { Table } from './terminal/table.ts';
import { formatTime } from './terminal/time.ts';
import { signerRows } from './verify.ts';

/** What is shown of a description: all but the raw documents. */
export type ShownRun = Omit<RunDescription, 'attestation'> & {
  readonly attestation: null | Omit<NonNullable<RunDescription['attestation']>, 'statement' | 'bundle'>;
};

export function listTable(runs: readonly RunView[]): Table {
  return {
    header: ['ID', 'PROJECT', 'WORKFLOW', 'STATE', 'CREATED AT', 'RUN URL'],
    rows: runs.map(({ id, project, workflow, state, createdAt, runUrl, runnerAuthenticated }) => [
      ...[id, project, workflow, state, formatTime(createdAt), vouched(runUrl ?? '', runnerAuthenticated)],
    ]),
  };
}

/** The same value with who says so. */
function vouched(value: string, authenticated: boolean): string {
  if (value === '') return '';
  return `${value} ${authenticated ? '(verified)' : '(self-reported)'}`;
}

/** The boxes of `workflow run describe`. `check` is what this program found itself, with the user's own keys. */
export function describeTables(shown: ShownRun, check: RunCheck | undefined): readonly Table[] {
  // What was added later, a control plane of before does not say.
  const { workflow, run, attestation, effects = [] } = shown;
  const section = (title: string): Table['rows'] => ['line', [title, ''], 'line'];
  const optional = (name: string, value: string | null | undefined): Table['rows'] => (value ? [[name, value]] : []);
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
      ...optional('On Hold', run.hold && `since ${formatTime(run.hold.since)}: ${run.hold.reason}`),
      ...optional('Removed By Retention', run.removedAt && formatTime(run.removedAt)),
      [
        'Runner Type',
        run.runnerType === null ? displayRunnerType(null) : vouched(displayRunnerType(run.runnerType), run.runnerAuthenticated),
      ],
      ...optional('Runner Link', vouched(run.runnerUrl ?? '', run.runnerAuthenticated)),
      ...(run.claims === null
        ? optional('Commit', vouched(run.commit ?? '', false))
        : [...section('Verified Claims'), ...claimRows(run.claims)]),
      ...(attestation === null ? [] : [...section('Statement'), ['Payload Type', attestation.payloadType], ...verification(shown, check)]),
    ],
  };
  const verdicts = shown.verdict === undefined || shown.verdict.result === null ? [] : [verdictTable(shown.verdict)];
  if (attestation === null) return [summary, ...verdicts];
  const { materials, env, annotations } = attestation;
  return [
    summary,
    ...verdicts,
    { title: 'Materials', header: ['NAME', 'TYPE', 'VALUE'], rows: materials.map(({ name, type, value }) => [name, type, value]) },
    ...recordTable('Environment Variables', env),
    ...recordTable('Annotations', annotations),
    ...(effects.length === 0 ? [] : [{ title: 'Still To Be Done', ...effectTable(effects) }]),
  ];
}

/** What the control plane signed about the run. */
function verdictTable({ result, level, reasons, verifier, vsa, provenance, problem }: VerdictView): Table {
  return {
    title: 'Verdict',
    rows: [
      ['Result', result ?? ''],
      ...(level === null ? [] : [['SLSA Build Level', String(level)]]),
      ...reasons.map((reason) => ['Reason', reason]),
      ...(vsa === null ? [] : [['Verifier', verifier]]),
      ...(vsa === null ? [] : [['Summary (VSA)', vsa.digest]]),
      ...(provenance === null ? [] : [['Provenance', provenance.digest]]),
      ...(problem === null ? [] : [['Problem', problem]]),
    ],
  };
}

/** What the CI system proved of the job. */
function claimRows(claims: JobClaims): readonly (readonly string[])[] {
  const { issuer, repository, commit, ref, actor, event, workflowRef, jobWorkflowRef, environment, runnerEnvironment } = claims;
  const reusable = jobWorkflowRef === undefined || jobWorkflowRef === workflowRef ? [] : [['Reusable Workflow', jobWorkflowRef]];
  return [
    ['Repository', repository],
    ['Commit', commit],
    ['Ref', ref],
    ['Actor', actor],
    ['Event', event],
    ['Workflow File', workflowRef],
    ...reusable,
    ...(environment === undefined ? [] : [['Environment', environment]]),
    ['Runner', runnerEnvironment],
    ['Proven By', issuer],
  ];
}

/** Whether it holds, who signed, who says so, and why not. */
type Verdict = {
  readonly verified: boolean;
  readonly verifiedBy: 'control-plane' | 'this-program';
  readonly signer: string | null;
  readonly verificationError: string | null;
};

function verdict({ run, attestation }: ShownRun, check: RunCheck | undefined): Verdict {
  switch (check?.type) {
    case 'verified':
      return { verified: true, verifiedBy: 'this-program', signer: check.signer.name, verificationError: null };
    case 'refused':
      return { verified: false, verifiedBy: 'this-program', signer: null, verificationError: check.error.message };
    case undefined: {
      const missing = { verified: false, signer: null, verificationError: `run ${run.id} has no attestation: its state is ${run.state}` };
      const { verified, signer, verificationError } = attestation ?? missing;
      return { verified, verifiedBy: 'control-plane', signer, verificationError };
    }
  }
}

/** The description for scripts: what they ask first stands at the top. */
export function describeJson(description: ShownRun, check: RunCheck | undefined): unknown {
  return { ...verdict(description, check), runnerAuthenticated: description.run.runnerAuthenticated, ...description };
}

/** What stands below the boxes. */
export function footnote({ run, attestation }: ShownRun): string {
  const own = Object.keys({ ...attestation?.env, ...attestation?.annotations }).length > 0;
  if (!own && (run.runnerAuthenticated || run.runnerType === null)) return '';
  return 'Self-reported is what only the job says; environment variables, annotations and STRING materials always are.\n';
}

function verification(shown: ShownRun, check: RunCheck | undefined): readonly (readonly string[])[] {
  const { verified, verifiedBy, signer, verificationError } = verdict(shown, check);
  const own =
    check?.type !== 'verified' ? 'this program' : `this program, with the ${check.signer.type === 'key' ? 'keys' : 'trusted root'} given`;
  return [
    ['Verified', String(verified)],
    ...(verified || check !== undefined ? [['Verified By', verifiedBy === 'control-plane' ? 'the control plane' : own]] : []),
    ...(verificationError === null ? [] : [['Reason', verificationError]]),
    ...(check?.type === 'verified' ? signerRows(check.signer) : signer === null ? [] : [['Signer', signer]]),
    ['Digest', shown.attestation?.digest ?? ''],
  ];
}

function recordTable(title: string, record: Readonly<Record<string, string>>): readonly Table[] {
  const entries = Object.entries(record);
  return entries.length === 0 ? [] : [{ title, header: ['NAME', 'VALUE'], rows: entries }];
}
