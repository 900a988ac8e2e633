import { type Digest, hexOf } from '../digest.ts';
import { ChainloopError, isChainloopError } from '../errors.ts';
import type { TrustRoot } from '../trust-root.ts';
import { policyUri, resourceUri, verifierOf } from '../verdict.ts';
import { verifyBundle } from '../verify.ts';
import type { Finding, ReadFacts } from './checks.ts';
import { isOfUnknownAuthority, type Summary } from './facts.ts';

/** What a verification summary has to be. */
export type ExpectedSummary = {
  /** The control plane that issues them: its origin. Said by the user, never taken from a summary. */
  readonly origin: string;
  /** Of the control plane: nobody else's authorities vouch for it. */
  readonly trustRoot: TrustRoot;
  readonly artifact: Digest;
  /** All that were found. */
  readonly summaries: readonly Summary[];
};

/**
 * SLSA v1.2, "Verifying artifacts", "Verifying VSAs": 1. the signature, by the verifier that the consumer trusts; 2. verifier.id; 3. the
 * subject; 4. resourceUri; 5. verificationResult. And that it is of this very attestation, and of the contract that this names.
 */
export function checkSummary({ attestation, statement }: ReadFacts, expected: ExpectedSummary): Finding {
  const { origin, summaries } = expected;
  const get = `chainloop workflow run describe --id ${statement.predicate.metadata.workflowRunID} --output vsa > FILE`;
  const verifier = verifierOf(origin);
  const wanted = `a verification summary by ${verifier} that says PASSED of this attestation`;
  const own = summaries.filter(({ vsa }) => vsa.predicate.inputAttestations.some(({ digest }) => digest.sha256 === hexOf(attestation)));
  if (own.length === 0) {
    const found = summaries.length === 0 ? 'none' : `${summaries.length}, none of them of this attestation`;
    return { ok: false, code: 'VSA_MISSING', expected: wanted, found, fix: `give it, too: --bundle FILE, from: ${get}` };
  }
  const {
    organization = '',
    project = '',
    workflowName: workflow = '',
    contractName = '',
    contractVersion = '',
  } = statement.predicate.metadata;
  const resource = resourceUri(origin, { organization, project, workflow });
  const policy = policyUri(origin, { organization, contractName, contractRevision: Number(contractVersion) });
  let refusal: ChainloopError | undefined;
  for (const summary of own) {
    const problem = problemOf(summary, { ...expected, verifier, resource, policy });
    if (problem === undefined)
      return { ok: true, expected: wanted, found: `${summary.vsa.predicate.verifiedLevels.join(', ')} (${summary.source})` };
    refusal = problem;
  }
  const found = refusal?.message ?? '';
  const ofArtifact = statement.subject.some(({ digest }) => 'sha256' in digest && digest.sha256 === hexOf(expected.artifact));
  if (refusal !== undefined && isOfUnknownAuthority(refusal)) {
    const fix =
      'give the trusted root of that control plane, before any other: --trust-root FILE, from: chainloop trust-root export --output FILE';
    return { ok: false, code: 'TRUST_ROOT_MISMATCH', expected: wanted, found, fix };
  }
  return {
    ok: false,
    code: 'VSA_INVALID',
    expected: wanted,
    found,
    fix: fixOf(own, origin, ofArtifact ? `get the summary again, unchanged: ${get}` : 'see: artifact'),
  };
}

type Wanted = ExpectedSummary & { readonly verifier: string; readonly resource: string; readonly policy: string };

/** Why a summary is not good; undefined when it is. */
function problemOf(
  { bundle, vsa, source }: Summary,
  { origin, trustRoot, artifact, verifier, resource, policy }: Wanted,
): ChainloopError | undefined {
  try {
    // Issuer and verifier are one: the control plane.
    verifyBundle(bundle, { type: 'identity', trustRoot, identity: { exact: verifier }, issuer: origin });
  } catch (error) {
    if (!isChainloopError(error)) throw error;
    return new ChainloopError(error.code, `${source}: ${error.message}`, { cause: error });
  }
  const { predicate, subject } = vsa;
  const problems = [
    predicate.verifier.id === verifier ? [] : `verifier.id is ${predicate.verifier.id}`,
    subject.some(({ digest }) => digest.sha256 === hexOf(artifact)) ? [] : 'the artifact is not its subject',
    predicate.resourceUri === resource ? [] : `resourceUri is ${predicate.resourceUri}, not ${resource}`,
    predicate.policy.uri === policy ? [] : `policy is ${predicate.policy.uri}, not ${policy}`,
    predicate.verificationResult === 'PASSED' ? [] : `verificationResult is ${predicate.verificationResult}`,
  ].flat();
  return problems.length === 0 ? undefined : new ChainloopError('VSA_INVALID', `${source}: ${problems.join('; ')}`);
}

/** Who is called otherwise may be the same: a control plane that moved. Whether it is, the user knows. */
function fixOf(own: readonly Summary[], origin: string, again: string): string {
  const [summary] = own;
  const id = summary?.vsa.predicate.verifier.id;
  if (id === undefined || id === verifierOf(origin)) return again;
  return `if that is the control plane that you trust: --verifier ${id}`;
}
