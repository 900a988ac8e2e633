import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { globSync } from 'node:fs';
import { test } from 'node:test';
import { is, Placeholder, SQL, sql } from 'drizzle-orm';
import { PgDialect } from 'drizzle-orm/pg-core';
import { type Digest, digestOf } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';
import { forEachDatabase } from '../test/databases.ts';
import { releaseStart } from '../test/fakes/crafting.ts';
import { furnished } from '../test/fakes/furnished.ts';
import * as attestations from './attestations.ts';
import * as audit from './audit.ts';
import { createBinding, describeBinding, listBindings, removeBinding } from './bindings.ts';
import * as backends from './cas-backends.ts';
import type { OrgScope, Tx } from './client.ts';
import * as collected from './collected.ts';
import * as contracts from './contracts.ts';
import * as discover from './discover.ts';
import * as evidence from './evidence.ts';
import { someAttested, someContent } from './fixtures.ts';
import * as identities from './identities.ts';
import * as keys from './keys.ts';
import * as members from './members.ts';
import { describeOrganization } from './organizations.ts';
import * as outbox from './outbox.ts';
import { ensureProject, listProjects } from './projects.ts';
import * as retention from './retention.ts';
import * as states from './run-states.ts';
import * as runs from './runs.ts';
import * as tokens from './tokens.ts';
import { findVerdict, recordVerdict, workflowsThatBrought } from './verdicts.ts';
import * as workflows from './workflows.ts';

// Row-level security, with the wall of the application taken away: every query of every function that takes an organization runs with
// its WHERE made true, in the scope of one organization and with the ids of another, and must neither return nor change a row of that.

/** `where true or (…)` in place of every `where …`, at any depth; the parameters stay where they are. */
function withoutWhere(text: string): string {
  let out = '';
  // For each open parenthesis, and the text itself: is a condition open in it?
  const open: boolean[] = [false];
  const close = (): string => (open.pop() === true ? ')' : '');
  const tokens = text.matchAll(/'(?:[^']|'')*'|"(?:[^"]|"")*"|[a-z_]\w*|[()]|\s+|./gis);
  for (const [token] of tokens) {
    const word = token.toLowerCase();
    if (token === '(') open.push(false);
    if (token === ')') out += close();
    if (open.at(-1) === true && ends.has(word)) {
      out += ')';
      open[open.length - 1] = false;
    }
    out += token;
    if (word === 'where') {
      out += ' true or (';
      open[open.length - 1] = true;
    }
  }
  return out + close();
}

/** What may follow a condition (PostgreSQL, SELECT, INSERT, UPDATE, DELETE). */
const ends = new Set([
  'group',
  'having',
  'window',
  'union',
  'intersect',
  'except',
  'order',
  'limit',
  'offset',
  'fetch',
  'for',
  'returning',
  'on',
]);

test('the condition goes, and all else stays', () => {
  const rows = [
    ['select 1', 'select 1'],
    ['select a from t where x = $1', 'select a from t where true or ( x = $1)'],
    ['select a from t where x = $1 order by a limit 2', 'select a from t where true or ( x = $1 )order by a limit 2'],
    [
      "update t set a = ' where ' where b in (select c from d where e) returning a",
      "update t set a = ' where ' where true or ( b in (select c from d where true or ( e)) )returning a",
    ],
    [
      'with r as (update t set a = 1 where b) select exists (select from r)',
      'with r as (update t set a = 1 where true or ( b)) select exists (select from r)',
    ],
  ];
  for (const [text = '', expected] of rows) assert.equal(withoutWhere(text), expected);
});

type First = Awaited<ReturnType<typeof furnished>>;
/** When everything is due. */
const later = new Date('2098-01-01');
const everything = { after: '', upTo: 'ff'.repeat(32) };
const page = { limit: 100 };
const now = new Date();
const inTransaction = <T>(scope: OrgScope, fn: (tx: Tx) => Promise<T>): Promise<T> => scope.run(fn);
const unique = (): string => `n-${randomUUID()}`;
const digest = (): Digest => digestOf(randomUUID());

/** One row for each function that takes an organization, asked for somebody else's things. */
const rows: Readonly<Record<string, (scope: OrgScope, first: First) => Promise<unknown>>> = {
  createBinding: (scope, { workflowId }) =>
    createBinding(scope, { workflowId, issuer: 'i', repository: 'a/b', ids: undefined, refs: [], events: [], pendingUntil: now }),
  listBindings: (scope) => listBindings(scope, page),
  describeBinding: (scope, { bindingId }) => describeBinding(scope, bindingId),
  removeBinding: (scope, { bindingId }) => removeBinding(scope, bindingId, now),
  createCasBackend: (scope) =>
    backends.createCasBackend(
      scope,
      { name: unique(), provider: 'layout', location: 'x', insecure: false, credentials: null, isDefault: true },
      now,
    ),
  listCasBackends: (scope) => backends.listCasBackends(scope),
  describeCasBackend: (scope, { backendId }) => backends.describeCasBackend(scope, { id: backendId }),
  describeCurrentCasBackend: (scope) => backends.describeCurrentCasBackend(scope),
  setFallbackCasBackend: (scope, { backendName }) => backends.setFallbackCasBackend(scope, backendName),
  setDefaultCasBackend: (scope, { backendName }) => backends.setDefaultCasBackend(scope, backendName),
  setMirror: (scope, { backendName }) => backends.setMirror(scope, backendName, true),
  recordCheck: (scope, { backendName }) => backends.recordCheck(scope, backendName, 'sabotage', now),
  replaceCredentials: (scope, { backendName }) => backends.replaceCredentials(scope, backendName, Buffer.from('sabotage'), now),
  removeCasBackend: (scope, { backendName }) => backends.removeCasBackend(scope, backendName),
  listAttested: (scope) => attestations.listAttested(scope, digestOf('artifact of first'), page),
  collect: (scope, { openId }) =>
    collected.collect(
      scope,
      openId,
      { material: { name: 'commit', type: 'STRING', value: 'y', uploaded: false, annotations: {} }, job: 'j' },
      now,
    ),
  listUnattested: (scope) => collected.listUnattested(scope, digestOf('artifact of first'), { now, limit: 3, among: 100 }),
  listCollected: (scope, { openId }) => collected.listCollected(scope, openId),
  lockCollected: (scope, { openId }) => inTransaction(scope, (tx) => collected.lockCollected(tx, scope, openId, [], now)),
  keepStart: (scope, { openId }) => collected.keepStart(scope, openId, releaseStart),
  startOf: (scope, { openId }) => collected.startOf(scope, openId),
  sharedRun: (scope, { workflowId }) => collected.sharedRun(scope, workflowId, 'key'),
  createContract: (scope) => contracts.createContract(scope, unique(), someContent()),
  insertContract: (scope) => inTransaction(scope, (tx) => contracts.insertContract(tx, scope, unique(), someContent())),
  addRevision: (scope, { workflow }) => contracts.addRevision(scope, workflow.contractName, someContent(unique())),
  listContracts: (scope) => contracts.listContracts(scope, page),
  describeContract: (scope, { workflow }) => contracts.describeContract(scope, workflow.contractName),
  removeContract: (scope, { workflow }) => contracts.removeContract(scope, workflow.contractName),
  lockContract: (scope, { workflow }) => inTransaction(scope, (tx) => contracts.lockContract(tx, scope, workflow.contractName)),
  recordEvidence: (scope, { backendId, digest: theirs }) =>
    evidence.recordEvidence(scope, { digest: theirs, casBackendId: backendId, sizeBytes: 2 }),
  findEvidence: (scope, { digest: theirs }) => evidence.findEvidence(scope, [theirs]),
  hasEvidenceOfSize: (scope, { backendId }) => evidence.hasEvidenceOfSize(scope, backendId, 1),
  listUses: (scope) => evidence.listUses(scope, digestOf('artifact of first'), page),
  identify: (scope) => discover.identify(scope, digestOf('schemaVersion: v1')),
  listTouching: (scope) => discover.listTouching(scope, digestOf('artifact of first'), page),
  listEvidenceOf: (scope, { runId }) => discover.listEvidenceOf(scope, [runId], { digest: undefined, most: 10, textLength: 10 }),
  listVerdictsOf: (scope, { runId }) => discover.listVerdictsOf(scope, [runId]),
  createIdentity: (scope) => identities.createIdentity(scope, { name: unique(), issuer: 'i', san: 's', match: 'exact', trustedRoot: null }),
  listIdentities: (scope) => identities.listIdentities(scope, page),
  allIdentities: (scope) => identities.allIdentities(scope),
  removeIdentity: (scope, { identityName }) => identities.removeIdentity(scope, identityName),
  createKey: (scope) => keys.createKey(scope, { name: unique(), hint: unique(), type: 'P-256', pem: 'pem' }),
  listKeys: (scope) => keys.listKeys(scope, page),
  trustedKeys: (scope) => keys.trustedKeys(scope),
  removeKey: (scope, { keyName }) => keys.removeKey(scope, keyName),
  confirmEvidence: (scope, { digest: theirs }) => evidence.confirmEvidence(scope, theirs),
  touchEvidence: (scope, { digest: theirs }) => evidence.touchEvidence(scope, theirs, { at: later, pinned: true }),
  describeRetention: (scope) => retention.describeRetention(scope),
  setRetention: (scope) => retention.setRetention(scope, { unpushedDays: 3, attestationDays: 1 }),
  holdRun: (scope, { runId }) => retention.holdRun(scope, runId, { reason: 'sabotage', now }),
  holdWorkflow: (scope, { workflowId }) => retention.holdWorkflow(scope, workflowId, { reason: 'sabotage', now }),
  listDueRuns: (scope) => retention.listDueRuns(scope, { now: later, limit: 100 }),
  removeDueRuns: (scope) => retention.removeDueRuns(scope, { now: later, limit: 100 }),
  nextStretch: (scope) => retention.nextStretch(scope, '', 100),
  listDueEvidence: (scope) => retention.listDueEvidence(scope, everything, later),
  markDueEvidence: (scope) => retention.markDueEvidence(scope, everything, later),
  unmarkSpokenFor: (scope, { digest: theirs }) =>
    retention.unmarkSpokenFor(scope, [{ digest: theirs, fileName: null, sizeBytes: 1, manifestDigest: null }], later),
  finishRemoval: (scope, { digest: theirs }) => retention.finishRemoval(scope, theirs, later),
  listAudit: (scope) => audit.listAudit(scope, page),
  auditHead: (scope) => audit.auditHead(scope),
  exportAudit: (scope) => audit.exportAudit(scope, { after: 0, limit: 100 }),
  recordAct: (scope) => audit.recordAct(scope, { action: 'request.refuse', name: 'sabotage', details: {} }),
  listEffects: (scope) => outbox.listEffects(scope, page),
  effectsOfRun: (scope, { runId }) => outbox.effectsOfRun(scope, runId),
  retryEffect: (scope, { effectId }) => outbox.retryEffect(scope, effectId),
  retryFailedEffects: (scope) => outbox.retryFailedEffects(scope),
  describeOrganization: (scope) => describeOrganization(scope),
  listProjects: (scope) => listProjects(scope, page),
  ensureProject: (scope) => inTransaction(scope, (tx) => ensureProject(tx, scope, 'bedrock')),
  openRun: (scope, { workflowId }) =>
    states.openRun(scope, { workflowId, runner: { authenticated: false }, idempotencyKey: unique(), expiresAt: new Date('2099-01-01') }),
  noteAttempt: (scope, { openId }) => states.noteAttempt(scope, openId, 9),
  pushRun: (scope, { openId }) => states.pushRun(scope, openId, someAttested('second'), now),
  endRun: (scope, { openId }) => states.endRun(scope, openId, { state: 'failed', reason: 'sabotage', now }),
  listRuns: (scope, { workflowId }) => runs.listRuns(scope, { ...page, workflowId }),
  listRun: (scope, { runId }) => runs.listRun(scope, runId),
  describeRun: (scope, { runId }) => runs.describeRun(scope, runId),
  listMaterials: (scope, { runId }) => runs.listMaterials(scope, runId),
  selectRun: (scope) => inTransaction(scope, (tx) => runs.selectRun(tx, scope, undefined)),
  createToken: (scope, { workflowId }) => tokens.createToken(scope, { name: unique(), hash: digest(), expiresAt: null, workflowId }),
  listTokens: (scope) => tokens.listTokens(scope, 'service-account', page),
  revokeToken: (scope, { tokenId }) => tokens.revokeToken(scope, 'service-account', tokenId, now),
  findVerdict: (scope, { runId }) => findVerdict(scope, runId),
  recordVerdict: (scope, { runId }) =>
    recordVerdict(
      scope,
      { runId, level: 3, reasons: [], vsaDigest: digest(), vsaSizeBytes: 2, provenanceDigest: null, provenanceSizeBytes: null },
      digest(),
    ),
  workflowsThatBrought: (scope, { openId }) => workflowsThatBrought(scope, openId),
  listMembers: (scope) => members.listMembers(scope, page),
  listMadeBy: (scope, { userId }) => members.listMadeBy(scope, userId, now),
  setMemberRole: (scope, { memberId }) => members.setMemberRole(scope, memberId, 'viewer'),
  removeMember: (scope, { memberId }) => members.removeMember(scope, memberId),
  createInvitation: (scope) =>
    members.createInvitation(scope, { email: `${unique()}@example.com`, role: 'owner', hash: digest(), expiresAt: later }),
  listInvitations: (scope) => members.listInvitations(scope, page),
  removeInvitation: (scope, { invitationId }) => members.removeInvitation(scope, invitationId),
  acceptInvitation: (scope, { invitationHash, userId }) => members.acceptInvitation(scope, { hash: invitationHash, userId, now }),
  createWorkflow: (scope, { workflow }) =>
    workflows.createWorkflow(scope, { name: unique(), project: 'bedrock', team: '', contract: workflow.contractName }),
  listWorkflows: (scope) => workflows.listWorkflows(scope, page),
  describeWorkflow: (scope, { workflow }) => workflows.describeWorkflow(scope, workflow),
  findWorkflow: (scope, { workflowId }) => workflows.findWorkflow(scope, workflowId),
  updateWorkflow: (scope, { workflow }) => workflows.updateWorkflow(scope, workflow, { team: 'intruders' }),
  removeWorkflow: (scope, { workflow }) => workflows.removeWorkflow(scope, workflow, now),
};

test('every function that takes an organization has a row here', async () => {
  const folder = new URL('.', import.meta.url);
  const found: string[] = [];
  for (const file of globSync('*.ts', { cwd: folder }).filter((name) => !name.includes('.test.') && name !== 'fixtures.ts')) {
    const module: Record<string, unknown> = await import(new URL(file, folder).href);
    for (const [name, value] of Object.entries(module)) {
      if (typeof value === 'function' && /^(async )?function \w+\( ?(tx ?, ?)?scope\b/.test(value.toString().replaceAll(/\s+/g, ' ')))
        found.push(name);
    }
  }
  assert.deepEqual(Object.keys(rows).toSorted(), found.toSorted());
});

forEachDatabase('with the WHERE of every query removed, no foreign row is returned or changed', async (t, database) => {
  const [first, second] = [await furnished(database), await furnished(database)];
  const before = await everyRow(first.scope);
  const marks = marksOf(before, await everyRow(second.scope));
  assert.ok(marks.length > 30, String(marks.length));
  const bare = withoutWalls();
  try {
    // The conditions are gone indeed: an id of nobody finds whatever the scope may see.
    assert.ok([first.runId, first.openId].includes((await runs.describeRun(first.scope, randomUUID())).id));
    assert.equal((await evidence.findEvidence(first.scope, [digest()])).length, 1);
    const outcomes: Record<string, number> = { returned: 0, refused: 0 };
    for (const [name, ask] of Object.entries(rows)) {
      // A name of its own, or none, since a prepared statement keeps its text. Lists are written once.
      const scope: OrgScope = {
        ...second.scope,
        statement: (named, query) => second.scope.statement(`${named} without where`, query),
        rows: (query, options) =>
          second.scope.rows(query instanceof SQL ? query : { ...query, name: undefined, text: bare.of(query.text) }, options),
      };
      const answer = await ask(scope, first).then(
        (value) => ({ type: 'returned', text: JSON.stringify(value) ?? '' }),
        (error) => ({ type: 'refused', text: error instanceof ChainloopError ? '' : String(error) }),
      );
      outcomes[answer.type] = (outcomes[answer.type] ?? 0) + 1;
      // A refusal may repeat what was asked for.
      const asked = answer.type === 'refused' ? stringsOf({ ...first, scope: undefined }) : [];
      assert.deepEqual(
        marks.filter((mark) => answer.text.includes(mark) && !asked.includes(mark)),
        [],
        `${name}: ${answer.type} ${answer.text}`,
      );
    }
    t.diagnostic(
      `${Object.keys(rows).length} functions, ${bare.count()} queries without their WHERE: ${JSON.stringify(outcomes)}; foreign rows: 0`,
    );
  } finally {
    bare.restore();
  }
  assert.deepEqual(await everyRow(first.scope), before);
});

/** Every row that the scope may see, of every table there is. */
async function everyRow(scope: OrgScope): Promise<Record<string, unknown[]>> {
  const { rows: tables } = await scope.run((tx) =>
    tx.execute<{ name: string }>(sql`select relname as name from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace
      and has_table_privilege(oid, 'select') order by relname`),
  );
  const all: Record<string, unknown[]> = {};
  for (const { name } of tables) {
    const { rows: found } = await scope.run((tx) =>
      tx.execute(sql`select to_jsonb(t) as row from ${sql.identifier(name)} t order by to_jsonb(t)::text`),
    );
    all[name] = found;
  }
  return all;
}

/** What is in one and not in the other: ids, and whatever names the organization; not digests, which are what is asked for. */
function marksOf(mine: unknown, theirs: unknown): readonly string[] {
  const known = new Set(stringsOf(theirs));
  return [...new Set(stringsOf(mine))].filter(
    (text) => !known.has(text) && text.length > 12 && !/^(?:\d{4}-\d\d-\d\dT|sha256:)/.test(text),
  );
}

function stringsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(stringsOf) : [];
}

/** Whatever drizzle writes has no condition until `restore`. */
function withoutWalls() {
  const original = PgDialect.prototype.sqlToQuery;
  let count = 0;
  const bare = (text: string): string => {
    const without = withoutWhere(text);
    if (without !== text) count++;
    return without;
  };
  PgDialect.prototype.sqlToQuery = function (...given) {
    // What is kept has its conditions, for what comes after this test.
    const query = original.apply(this, given);
    return query.params.some((param) => is(param, Placeholder)) ? query : { ...query, sql: bare(query.sql) };
  };
  return {
    of: bare,
    count: () => count,
    restore() {
      PgDialect.prototype.sqlToQuery = original;
    },
  };
}
