import type { UnattestedView } from './attested.ts';
import type { Digest } from './digest.ts';
import type { ErrorCode } from './errors.ts';
import { checkBundle, checks, type Expected, type Finding } from './gate/checks.ts';
import type { Facts } from './gate/facts.ts';

export type { Expected } from './gate/checks.ts';
export { type Candidate, type Facts, factsOf, type RunRecord, readSummary, runIdOf, type Summary, type Trust } from './gate/facts.ts';

/** One check as it is shown: `fix` is the smallest change that would make it pass, and null where it did. */
export type CheckView = {
  readonly name: string;
  readonly ok: boolean;
  readonly expected: string;
  readonly found: string;
  readonly fix: string | null;
};

/** What the gate thinks of one attestation. */
export type Judgement = {
  readonly facts: Facts;
  readonly passed: boolean;
  /** Of the first check that failed. */
  readonly code: ErrorCode | null;
  readonly checks: readonly CheckView[];
};

/**
 * Judges one attestation: every check that is asked for, in order. What it could not look at has failed. Pure; `expected` is all that the
 * user wants, and nothing in it comes from the bundle.
 */
export function judge(facts: Facts, expected: Expected): Judgement {
  const bundle = checkBundle(facts);
  const named: readonly (readonly [string, Finding | undefined])[] =
    facts.type === 'read' ? checks.map(({ name, run }) => [name, run(facts, expected)] as const) : [];
  const findings = [['bundle', bundle] as const, ...named].flatMap(([name, finding]) => (finding === undefined ? [] : [{ name, finding }]));
  const failed = findings.map(({ finding }) => finding).find(({ ok }) => !ok);
  return {
    facts,
    passed: failed === undefined,
    code: failed === undefined || failed.ok ? null : failed.code,
    checks: findings.map(({ name, finding }) => ({
      name,
      ok: finding.ok,
      expected: finding.expected,
      found: finding.found,
      fix: finding.ok ? null : finding.fix,
    })),
  };
}

/** The best first: what came furthest before it failed; of equals, the one that was found first. */
export function ranked(judgements: readonly Judgement[]): readonly Judgement[] {
  return judgements.toSorted((one, other) => distance(other) - distance(one));
}

/** The judgement where nothing was found at all. */
export function nothingFound(
  artifact: { readonly name: string; readonly digest: Digest },
  where: string,
  fix: string,
): Pick<Judgement, 'code' | 'checks'> {
  const expected = `an attestation of ${artifact.name} (${artifact.digest})`;
  return { code: 'ATTESTATION_NOT_FOUND', checks: [{ name: 'attestation', ok: false, expected, found: `none (${where})`, fix }] };
}

/** The judgement where nothing but runs was found that brought the artifact and did not succeed: none has an attestation. */
export function neverAttested(
  artifact: { readonly name: string; readonly digest: Digest },
  runs: readonly UnattestedView[],
  { workflow: wanted }: Pick<Expected, 'workflow'>,
): Pick<Judgement, 'code' | 'checks'> | undefined {
  const isWanted = ({ project, workflow }: UnattestedView): boolean =>
    wanted === undefined || (wanted.project === project && wanted.name === workflow);
  const run = runs.find(isWanted) ?? runs[0];
  if (run === undefined) return undefined;
  const expected = `a run that attests ${artifact.name} (${artifact.digest}) and is a success`;
  const others = runs.filter((other) => other !== run).map(({ runId, state }) => `, and run ${runId}: ${state}`);
  const ended =
    run.state === 'initialized' ? 'which is still open' : `which ended as ${run.state}${run.reason === null ? '' : ` (${run.reason})`}`;
  const found = `run ${run.runId} of ${run.project}/${run.workflow}, ${ended}${others.join('')}`;
  const fix =
    run.state === 'initialized' && isWanted(run)
      ? 'push it: chainloop attestation push'
      : `attest the artifact in another run of ${wanted?.project ?? run.project}/${wanted?.name ?? run.workflow}, which has to be pushed and accepted`;
  return { code: 'RUN_NOT_SUCCESSFUL', checks: [{ name: 'run', ok: false, expected, found, fix }] };
}

function distance({ checks, passed }: Judgement): number {
  const failedAt = checks.findIndex(({ ok }) => !ok);
  // Whoever cannot be read at all comes last.
  return passed ? Number.POSITIVE_INFINITY : checks.length === 1 ? -1 : failedAt;
}
