import * as z from 'zod';
import { parseBundle } from '../../core/bundle.ts';
import { materialValue } from '../../core/crafting.ts';
import type { Digest } from '../../core/digest.ts';
import { ChainloopError, isChainloopError } from '../../core/errors.ts';
import { materialsOf, parseStatement, type Statement } from '../../core/statement.ts';
import type { VerdictView } from '../../core/verdict.ts';
import { type Policy, verifyBundle } from '../../core/verify.ts';
import { type MaterialView, type RunDescription, type RunView, wire } from '../../core/wire.ts';
import type { OrgScope } from '../../db/client.ts';
import { type EffectRow, effectsOfRun } from '../../db/outbox.ts';
import { holdRun } from '../../db/retention.ts';
import { describeRun, type ListedRun, listMaterials, listRuns, type MaterialRow, type RunContext } from '../../db/runs.ts';
import { describeWorkflow, findWorkflow } from '../../db/workflows.ts';
import { signerPolicy } from '../signer-policy.ts';
import { readBundle } from '../storage/attestation.ts';
import { admin, router, type Services, viewer } from '../trpc.ts';
import { effectView } from './outbox.ts';

export const runs = router({
  list: viewer.input(wire.runList).query(async ({ ctx: { scope }, input }) => {
    const { workflow, project, contract, runner, ...rest } = input;
    const filter = workflow === undefined ? { project } : { workflowId: await workflowId(scope, workflow, project) };
    const { items, nextCursor } = await listRuns(scope, {
      ...rest,
      ...filter,
      contract: contract === undefined ? undefined : { name: contract },
      runner: runner === 'none' ? '' : runner,
    });
    return { items: items.map(runView), nextCursor };
  }),
  /** Nothing of the run is removed from now on, whatever retention says. */
  hold: admin.input(wire.runHold).mutation(async ({ ctx: { scope, services, caller }, input: { id, reason } }) => {
    await holdRun(scope, id, { reason, now: services.now() });
    services.log.info({ audit: true, organizationId: scope.organizationId, by: caller.type, runId: id, reason }, 'run is on hold');
    return { id };
  }),
  release: admin.input(wire.byId).mutation(async ({ ctx: { scope, services, caller }, input: { id } }) => {
    await holdRun(scope, id, { reason: null, now: services.now() });
    services.log.info({ audit: true, organizationId: scope.organizationId, by: caller.type, runId: id }, 'run is released');
    return { id };
  }),
  /** The run, and its attestation as it is in storage and verifies now. */
  describe: viewer.input(wire.runDescribe).query(async ({ ctx: { scope, services }, input }) => {
    const run = await describeRun(scope, input.id);
    const verdict = await services.verdicts.describe(run);
    if (run.state !== 'success') return view(run, null, [], verdict);
    const [attestation, effects] = await Promise.all([attestationOf(services, scope, run), effectsOfRun(scope, run.id)]);
    return view(run, attestation, effects, verdict);
  }),
});

/** By id also of a workflow that was removed: its runs stay. */
async function workflowId(scope: OrgScope, workflow: string, project: string | undefined): Promise<string> {
  if (z.uuid().safeParse(workflow).success) {
    const row = await findWorkflow(scope, workflow);
    if (row === undefined) throw new ChainloopError('NOT_FOUND', `workflow ${workflow}: not found in this organization`);
    return row.id;
  }
  if (project === undefined)
    throw new ChainloopError('USAGE', 'runs: name the workflow by its id, or by --workflow and --project together');
  return (await describeWorkflow(scope, { name: workflow, project })).id;
}

/** Verified now, by the keys and identities that are trusted now. Evidence that cannot be read is a finding, not a failure: the record stays visible. */
async function attestationOf(services: Services, scope: OrgScope, run: RunContext): Promise<RunDescription['attestation']> {
  if (run.bundleDigest === null || run.predicateType === null) throw new Error(`run ${run.id} is a success without an attestation`);
  const materials = await listMaterials(scope, run.id);
  const digest = run.bundleDigest;
  const recorded = { digest: String(digest), predicateType: run.predicateType, materials: materials.map(recordedMaterial) };
  const removed = run.removedAt && { problem: `attestation ${digest}: retention removed it on ${run.removedAt.toISOString()}` };
  const read = removed ?? (await readText(services, scope, digest));
  if ('problem' in read) {
    const missing = { payloadType: '', verified: false, signer: null, verificationError: read.problem };
    return { ...recorded, ...missing, statement: null, bundle: null, env: {}, annotations: {} };
  }
  const { text } = read;
  const bundle = parseBundle(text);
  const statement = parseStatement(bundle.payload);
  const { env, annotations } = statement.predicate;
  const policy = await signerPolicy(services, scope, run, bundle);
  const shown = { payloadType: bundle.payloadType, statement, bundle: parseJsonValue(text), env, annotations };
  return { ...recorded, ...shown, materials: statementMaterials(statement), ...judge(text, policy) };
}

async function readText(
  services: Services,
  scope: OrgScope,
  digest: Digest,
): Promise<{ readonly text: string } | { readonly problem: string }> {
  try {
    const bytes = await readBundle(await services.storages.forReading(scope), digest);
    if (bytes === undefined) return { problem: `attestation ${digest}: it is not in storage any more` };
    return { text: Buffer.from(bytes).toString('utf8') };
  } catch (error) {
    if (isChainloopError(error)) return { problem: error.message };
    throw error;
  }
}

function judge(text: string, policy: Policy) {
  try {
    const { signer } = verifyBundle(text, policy);
    return { verified: true, signer: signer.name, verificationError: null };
  } catch (error) {
    if (!isChainloopError(error)) throw error;
    return { verified: false, signer: null, verificationError: error.message };
  }
}

function statementMaterials(statement: Statement): MaterialView[] {
  return materialsOf(statement).map((material) => {
    const { name, type, digest, sizeBytes, uploaded, annotations } = material;
    return { name, type, value: materialValue(material), digest: digest ?? null, sizeBytes: sizeBytes ?? null, uploaded, annotations };
  });
}

/** The same from our own records, when the attestation cannot be read. */
function recordedMaterial({ name, type, digest, value, fileName, sizeBytes, uploaded, annotations }: MaterialRow): MaterialView {
  const shown = digest !== null ? `${fileName ?? name}@${digest}` : (value ?? '');
  return { name, type, value: shown, digest, sizeBytes, uploaded, annotations };
}

function parseJsonValue(text: string): unknown {
  return JSON.parse(text);
}

/** A run as lists show it. */
export function runView(row: ListedRun): RunView {
  const { id, project, workflow, workflowId: ofWorkflow, state, contractRevision, createdAt, finishedAt, runnerType, runnerUrl } = row;
  return {
    id,
    project,
    workflow,
    workflowId: ofWorkflow,
    state,
    contractRevision,
    createdAt: createdAt.toISOString(),
    finishedAt: finishedAt?.toISOString() ?? null,
    runnerType,
    runUrl: runnerUrl,
    runnerAuthenticated: row.runnerAuthenticated,
    contractName: row.contractName,
    commit: row.headCommit,
    commitAuthenticated: row.commitAuthenticated,
  };
}

function view(
  run: RunContext,
  attestation: RunDescription['attestation'],
  effects: readonly EffectRow[],
  verdict: VerdictView,
): RunDescription {
  return {
    workflow: {
      id: run.workflowId,
      name: run.workflow,
      team: run.team,
      project: run.project,
      contractName: run.contractName,
      contractRevision: run.contractRevision,
    },
    run: {
      id: run.id,
      state: run.state,
      reason: run.reason,
      initializedAt: run.createdAt.toISOString(),
      finishedAt: run.finishedAt?.toISOString() ?? null,
      expiresAt: run.expiresAt.toISOString(),
      runnerType: run.runnerType,
      runnerUrl: run.runnerUrl,
      runnerAuthenticated: run.runnerAuthenticated,
      claims: run.claims,
      commit: run.headCommit,
      identity: run.identitySan === null || run.identityIssuer === null ? null : { san: run.identitySan, issuer: run.identityIssuer },
      hold: run.heldAt === null || run.holdReason === null ? null : { since: run.heldAt.toISOString(), reason: run.holdReason },
      removedAt: run.removedAt?.toISOString() ?? null,
    },
    attestation,
    verdict,
    effects: effects.map(effectView),
  };
}
