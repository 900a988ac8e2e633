import { randomUUID } from 'node:crypto';
import { unsatisfied } from '../../core/completeness.ts';
import type { Contract } from '../../core/contract.ts';
import { type Digest, digestOf } from '../../core/digest.ts';
import { ChainloopError, type ErrorCode } from '../../core/errors.ts';
import type { RunState } from '../../core/names.ts';
import type { ControlPlane, EvidenceFile, EvidenceStore, InitAnswer, InitRequest } from '../../core/ports.ts';
import { materialsOf, parseStatement } from '../../core/statement.ts';
import { type TrustedKey, verifyBundle } from '../../core/verify.ts';

type Call = keyof ControlPlane;
type Run = { readonly answer: InitAnswer; readonly brought: string[]; state: RunState; reason: string; bundle?: string };

/**
 * A control plane in memory that behaves: runs by idempotency key, states that only move forward, bundles that are verified against
 * trusted keys and the contract, the same bundle gets the same answer. `breakNext` breaks one call: before it has its effect, or
 * after, when only the answer is lost.
 */
export function fakeControlPlane(options: {
  readonly contract: Contract;
  readonly keys?: readonly TrustedKey[];
  readonly now: () => Date;
}) {
  const runs = new Map<string, Run>();
  const byKey = new Map<string, Run>();
  const keys = [...(options.keys ?? [])];
  const evidence = new Map<Digest, Uint8Array>();
  let broken: { readonly call: Call; readonly when: 'before' | 'after'; readonly code: ErrorCode } | undefined;

  async function effect<T>(call: Call, run: () => T): Promise<T> {
    const fault = broken?.call === call ? broken : undefined;
    if (fault !== undefined) broken = undefined;
    if (fault?.when === 'before') throw new ChainloopError(fault.code, `control plane: ${fault.code}`);
    const result = run();
    if (fault?.when === 'after') throw new ChainloopError(fault.code, `control plane: ${fault.code}`);
    return result;
  }

  function find(runId: string): Run {
    const run = runs.get(runId);
    if (run === undefined) throw new ChainloopError('NOT_FOUND', `run ${runId}: not found`);
    return run;
  }

  function assertOpen(run: Run): void {
    if (run.state === 'initialized') return;
    const code = run.state === 'expired' ? 'RUN_EXPIRED' : 'RUN_ALREADY_FINISHED';
    throw new ChainloopError(code, `run ${run.answer.runId} has ended: ${run.state}`);
  }

  function open(request: InitRequest): InitAnswer {
    const known = byKey.get(request.idempotencyKey);
    if (known !== undefined) {
      assertOpen(known);
      return known.answer;
    }
    const now = options.now();
    const answer: InitAnswer = {
      runId: randomUUID(),
      organization: 'acme',
      project: request.project ?? 'bedrock',
      team: 'core',
      workflowId: '20e8514d-a52e-4468-a46c-f4032a72b389',
      workflowName: request.workflow ?? 'release',
      contractName: 'release',
      contractRevision: request.contractRevision ?? 3,
      contract: options.contract,
      initializedAt: now.toISOString(),
      expiresAt: new Date(now.getTime() + 3_600_000).toISOString(),
      runner: request.runner,
      collected: false,
    };
    const run: Run = { answer, brought: [], state: 'initialized', reason: '' };
    runs.set(answer.runId, run);
    byKey.set(request.idempotencyKey, run);
    return answer;
  }

  function accept(runId: string, bundle: string) {
    const run = find(runId);
    const answer = { runId, digest: digestOf(bundle), state: 'success' } as const;
    if (run.state === 'success' && run.bundle === bundle) return answer;
    const statement = parseStatement(verifyBundle(bundle, { type: 'keys', keys }).payload);
    const { metadata, env, annotations, runnerType } = statement.predicate;
    if (metadata.workflowRunID !== runId) throw new ChainloopError('STATEMENT_MISMATCH', 'statement: it is of another run');
    const materials = materialsOf(statement);
    const problems = unsatisfied(run.answer.contract, { materials, env, annotations, runner: { type: runnerType } });
    if (problems.length > 0) throw new ChainloopError('CONTRACT_NOT_SATISFIED', 'contract: not satisfied', { problems });
    const missing = materials.filter((material) => material.uploaded && material.digest !== undefined && !evidence.has(material.digest));
    if (missing.length > 0) throw new ChainloopError('EVIDENCE_MISSING', `statement: '${missing[0]?.name}' is not in storage`);
    assertOpen(run);
    run.state = 'success';
    run.bundle = bundle;
    return answer;
  }

  const controlPlane: ControlPlane = {
    init: (request) => effect('init', () => open(request)),
    push: ({ runId, bundle }) => effect('push', () => accept(runId, bundle)),
    bring: ({ runId, material }) =>
      effect('bring', () => {
        const run = find(runId);
        assertOpen(run);
        run.brought.push(material.name);
      }),
    end: ({ runId, state, reason }) =>
      effect('end', () => {
        const run = find(runId);
        assertOpen(run);
        run.state = state;
        run.reason = reason;
      }),
  };

  const store: EvidenceStore = {
    async upload(file: EvidenceFile) {
      const pieces: Uint8Array[] = [];
      for await (const piece of file.read()) pieces.push(Uint8Array.from(piece));
      const bytes = Buffer.concat(pieces);
      const digest = digestOf(bytes);
      const existed = evidence.has(digest);
      evidence.set(digest, bytes);
      return { digest, sizeBytes: bytes.byteLength, existed };
    },
  };

  return {
    controlPlane,
    store,
    evidence,
    /** What was brought to the runs that were not pushed. */
    brought: () => [...runs.values()].flatMap(({ brought }) => brought),
    /** What became of each run, in the order in which they were opened. */
    states: (): RunState[] => [...runs.values()].map((run) => run.state),
    reasons: (): string[] => [...runs.values()].map((run) => run.reason),
    trust: (key: TrustedKey): void => void keys.push(key),
    expire: (): void => {
      for (const run of runs.values()) run.state = 'expired';
    },
    breakNext: (call: Call, when: 'before' | 'after', code: ErrorCode = 'CONTROL_PLANE_UNREACHABLE'): void => {
      broken = { call, when, code };
    },
  };
}
