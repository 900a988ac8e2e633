import { ChainloopError, type ErrorCode } from '../core/errors.ts';
import type { CheckView, Judgement } from '../core/gate.ts';
import type { Artifact } from './gate-artifact.ts';
import type { Table } from './terminal/table.ts';

/** How the gate decided. */
export type Report = {
  readonly artifact: Artifact;
  /** Where attestations were looked for. */
  readonly sources: readonly string[];
  readonly trustRoot: { readonly from: 'file' | 'connection' | 'none'; readonly name: string };
  readonly code: ErrorCode | null;
  readonly checks: readonly CheckView[];
  /** The best first; empty when nothing was found. */
  readonly judgements: readonly Judgement[];
};

/** The answer for scripts. */
export function reportJson({ artifact, sources, trustRoot, code, checks, judgements }: Report) {
  const [best, ...others] = judgements;
  const { name, digest } = artifact;
  return {
    verdict: code === null ? 'passed' : 'failed',
    code,
    artifact: { name, digest },
    ...described(best),
    trustRoot,
    sources,
    checks,
    others: others.map((judgement) => ({ code: judgement.code, ...described(judgement), checks: judgement.checks })),
  };
}

/** What the attestation says of itself: proven only where the verdict is passed. */
function described(judgement: Judgement | undefined) {
  const { facts } = judgement ?? {};
  if (facts === undefined || facts.type === 'unreadable')
    return { source: facts?.source ?? null, attestation: null, run: null, contract: null };
  const { source, attestation, statement, claimed } = facts;
  const { workflowRunID: run, organization, project, workflowName: workflow, contractName, contractVersion } = statement.predicate.metadata;
  const contract = contractVersion === undefined ? null : { name: contractName ?? null, revision: Number(contractVersion) };
  const names = { organization: organization ?? null, project: project ?? null, workflow: workflow ?? null };
  return { source, attestation, run: run ?? null, ...names, contract, signer: claimed.name };
}

/** The contract that was satisfied, in a word. */
export function contractOf(judgement: Judgement | undefined): string {
  const { contract } = described(judgement);
  return contract === null ? 'none' : `${contract.name}@${contract.revision}`;
}

/** Every check of every attestation, the best first. */
export function explainTables({ checks, code, judgements }: Report): readonly Table[] {
  const [best, ...others] = judgements;
  return [
    checkTable(best === undefined ? 'No attestation' : `${code === null ? 'Passed' : 'Refused'}: ${best.facts.source}`, checks),
    ...others.map((other) => checkTable(`Refused: ${other.facts.source}`, other.checks)),
  ];
}

function checkTable(title: string, checks: readonly CheckView[]): Table {
  const rows = checks.flatMap(({ name, ok, expected, found, fix }, index): Table['rows'] => [
    ...(index === 0 ? [] : (['line'] as const)),
    [name, ok ? 'passed' : 'FAILED'],
    ['  expected', expected],
    ['  found', found],
    ...(fix === null ? [] : [['  fix', fix]]),
  ]);
  return { title, rows };
}

export function passedTable({ artifact, judgements: [best], trustRoot }: Report): Table {
  const { organization, project, workflow, run, signer, attestation } = {
    organization: null,
    project: null,
    workflow: null,
    signer: null,
    ...described(best),
  };
  return {
    rows: [
      ['Verdict', 'passed'],
      ['Artifact', artifact.name],
      ['Digest', artifact.digest],
      ['Contract', contractOf(best)],
      ['Organization', organization ?? ''],
      ['Workflow', `${project}/${workflow}`],
      ['Workflow Run', run ?? ''],
      ['Signer', signer ?? ''],
      ['Attestation', attestation ?? ''],
      ['Trusted Root', trustRoot.name],
    ],
  };
}

/** The refusal: the first check that failed, and all that did. */
export function refusal({ artifact, checks, code, judgements }: Report): ChainloopError {
  const failed = checks.filter(({ ok }) => !ok);
  const [first] = failed;
  const more = judgements.length - 1;
  const others = more > 0 ? `; ${more === 1 ? 'another one was' : `${more} others were`} no better (--explain)` : '';
  const what = first === undefined ? '' : `: ${first.name}: expected ${first.expected}; found ${first.found}; ${first.fix}`;
  return new ChainloopError(code ?? 'INTERNAL', `${artifact.name} is refused${what}${others}`, {
    problems: [
      ...failed.slice(1).map(({ name, expected, found, fix }) => ({ message: `${name}: expected ${expected}; found ${found}; ${fix}` })),
      // What was meant to be something, such as the summary that is missing, and cannot even be read.
      ...judgements
        .slice(1)
        .flatMap(({ facts }) => (facts.type === 'read' ? [] : [{ message: `${facts.source}: ${facts.error.message}` }])),
    ],
  });
}
