import { type Digest, hexOf, isDigest } from '../digest.ts';
import type { ErrorCode } from '../errors.ts';
import { matchesIdentity } from '../identity.ts';
import type { IdentityPolicy, KeyPolicy } from '../verify.ts';
import { type Facts, isOfUnknownAuthority } from './facts.ts';
import { checkSummary, type ExpectedSummary } from './summary.ts';

/** What the user asks of an artifact. What is undefined is not asked. */
export type Expected = {
  readonly artifact: { readonly name: string; readonly digest: Digest };
  /** Of an image index: the images in it. */
  readonly platforms: readonly Digest[];
  readonly policy: KeyPolicy | IdentityPolicy | undefined;
  /** What the trusted roots are called: files, or where they came from. */
  readonly trustRootName: string;
  readonly organization: string | undefined;
  readonly workflow: { readonly project: string; readonly name: string } | undefined;
  /** `latest`: no other revision was asked for. */
  readonly contract: { readonly name: string; readonly revision: number; readonly latest: boolean } | undefined;
  /** The control plane was asked for the run. */
  readonly online: boolean;
  /** A verification summary has to be there. */
  readonly summary: ExpectedSummary | undefined;
};

/** How one check ended. `fix` is the smallest change that would make it pass. */
export type Finding = { readonly expected: string; readonly found: string } & (
  | { readonly ok: true }
  | { readonly ok: false; readonly fix: string; readonly code: ErrorCode }
);

export type ReadFacts = Extract<Facts, { type: 'read' }>;

/** One check of a bundle that could be read. Undefined: it is not asked for. */
type Check = { readonly name: string; readonly run: (facts: ReadFacts, expected: Expected) => Finding | undefined };

/** In the order in which they are judged: the first that fails says why the gate is closed. */
export const checks: readonly Check[] = [
  { name: 'signer', run: checkSigner },
  { name: 'signature', run: checkSignature },
  { name: 'artifact', run: checkArtifact },
  { name: 'organization', run: checkOrganization },
  { name: 'workflow', run: checkWorkflow },
  { name: 'contract', run: checkContract },
  { name: 'run', run: checkRun },
  { name: 'vsa', run: (facts, { summary }) => summary && checkSummary(facts, summary) },
];

/** The first check, which all others need. */
export function checkBundle(facts: Facts): Finding {
  const expected = 'a Sigstore bundle with an attestation of Chainloop in it';
  if (facts.type === 'read') return { ok: true, expected, found: `${facts.attestation} (${facts.source})` };
  return { ok: false, code: 'ATTESTATION_INVALID', expected, found: `${facts.error.message} (${facts.source})`, fix: getAgain(facts) };
}

/** A word of a command line: who wrote the statement chose it, and who reads the advice may copy it. */
function word(text: string): string {
  return /^[\w.@:/+-]+$/.test(text) ? text : `'${text.replaceAll("'", '')}'`;
}

/** Only where there is something to get. */
function getAgain({ record, ...facts }: Facts): string {
  const id = record?.id ?? (facts.type === 'read' ? facts.statement.predicate.metadata.workflowRunID : undefined);
  if (facts.type === 'unreadable' && ['EVIDENCE_MISSING', 'DIGEST_MISMATCH'].includes(facts.error.code)) {
    return 'nothing brings it back from there: give the bundle that was kept elsewhere with --bundle FILE, or attest the artifact again';
  }
  const from =
    id === undefined ? 'as attestation push --bundle wrote it' : `chainloop workflow run describe --id ${word(id)} --output attestation`;
  return `get the bundle again, unchanged: ${from}`;
}

function checkSigner({ claimed, signerProblem, record }: ReadFacts, { policy, summary }: Expected): Finding {
  const expected =
    policy !== undefined
      ? policyText(policy)
      : (record?.signer ?? undefined) !== undefined
        ? `${record?.signer}, whom the control plane accepted`
        : summary !== undefined
          ? 'whomever the verification summary vouches for'
          : 'whom the control plane accepted';
  const found = signerText(claimed);
  if (signerProblem === undefined) return { ok: true, expected, found };
  return { ok: false, code: 'ATTESTATION_SIGNER', expected, found, fix: signerFix(claimed, policy, signerProblem.message) };
}

function policyText(policy: KeyPolicy | IdentityPolicy): string {
  if (policy.type === 'keys') return `one of the keys ${policy.keys.map(({ name }) => name).join(', ')}`;
  const { identity, issuer, sourceRepository } = policy;
  const name = 'exact' in identity ? identity.exact : `beneath ${identity.prefix}`;
  return signerText({ name, issuer, sourceRepository });
}

function signerText({ name, issuer, sourceRepository }: ReadFacts['claimed']): string {
  const more = [
    issuer === undefined ? [] : `vouched for by ${issuer}`,
    sourceRepository === undefined ? [] : `of ${sourceRepository}`,
  ].flat();
  return [name === '' ? 'a certificate without one name' : name, ...more].join(', ');
}

/** The options that would have to be others. */
function signerFix({ name, issuer, sourceRepository }: ReadFacts['claimed'], policy: Expected['policy'], problem: string): string {
  if (name.startsWith('key ')) return 'if you trust that key: --key FILE, its public key in PEM, instead of --trust-root and --identity';
  if (policy?.type === 'keys') return `if you trust who signed: --trust-root FILE --identity ${word(name)}, instead of --key`;
  const differs = [
    policy === undefined || !matchesIdentity(name, policy.identity) ? `--identity ${word(name)}` : [],
    policy?.issuer !== undefined && policy.issuer !== issuer && issuer !== undefined ? `--identity-issuer ${word(issuer)}` : [],
    policy?.sourceRepository === undefined || policy.sourceRepository === sourceRepository
      ? []
      : sourceRepository === undefined
        ? 'leave out --source-repository'
        : `--source-repository ${word(sourceRepository)}`,
  ].flat();
  // The certificate itself is refused: no option would make it a good one.
  if (differs.length === 0 || name === '') return `sign it again: ${problem}`;
  return `if you trust who signed: ${differs.join(' ')}`;
}

function checkSignature(facts: ReadFacts, { trustRootName, policy }: Expected): Finding {
  const expected =
    policy?.type === 'keys' ? 'a signature that holds' : `a signature and a time that hold under the trusted root (${trustRootName})`;
  const { signature } = facts;
  if (signature === undefined) {
    const found = 'unknown: nobody who is trusted is said to have signed';
    return { ok: false, code: 'ATTESTATION_SIGNER', expected, found, fix: 'see: signer' };
  }
  if (!(signature instanceof Error)) {
    const when = signature.type === 'certificate' ? `, signed at ${signature.signedAt.toISOString()}` : '';
    return { ok: true, expected, found: `it holds${when}` };
  }
  if (!isOfUnknownAuthority(signature)) {
    return { ok: false, code: 'ATTESTATION_INVALID', expected, found: signature.message, fix: getAgain(facts) };
  }
  const fix = facts.logged
    ? 'give the trusted root of the Sigstore that certified the signer, too: one more --trust-root FILE'
    : 'use the trusted root of the control plane that certified the signer, and after a rotation the new one: chainloop trust-root export --output FILE';
  return { ok: false, code: 'TRUST_ROOT_MISMATCH', expected, found: signature.message, fix };
}

function checkArtifact({ statement }: ReadFacts, { artifact, platforms }: Expected): Finding {
  const expected = `${artifact.name} is a subject: ${artifact.digest}`;
  const subjects = statement.subject.flatMap(({ name, digest }) => ('sha256' in digest ? [{ name, hex: digest.sha256 }] : []));
  const subject = subjects.find(({ hex }) => hex === hexOf(artifact.digest));
  if (subject !== undefined) return { ok: true, expected, found: `subject ${subject.name}` };
  const shown = subjects.slice(0, 5).map(({ name, hex }) => `${name} (sha256:${hex})`);
  const more = subjects.length > shown.length ? [`${subjects.length - shown.length} more`] : [];
  const platform = subjects.find(({ hex }) => platforms.some((digest) => hexOf(digest) === hex));
  const fix =
    platform !== undefined
      ? `what was attested is the image of one platform in this index: verify ${platform.name}@sha256:${platform.hex}`
      : shown.length === 0
        ? 'attest it as a material with output: true in the contract'
        : `verify what was attested, or attest this one: ${shown[0]}`;
  return {
    ok: false,
    code: 'ARTIFACT_NOT_ATTESTED',
    expected,
    found: shown.length === 0 ? 'no file or image is a subject' : [...shown, ...more].join(', '),
    fix,
  };
}

function checkOrganization({ statement }: ReadFacts, { organization: expected, online }: Expected): Finding | undefined {
  if (expected === undefined) return undefined;
  const found = statement.predicate.metadata.organization ?? 'none: it is of a dry run';
  if (found === expected) return { ok: true, expected, found };
  const fix = `if that is the organization that you mean: --organization ${word(found)}${online ? ', with a token of it' : ''}`;
  return { ok: false, code: 'OTHER_ORGANIZATION', expected, found, fix };
}

function checkWorkflow({ statement }: ReadFacts, { workflow }: Expected): Finding | undefined {
  if (workflow === undefined) return undefined;
  const { project = '', workflowName = '' } = statement.predicate.metadata;
  const expected = `${workflow.project}/${workflow.name}`;
  const found = `${project}/${workflowName}`;
  if (found === expected) return { ok: true, expected, found };
  return { ok: false, code: 'OTHER_WORKFLOW', expected, found, fix: `if that is the workflow that you mean: --workflow ${word(found)}` };
}

function checkContract({ statement }: ReadFacts, { contract }: Expected): Finding {
  const { contractName, contractVersion, project = '', workflowName = '' } = statement.predicate.metadata;
  const found =
    contractName === undefined || contractVersion === undefined ? 'none: it is of a dry run' : `${contractName}@${contractVersion}`;
  const isDryRun = contractVersion === undefined;
  const expected =
    contract === undefined ? 'any contract' : `${contract.name}@${contract.revision}${contract.latest ? ', the latest revision' : ''}`;
  const again = `attest the artifact in another run of ${project}/${workflowName}`;
  if (isDryRun) return { ok: false, code: 'OTHER_CONTRACT', expected, found, fix: again };
  if (contract === undefined) return { ok: true, expected, found };
  const accept = `if that revision is good enough: --contract ${word(found)}`;
  if (contractName !== contract.name)
    return { ok: false, code: 'OTHER_CONTRACT', expected, found, fix: `if that is the contract that you mean: --contract ${word(found)}` };
  const revision = Number(contractVersion);
  if (revision === contract.revision) return { ok: true, expected, found };
  const fix = contract.latest && revision < contract.revision ? `${again}, which the latest revision judges; or, ${accept}` : accept;
  return { ok: false, code: 'CONTRACT_REVISION', expected, found, fix };
}

function checkRun({ record, attestation, statement }: ReadFacts, { online }: Expected): Finding | undefined {
  if (!online) return undefined;
  const { workflowRunID: id = 'none', project = '', workflowName = '' } = statement.predicate.metadata;
  const expected = `run ${id} is a success, with this attestation`;
  const refuse = (found: string, fix: string): Finding => ({ ok: false, code: 'RUN_NOT_SUCCESSFUL', expected, found, fix });
  const again = `attest the artifact in another run of ${project}/${workflowName}, which has to be pushed and accepted`;
  if (record === null || record === undefined) return refuse('there is no such run in this organization', again);
  const { state, reason } = record;
  if (state === 'initialized') return refuse('it is still open', 'push it: chainloop attestation push');
  if (state !== 'success') return refuse(`it ended as ${state}${reason === null ? '' : ` (${reason})`}`, again);
  if (record.attestation === attestation) return { ok: true, expected, found: state };
  const fix = `use the attestation that was accepted: chainloop workflow run describe --id ${record.id} --output attestation`;
  const accepted = isDigest(record.attestation) ? record.attestation : 'another attestation';
  return refuse(`a success with ${accepted}, and not with ${attestation}`, fix);
}
