import { formatBundle, type ParsedBundle, parseBundle } from '../bundle.ts';
import { readCertificate } from '../certificate.ts';
import { type Digest, digestOf } from '../digest.ts';
import { ChainloopError, isChainloopError } from '../errors.ts';
import { parseStatement, type Statement } from '../statement.ts';
import { type TrustRoot, unknownAuthority } from '../trust-root.ts';
import { parseVsa, type Vsa } from '../verdict.ts';
import { type IdentityPolicy, type KeyPolicy, type TrustedKey, type VerifiedSigner, verifyBundle } from '../verify.ts';

/** What the control plane knows of the run that a statement names. Null: it has no such run. */
export type RunRecord = null | {
  readonly id: string;
  readonly state: string;
  /** Why it did not become a success. */
  readonly reason: string | null;
  /** The bundle that the referee accepted. */
  readonly attestation: string | null;
  /** The key or identity that it accepted. */
  readonly signer: string | null;
};

/** A bundle that may be an attestation of the artifact, from wherever it was found. */
export type Candidate = {
  /** For people: a file, a registry, the control plane. */
  readonly source: string;
  /** Its text, or why there is none. */
  readonly text: string | ChainloopError;
  /** The run that the control plane has it of; undefined where that was not asked. */
  readonly record?: RunRecord | undefined;
};

/** Whom the verifier believes. */
export type Trust = {
  /** Whose signature is wanted. Undefined: that of the signer whom the record of the control plane names. */
  readonly policy: KeyPolicy | IdentityPolicy | undefined;
  /** Where neither says it: whoever is in the certificate, because a verification summary has to vouch for the very bundle. */
  readonly vouched: boolean;
  readonly trustRoot: TrustRoot | undefined;
  /** Others whose certificates are believed as well, each judged alone: no signature holds by parts of two. */
  readonly otherRoots: readonly TrustRoot[];
  /** Keys that the control plane says the organization trusts, by name: for records alone. */
  readonly keys: readonly TrustedKey[];
};

/** Who says that he signed. Proven only when the signature holds. */
export type ClaimedSigner = {
  readonly name: string;
  readonly issuer?: string | undefined;
  readonly sourceRepository?: string | undefined;
};

/** All that the gate judges by, of one candidate. What is in a statement counts only when signer and signature hold. */
export type Facts = {
  readonly source: string;
  readonly record: RunRecord | undefined;
} & (
  | { readonly type: 'unreadable'; readonly error: ChainloopError }
  | {
      readonly type: 'read';
      /** Of the bundle as the control plane keeps it: in canonical form. */
      readonly attestation: Digest;
      readonly statement: Statement;
      readonly claimed: ClaimedSigner;
      /** Why the signer is not one that is believed. */
      readonly signerProblem: ChainloopError | undefined;
      /** It has an entry of a transparency log, true or not: those of Sigstore have, and those of a control plane have not. */
      readonly logged: boolean;
      /** Undefined: it could not be tried. */
      readonly signature: VerifiedSigner | ChainloopError | undefined;
    }
);

/** A verification summary that was found, before anybody has verified it. */
export type Summary = { readonly source: string; readonly bundle: ParsedBundle; readonly vsa: Vsa };

/** Reads and verifies a candidate. Never throws for what is in it. */
export function factsOf({ source, text, record }: Candidate, trust: Trust): Facts {
  try {
    if (typeof text !== 'string') throw text;
    const bundle = parseBundle(text);
    const statement = parseStatement(bundle.payload);
    const attestation = digestOf(formatBundle(bundle));
    const logged = bundle.transparencyLogEntries.length > 0;
    return { type: 'read', source, record, attestation, statement, logged, ...judged(bundle, trust, record) };
  } catch (error) {
    if (isChainloopError(error)) return { type: 'unreadable', source, record, error };
    throw error;
  }
}

/** The run that a bundle says it is of, unproven; undefined when there is none in it. */
export function runIdOf(text: string): string | undefined {
  try {
    const id = parseStatement(parseBundle(text).payload).predicate.metadata.workflowRunID;
    return /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(id ?? '') ? id : undefined;
  } catch (error) {
    if (isChainloopError(error)) return undefined;
    throw error;
  }
}

/** The summary in the text of a bundle; undefined when it is about something else, or cannot be read. */
export function readSummary(source: string, text: string): Summary | undefined {
  try {
    const bundle = parseBundle(text);
    return { source, bundle, vsa: parseVsa(bundle.payload) };
  } catch (error) {
    if (isChainloopError(error)) return undefined;
    throw error;
  }
}

/** True when the refusal is of authorities that the trusted root does not have: it is another one, or an old one. */
export function isOfUnknownAuthority(error: ChainloopError): boolean {
  return error.message.includes(unknownAuthority);
}

function judged(bundle: ParsedBundle, trust: Trust, record: RunRecord | undefined) {
  const claimed = claimedSigner(bundle);
  const anybody = ofAnybody(bundle, claimed, trust);
  // Of a run that is no success it does not matter: the check of the run fails, and says what is really wrong.
  const isOpen = trust.vouched || record === null || (record !== undefined && record.state !== 'success');
  const policy = trust.policy ?? policyOfRecord(bundle, trust, record ?? undefined) ?? (isOpen ? anybody : undefined);
  if (policy === undefined) return { claimed, signerProblem: nobody(bundle), signature: anybody && attempt(bundle, anybody, trust) };
  const signature = attempt(bundle, policy, trust);
  // Names are compared before anything is proven (core/verify.ts): such a refusal says nothing of the signature.
  if (!isChainloopError(signature, 'SIGNER_UNTRUSTED') || isOfUnknownAuthority(signature)) {
    return { claimed, signerProblem: undefined, signature };
  }
  return { claimed, signerProblem: signature, signature: anybody && attempt(bundle, anybody, trust) };
}

function nobody({ signer }: ParsedBundle): ChainloopError {
  const how = signer.type === 'publicKey' ? 'a key' : 'a certificate';
  return new ChainloopError('SIGNER_UNTRUSTED', `bundle: it is signed with ${how}, and nobody has said that its owner is trusted`);
}

/** Under the first trusted root that it holds under. Else why not: where one knows the authority, and the bundle is wrong, that is the reason. */
function attempt(bundle: ParsedBundle, policy: KeyPolicy | IdentityPolicy, { otherRoots }: Trust): VerifiedSigner | ChainloopError {
  const others = policy.type === 'keys' ? [] : otherRoots.map((trustRoot) => ({ ...policy, trustRoot }));
  const tried = [attemptUnder(bundle, policy), ...others.map((other) => attemptUnder(bundle, other))] as const;
  return (
    tried.find((one) => !isChainloopError(one)) ?? tried.find((one) => !(isChainloopError(one) && isOfUnknownAuthority(one))) ?? tried[0]
  );
}

function attemptUnder(bundle: ParsedBundle, policy: KeyPolicy | IdentityPolicy): VerifiedSigner | ChainloopError {
  try {
    return verifyBundle(bundle, policy).signer;
  } catch (error) {
    if (isChainloopError(error)) return error;
    throw error;
  }
}

function policyOfRecord(
  { signer }: ParsedBundle,
  { trustRoot, keys }: Trust,
  record: NonNullable<RunRecord> | undefined,
): KeyPolicy | IdentityPolicy | undefined {
  const name = record?.signer ?? undefined;
  if (name === undefined) return undefined;
  if (signer.type === 'publicKey') return { type: 'keys', keys: keys.filter((key) => key.name === name), trustRoot };
  return trustRoot === undefined ? undefined : { type: 'identity', trustRoot, identity: { exact: name } };
}

/** Whoever is in the certificate, as long as an authority of the trusted root vouches for him. */
function ofAnybody({ signer }: ParsedBundle, { name }: ClaimedSigner, { trustRoot }: Trust): IdentityPolicy | undefined {
  if (trustRoot === undefined || signer.type === 'publicKey' || name === '') return undefined;
  return { type: 'identity', trustRoot, identity: { exact: name } };
}

function claimedSigner({ signer }: ParsedBundle): ClaimedSigner {
  if (signer.type === 'publicKey') return { name: `key ${signer.hint}` };
  const read = readCertificate(signer.der);
  if (typeof read === 'string') return { name: '' };
  const { identity: name = '', identityIssuer: issuer, sourceRepository } = read;
  return { name, issuer, sourceRepository };
}
