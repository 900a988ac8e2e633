import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChainloopError } from '../core/errors.ts';
import { describeJson, describeTables, footnote, listTable, type ShownRun } from './run-tables.ts';
import { renderTable } from './terminal/table.ts';

const san = 'https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main';
const runUrl = 'https://github.com/acme/app/actions/runs/1/attempts/1';
const issuer = 'https://token.actions.githubusercontent.com';

/** A run of a job that nobody vouches for. */
const selfReported: ShownRun = {
  workflow: { id: 'w', name: 'release', team: 'core', project: 'app', contractName: 'release', contractRevision: 1 },
  run: {
    ...{ id: 'r', state: 'success', reason: null, initializedAt: '2026-11-23T09:00:00Z', finishedAt: '2026-11-23T09:01:00Z' },
    ...{ expiresAt: '2026-11-24T09:00:00Z', runnerType: 'GITHUB_ACTION', runnerUrl: runUrl, runnerAuthenticated: false },
    ...{ claims: null, identity: null, hold: null, removedAt: null },
  },
  attestation: {
    ...{ digest: 'sha256:00', payloadType: 'application/vnd.in-toto+json', predicateType: 'chainloop.dev/attestation/v0.2' },
    ...{ verified: true, signer: san, verificationError: null, materials: [], env: { GITHUB_REF: 'refs/heads/main' }, annotations: {} },
  },
  effects: [],
};
/** The same, proved by GitHub. */
const proven: ShownRun = {
  ...selfReported,
  run: {
    ...selfReported.run,
    runnerAuthenticated: true,
    claims: {
      ...{ kind: 'github', issuer, repository: 'acme/app', repositoryId: '1', owner: 'acme', ownerId: '2', ref: 'refs/heads/main' },
      ...{ commit: '9a96775da456e595f242bb9b5826cf46d8dd5d81', actor: 'alice', event: 'push', runId: '1', runUrl, san, fulcio: {} },
      ...{ workflowRef: 'acme/app/.github/workflows/release.yml@refs/heads/main', runnerEnvironment: 'github-hosted' },
    },
  },
};

const rowsOf = (shown: ShownRun, check?: Parameters<typeof describeTables>[1]) =>
  new Map(describeTables(shown, check)[0]?.rows.flatMap((row) => (row === 'line' ? [] : [[row[0] ?? '', row[1]] as const])));

test('what only the client said of the runner is called self-reported', () => {
  const rows = rowsOf(selfReported);
  assert.equal(rows.get('Runner Type'), 'Github action (self-reported)');
  assert.equal(rows.get('Runner Link'), `${runUrl} (self-reported)`);
  assert.equal(rows.has('Verified Claims'), false);
  assert.match(footnote(selfReported), /only the job says/);
});

test('what a CI system proved is shown as verified, and who proved it', () => {
  const rows = rowsOf(proven);
  assert.equal(rows.get('Runner Type'), 'Github action (verified)');
  assert.deepEqual(
    ['Repository', 'Commit', 'Ref', 'Actor', 'Event', 'Workflow File', 'Runner', 'Proven By'].map((name) => rows.get(name)),
    [
      ...['acme/app', '9a96775da456e595f242bb9b5826cf46d8dd5d81', 'refs/heads/main', 'alice', 'push'],
      ...['acme/app/.github/workflows/release.yml@refs/heads/main', 'github-hosted', issuer],
    ],
  );
  assert.ok(rows.has('Verified Claims'));
  assert.match(footnote(proven), /environment variables/, 'what the job adds is its own word in any case');
});

test('a run in no CI system is called nothing', () => {
  const { run, attestation } = selfReported;
  const local = {
    ...selfReported,
    run: { ...run, runnerType: null, runnerUrl: null },
    attestation: attestation && { ...attestation, env: {} },
  };
  assert.equal(rowsOf(local).get('Runner Type'), 'unspecified');
  assert.equal(footnote(local), '');
});

test('a list says for each run who vouches for its runner', () => {
  const run = { id: 'r', project: 'app', workflow: 'release', workflowId: 'w', state: 'success', contractRevision: 1, runUrl } as const;
  const rest = { createdAt: '2026-11-23T09:00:00Z', finishedAt: null, runnerType: 'GITHUB_ACTION' } as const;
  const { rows } = listTable([
    { ...run, ...rest, runnerAuthenticated: false },
    { ...run, ...rest, runnerAuthenticated: true },
    { ...run, ...rest, runUrl: null, runnerAuthenticated: false },
  ]);
  assert.deepEqual(
    rows.map((row) => row !== 'line' && row[5]),
    [`${runUrl} (self-reported)`, `${runUrl} (verified)`, ''],
  );
});

test('the verdict of this program takes the place of the control plane, in the table and in JSON', () => {
  const signer = { type: 'certificate', name: san, issuer, signedAt: new Date('2026-11-23T09:01:00Z') } as const;
  const rows = rowsOf(proven, { type: 'verified', signer });
  assert.equal(rows.get('Verified By'), 'this program, with the trusted root given');
  assert.deepEqual([rows.get('Signer'), rows.get('Issuer'), rows.get('Signed At')], [san, issuer, '23 Nov 26 09:01 UTC']);

  const error = new ChainloopError('SIGNER_UNTRUSTED', 'somebody else');
  const refused = rowsOf(proven, { type: 'refused', error });
  assert.deepEqual(
    [refused.get('Verified'), refused.get('Verified By'), refused.get('Reason')],
    ['false', 'this program', 'somebody else'],
  );
  assert.equal(refused.has('Signer'), false);
});

test('scripts find the verdict at the top, also of a run without an attestation', () => {
  const top = (shown: ShownRun) => {
    const { verified, verifiedBy, signer, verificationError, runnerAuthenticated }: Record<string, unknown> = JSON.parse(
      JSON.stringify(describeJson(shown, undefined)),
    );
    return { verified, verifiedBy, signer, verificationError, runnerAuthenticated };
  };
  const by = { verifiedBy: 'control-plane' };
  assert.deepEqual(top(proven), { ...by, verified: true, signer: san, verificationError: null, runnerAuthenticated: true });
  const open = { ...selfReported, run: { ...selfReported.run, state: 'failed' as const }, attestation: null };
  const verificationError = 'run r has no attestation: its state is failed';
  assert.deepEqual(top(open), { ...by, verified: false, signer: null, verificationError, runnerAuthenticated: false });
});

test('the description fits 80 columns', () => {
  for (const table of describeTables(proven, undefined)) {
    for (const line of renderTable(table, { width: 80 }).trimEnd().split('\n')) assert.ok(line.length <= 80, line);
  }
});

test('a run that an older control plane describes, which says less, is shown', () => {
  const { effects: _, ...older } = selfReported;
  const { hold: __, removedAt: ___, ...run } = older.run;
  assert.deepEqual(describeTables({ ...older, run }, undefined), describeTables(selfReported, undefined));
});
