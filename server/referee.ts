import { type ParsedBundle, parseBundle } from '../core/bundle.ts';
import { acceptsSigning, notSatisfied, surplusVariables, unsatisfied } from '../core/completeness.ts';
import { type Digest, digestOf } from '../core/digest.ts';
import { statementPayloadType } from '../core/dsse.ts';
import { ChainloopError, type ErrorCode, type Problem } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { PushAnswer } from '../core/ports.ts';
import { expectedSubjects, headOf, materialsOf, parseStatement, type Statement } from '../core/statement.ts';
import { type Policy, type Verified, verifyBundle } from '../core/verify.ts';
import type { OrgScope } from '../db/client.ts';
import { type Attested, type NewEffect, type PushOutcome, pushRun } from '../db/run-states.ts';
import type { RunContext } from '../db/runs.ts';
import { linkEffect } from './effects.ts';
import { type Arrived, findArrived } from './evidence.ts';
import { otherCommit } from './federation/run.ts';
import type { KindChecker } from './kind-checker.ts';
import { assertOpen, expired, finished, runNotFound } from './run-refusals.ts';
import { type SignerSources, signerPolicy } from './signer-policy.ts';
import { readWhole, storeAttestation, subjectOf } from './storage/attestation.ts';
import type { Storages } from './storages.ts';
import { verdictEffect } from './verdicts.ts';

/**
 * The referee: whatever a job sends is checked again here, from the signed bytes and from our own records, before its run may become
 * `success` (docs/trust.md). The checks are numbered as they are there, and are made in that order; 9 (policy
 * gates) has nothing to check while there are none. Nothing is stored before all of them hold.
 */
export async function push(
  deps: SignerSources & { readonly storages: Storages; readonly kinds: KindChecker; readonly now: () => Date },
  scope: OrgScope,
  run: RunContext,
  text: string,
): Promise<PushAnswer> {
  const bundle = checkBundle(text);
  const bundleDigest = digestOf(text);
  // The same bundle again gets the same answer, whatever has changed since: the first answer may have been lost.
  if (run.state === 'success' && run.bundleDigest === bundleDigest) return accepted(run.id, bundleDigest);

  const verified = checkSignature(bundle, await signerPolicy(deps, scope, run, bundle));
  const statement = checkStatement(verified);
  checkIdentity(statement, run);
  checkContract(statement, run, verified);
  const evidence = await checkEvidence(statement, scope, deps.storages);
  await checkKinds(statement, evidence, scope, deps);
  checkRunner(statement, run);
  // 10. The run is open. This look saves storing what cannot be accepted; the compare-and-set decides. RUN_ALREADY_FINISHED, RUN_EXPIRED.
  assertOpen(run, deps.now());

  // Storage first: a success whose evidence is missing must not exist; evidence without its success is completed by the next push. What
  // nobody has to wait for is left to the effects (effects.ts).
  const effects = await store(deps.storages, scope, text, manifestsOfSubjects(statement, evidence));
  const outcome = await pushRun(scope, run.id, { ...attested(verified, statement, text, run), effects }, deps.now());
  return checkOutcome(run.id, outcome, bundleDigest);
}

/** 1. The bundle parses, is within limits and in canonical form. BUNDLE_INVALID, LIMIT_EXCEEDED. */
export function checkBundle(text: string): ParsedBundle {
  return parseBundle(text, { canonical: true });
}

/**
 * 2. The signature verifies over exactly the payload bytes, by whom this organization trusts; the bundle only names a key, and a
 * certificate counts by its chain and identity. SIGNER_UNTRUSTED, SIGNATURE_INVALID, TRANSPARENCY_INVALID.
 * 3. For certificates: a trusted timestamp over this signature lies inside the certificate's validity. TIMESTAMP_INVALID.
 */
export function checkSignature(bundle: ParsedBundle, policy: Policy): Verified {
  return verifyBundle(bundle, policy);
}

/** 4. The payload is an in-toto Statement v1 with our predicate. STATEMENT_INVALID. */
function checkStatement({ payload, payloadType }: Verified): Statement {
  if (payloadType !== statementPayloadType) {
    throw new ChainloopError('STATEMENT_INVALID', `statement: the payload type must be ${statementPayloadType}`);
  }
  return parseStatement(payload);
}

/**
 * 5. Organization, project, workflow, run, contract and revision are those of this run; so is the commit of a federated one, when there
 * is one. STATEMENT_MISMATCH with every difference.
 */
function checkIdentity(statement: Statement, run: RunContext): void {
  const { metadata } = statement.predicate;
  const expected = {
    organization: run.organization,
    project: run.project,
    name: run.workflow,
    workflowName: run.workflow,
    workflowID: run.workflowId,
    workflowRunID: run.id,
    contractName: run.contractName,
    contractVersion: String(run.contractRevision),
  };
  const problems = Object.entries(expected).flatMap(([key, value]): Problem[] => {
    const found = Object.entries(metadata).find(([name]) => name === key)?.[1];
    if (found === value) return [];
    return [
      { path: `predicate.metadata.${key}`, message: `is ${found === undefined ? 'missing' : `'${found}'`}; this run has '${value}'` },
    ];
  });
  const commit = otherCommit(run, headOf(statement));
  if (commit !== undefined) problems.push({ path: 'subject', message: commit });
  if (problems.length > 0) throw refusal('STATEMENT_MISMATCH', 'it is not about this run', problems);
}

/**
 * 6. The pinned contract revision is satisfied, it was signed in a way that the contract accepts, and the subjects are exactly the commit, when there is one, and the output materials.
 * CONTRACT_NOT_SATISFIED, RUNNER_MISMATCH, SUBJECT_MISMATCH, with everything that is wrong.
 */
function checkContract(statement: Statement, { contract }: Pick<RunContext, 'contract'>, { signer }: Pick<Verified, 'signer'>): void {
  const { env, annotations, runnerType } = statement.predicate;
  const materials = materialsOf(statement);
  const runner = { type: runnerType };
  const way = signer.type === 'key' ? 'key' : signer.authority === 'own' ? 'sigstore' : 'keyless';
  const signed = {
    key: 'with a key',
    keyless: 'with a certificate of this control plane',
    sigstore: 'with a certificate of another authority',
  };
  const problems: Problem[] = [
    ...(acceptsSigning(contract, way)
      ? []
      : [
          {
            message: `it is signed ${signed[way]}, and the contract accepts only: ${contract.signing?.join(', ')} (attestation push --signing)`,
          },
        ]),
    ...unsatisfied(contract, { materials, runner, env, annotations }),
    ...surplusVariables(contract, { runner, env }),
  ];
  if (problems.length > 0) throw notSatisfied(contract, { runner }, problems);

  const expected = expectedSubjects(materials, contract, headOf(statement));
  if (JSON.stringify(statement.subject) !== JSON.stringify(expected)) {
    const names = expected.map(({ name }) => `'${name}'`).join(', ');
    throw new ChainloopError(
      'SUBJECT_MISMATCH',
      `statement: its subjects must be exactly ${names}, in this order, as the output materials say`,
    );
  }
}

/**
 * 7. Every material that is said to be in storage arrived there for this organization, with that size and the manifest that keeps it,
 * and is still there. EVIDENCE_MISSING with every one that is not; else what our records say of them.
 */
async function checkEvidence(statement: Statement, scope: OrgScope, storages: Storages): Promise<readonly Arrived[]> {
  const uploaded = materialsOf(statement).filter((material) => material.uploaded);
  const digests = uploaded.flatMap(({ digest }) => digest ?? []);
  const rows = await findArrived(scope, storages, digests);
  const problems: Problem[] = [];
  const queue = uploaded.values();
  const worker = async (): Promise<void> => {
    for (const { name, digest, sizeBytes } of queue) {
      const row = rows.find((candidate) => candidate.digest === digest);
      const there = row === undefined ? undefined : await (await storages.byId(scope, row.casBackendId)).stat(row.digest);
      if (row?.sizeBytes === sizeBytes && there?.sizeBytes === sizeBytes) continue;
      problems.push({
        message: `material '${name}' (${digest}, ${sizeBytes} bytes) is not in storage; add it again with: chainloop attestation add`,
      });
    }
  };
  await Promise.all(Array.from({ length: limits.uploadConcurrency }, worker));
  if (problems.length === 0) return rows;
  throw refusal('EVIDENCE_MISSING', 'it speaks of evidence that is not there', problems);
}

/**
 * 6, the part that needs the bytes, and so comes after 7: what is called an SBOM is one. MATERIAL_KIND_MISMATCH, MATERIAL_INVALID,
 * LIMIT_EXCEEDED.
 */
async function checkKinds(
  statement: Statement,
  evidence: readonly Arrived[],
  scope: OrgScope,
  { storages, kinds }: { readonly storages: Storages; readonly kinds: KindChecker },
): Promise<void> {
  for (const { name, type, digest, sizeBytes = 0 } of materialsOf(statement)) {
    const arrived = evidence.find((candidate) => candidate.digest === digest);
    if (arrived === undefined) continue;
    const read = async (signal: AbortSignal): Promise<Uint8Array> =>
      readWhole(await storages.byId(scope, arrived.casBackendId), arrived.digest, signal);
    await kinds.check({
      organizationId: scope.organizationId,
      type,
      digest: arrived.digest,
      fileName: `material '${name}'`,
      sizeBytes,
      read,
    });
  }
}

/**
 * 8. The runner is the one that the run was opened from: of a federated job as its CI system proved it, of any other as it says itself,
 * and then it must be called self-reported. RUNNER_MISMATCH.
 */
function checkRunner(statement: Statement, run: RunContext): void {
  const { predicate } = statement;
  const pairs = [
    ['runnerType', predicate.runnerType ?? null, run.runnerType],
    ['runnerURL', predicate.runnerURL ?? null, run.runnerUrl],
    ['runnerEnvironment', predicate.runnerEnvironment ?? null, run.runnerEnvironment],
    ['runnerWorkflowFilePath', predicate.runnerWorkflowFilePath ?? null, run.runnerWorkflowFilePath],
    ['runnerAuthenticated', predicate.runnerAuthenticated, run.runnerAuthenticated],
  ] as const;
  const problems = pairs
    .filter(([, found, expected]) => found !== expected)
    .map(([key, found, expected]) => ({
      path: `predicate.${key}`,
      message: `is ${found ?? 'missing'}; the run was opened with ${expected ?? 'none'}`,
    }));
  if (problems.length > 0) throw refusal('RUNNER_MISMATCH', 'it is from another runner than the run', problems);
}

/** One problem is said in the message, several are listed. */
function refusal(code: ErrorCode, what: string, problems: readonly Problem[]): ChainloopError {
  const [first] = problems;
  const detail =
    first !== undefined && problems.length === 1 ? `${first.path ?? ''} ${first.message}`.trim() : `${problems.length} problems`;
  return new ChainloopError(code, `statement: ${what}: ${detail}`, { problems: problems.slice(0, limits.problems) });
}

/** The manifests of those subjects that are in storage: the attestation is found from them. */
function manifestsOfSubjects(statement: Statement, evidence: readonly Arrived[]): readonly Arrived[] {
  const subjects = new Set(statement.subject.flatMap(({ digest }) => ('sha256' in digest ? `sha256:${digest.sha256}` : [])));
  return evidence.filter((row) => subjects.has(row.digest));
}

/**
 * Stores the attestation. Its links to the output materials come later; that they can be made is looked at now, while the job can still
 * bring what is missing. EVIDENCE_MISSING.
 */
async function store(storages: Storages, scope: OrgScope, text: string, subjects: readonly Arrived[]): Promise<readonly NewEffect[]> {
  const { id, storage } = await storages.current(scope);
  const linked = subjects.filter(({ casBackendId }) => casBackendId === id);
  await Promise.all(linked.map(({ manifestDigest }) => subjectOf(storage, manifestDigest)));
  await storeAttestation(storage, Buffer.from(text));
  return [...(linked.length === 0 ? [] : [linkEffect]), verdictEffect].map((effect) => ({ ...effect, casBackendId: id }));
}

function attested({ signer, payload }: Verified, statement: Statement, text: string, run: RunContext): Omit<Attested, 'effects'> {
  return {
    bundleDigest: digestOf(text),
    bundleSizeBytes: Buffer.byteLength(text),
    statementDigest: digestOf(payload),
    predicateType: statement.predicateType,
    signer: signer.name,
    commit: headOf(statement)?.commit,
    materials: materialsOf(statement),
    collected: run.naturalKey !== null,
  };
}

function checkOutcome(runId: string, outcome: PushOutcome, bundleDigest: Digest): PushAnswer {
  switch (outcome.type) {
    case 'accepted':
    case 'same':
      return accepted(runId, bundleDigest);
    case 'removed':
      throw new ChainloopError(
        'EVIDENCE_MISSING',
        `run ${runId}: some of its evidence was removed by retention at this moment; add it again with: chainloop attestation add`,
      );
    case 'expired':
      throw expired(runId);
    case 'absent':
      throw runNotFound(runId);
    case 'finished':
      throw finished(runId, outcome.state);
    case 'incomplete':
      throw new ChainloopError(
        'CONFLICT',
        `run ${runId}: its jobs brought ${outcome.missing.map((name) => `'${name}'`).join(', ')}, and the statement leaves it out or has it otherwise`,
      );
  }
}

function accepted(runId: string, digest: Digest): PushAnswer {
  return { runId, digest, state: 'success' };
}
