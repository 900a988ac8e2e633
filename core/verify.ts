import { createHash, verify } from 'node:crypto';
import { type ParsedBundle, parseBundle, parseMessageBundle } from './bundle.ts';
import { type Certificate, readCertificate } from './certificate.ts';
import { sameBytes } from './der.ts';
import { type Digest, hexOf } from './digest.ts';
import { pae, statementPayloadType } from './dsse.ts';
import { ChainloopError, type Problem } from './errors.ts';
import { type IdentityMatch, matchesIdentity } from './identity.ts';
import { hashOf, type PublicKey, parsePublicKey } from './key.ts';
import { limits } from './limits.ts';
import { meets, type SignedContent, type Thresholds, type TrustRoot, unknownAuthority } from './trust-root.ts';

/** A public key that the verifier trusts, and what it calls it. */
export type TrustedKey = { readonly name: string; readonly pem: string };

/** A signature by one of these keys, and nothing else. */
export type KeyPolicy = {
  readonly type: 'keys';
  readonly keys: readonly TrustedKey[];
  /**
   * For the log entries and timestamps that a bundle carries, and where it names logs, an entry is needed. Without a trusted root, a
   * bundle that carries any is refused rather than half checked.
   */
  readonly trustRoot?: TrustRoot | undefined;
};

/** A certificate of this identity, under this trusted root, with a trusted time of the signature inside the certificate's validity. */
export type IdentityPolicy = {
  readonly type: 'identity';
  readonly trustRoot: TrustRoot;
  /** The trusted root is one that an organization brought, such as that of public Sigstore. The signer is said to be of it. */
  readonly authority?: 'own' | undefined;
  readonly identity: IdentityMatch;
  /** Who vouched for the identity, exactly. Without it, any issuer that the authority believes. */
  readonly issuer?: string | undefined;
  /**
   * The repository that was built, exactly: `https://github.com/acme/app`. The identity of a job in a reusable workflow is that workflow, the same for
   * all its callers; this tells them apart. Without it, any.
   */
  readonly sourceRepository?: string | undefined;
  /** At least what the trusted root calls for, which is also the default. USAGE for less, unless the next one says so. */
  readonly thresholds?: Thresholds | undefined;
  readonly unsafelyBelowTrustRoot?: boolean | undefined;
  /** Also refuse a bundle with anything in it that is neither signed, nor compared, nor in its only spelling: for evidence that is kept. */
  readonly strict?: boolean | undefined;
};

/** Whom the verifier believes. There is no default: a signature by nobody in particular proves nothing. `any`: one of these. */
export type Policy = KeyPolicy | IdentityPolicy | { readonly type: 'any'; readonly of: readonly (KeyPolicy | IdentityPolicy)[] };

/** Who signed, in the terms of the policy. `name` is of the key, or the identity. */
export type VerifiedSigner =
  | { readonly type: 'key'; readonly name: string; readonly hint: string }
  | {
      readonly type: 'certificate';
      readonly name: string;
      readonly issuer: string | undefined;
      /** The repository that was built, where the certificate names one. */
      readonly sourceRepository?: string;
      readonly authority?: 'own';
      /** When it was signed, as trusted authorities say: the earliest time. */
      readonly signedAt: Date;
    };

/** What a bundle proves: these bytes, of this type, were signed by this signer. */
export type Verified = {
  /** The signed bytes: parse these, never the text they came from (DSSE v1, protocol.md). */
  readonly payload: Uint8Array;
  readonly payloadType: string;
  readonly signer: VerifiedSigner;
};

/**
 * Verifies a bundle under a policy, offline. BUNDLE_INVALID, LIMIT_EXCEEDED; SIGNER_UNTRUSTED when the policy does not name the signer;
 * SIGNATURE_INVALID; TIMESTAMP_INVALID; TRANSPARENCY_INVALID; STATEMENT_INVALID when the payload is not of the in-toto type; KEY_INVALID
 * for an unusable key in the policy. The numbers are the steps of DSSE v1, protocol.md, "To verify".
 */
export function verifyBundle(bundle: ParsedBundle | string, policy: Policy): Verified {
  // 1. Receive and decode. Reject if decoding fails.
  const parsed = typeof bundle === 'string' ? parseBundle(bundle) : bundle;
  const { payload, payloadType, signature } = parsed;

  // 2. and 3. Filter the acceptable signers, and verify the signature against PAE(payloadType, payload). Reject if that fails.
  const signer = signerUnder(policy, { type: 'envelope', bundle: parsed }, (key) => {
    return verify(hashOf(key.type), pae(payloadType, payload), key.key, signature);
  });

  // 4. Reject if the payload type is not a supported one.
  if (payloadType !== statementPayloadType) {
    throw new ChainloopError(
      'STATEMENT_INVALID',
      `bundle: the payload is not an in-toto statement (payloadType must be ${statementPayloadType})`,
    );
  }

  // 5. Parsing the payload is the caller's: core/statement.ts, from these bytes.
  return { payload, payloadType, signer };
}

/**
 * Verifies a bundle that signs a file, as `cosign sign-blob` makes it, with the file at hand. It is no attestation: nothing in Chainloop
 * accepts one as such. As `verifyBundle`; ARTIFACT_MISMATCH when it names the digest of another file.
 */
export function verifyMessage(text: string, artifact: Uint8Array, policy: Policy): VerifiedSigner {
  const bundle = parseMessageBundle(text);
  const { algorithm, value } = bundle.digest;
  if (!sameBytes(createHash(algorithm.replace('SHA2_', 'sha')).update(artifact).digest(), value)) {
    throw new ChainloopError('ARTIFACT_MISMATCH', 'bundle: it names the digest of another file');
  }
  return signerUnder(policy, { type: 'message', bundle, artifact }, (key) => {
    return verify(hashOf(key.type), artifact, key.key, bundle.signature);
  });
}

/**
 * Compares the subjects of a verified statement with files at hand, by SHA-256. Every artifact must be a subject; subjects without a
 * file are fine. SUBJECT_MISMATCH when the statement has no subject at all; ARTIFACT_MISMATCH with a problem for each file that is none.
 */
export function verifyArtifacts(
  statement: {
    readonly subject: readonly { readonly name?: string | undefined; readonly digest?: Readonly<Record<string, string>> | undefined }[];
  },
  artifacts: readonly { readonly name: string; readonly digest: Digest }[],
): readonly { readonly name: string; readonly digest: Digest; readonly subject: string }[] {
  if (statement.subject.length === 0) {
    throw new ChainloopError('SUBJECT_MISMATCH', 'attestation: it has no subject, so it says nothing about any artifact');
  }
  const problems: Problem[] = [];
  const found = artifacts.flatMap(({ name, digest }) => {
    const subject = statement.subject.find((candidate) => candidate.digest?.sha256 === hexOf(digest));
    if (subject === undefined) problems.push({ message: `${name} (${digest}) is not a subject of the attestation` });
    return subject === undefined ? [] : [{ name, digest, subject: subject.name ?? '' }];
  });
  if (problems.length === 0) return found;
  const named = statement.subject.find((candidate) => candidate.digest?.sha256 !== undefined);
  throw new ChainloopError(
    'ARTIFACT_MISMATCH',
    `attestation: ${problems.length} of ${artifacts.length} artifacts are not among its ${statement.subject.length} subjects; ` +
      (named === undefined ? 'none of them has a sha256 digest' : 'it was made for other files, or the files were changed since'),
    { problems: problems.slice(0, limits.problems) },
  );
}

/** Does the key sign what the bundle signs? */
type SignatureCheck = (key: PublicKey) => boolean;

function signerUnder(policy: Policy, content: SignedContent, signedBy: SignatureCheck, names?: Names): VerifiedSigner {
  switch (policy.type) {
    case 'keys':
      return keySigner(policy, content, signedBy);
    case 'identity':
      return certificateSigner(policy, content, names);
    case 'any':
      return anySigner(policy.of, content, signedBy);
  }
}

/** The first that holds. Else why not: where a policy knows the signer and its authority, and the bundle is wrong, that is the reason. */
function anySigner(policies: readonly (KeyPolicy | IdentityPolicy)[], content: SignedContent, signedBy: SignatureCheck): VerifiedSigner {
  const { signer } = content.bundle;
  const wanted = signer.type === 'certificate' ? 'identity' : 'keys';
  const names = signer.type === 'certificate' ? readNames(signer.der) : undefined;
  const refusals: ChainloopError[] = [];
  for (const policy of policies.filter(({ type }) => type === wanted)) {
    try {
      return signerUnder(policy, content, signedBy, names);
    } catch (error) {
      if (!(error instanceof ChainloopError)) throw error;
      refusals.push(error);
    }
  }
  const [first] = refusals;
  if (first === undefined) {
    const what = wanted === 'identity' ? 'it is signed with a certificate, and no identity is' : 'it is signed with a key, and no key is';
    throw new ChainloopError('SIGNER_UNTRUSTED', `bundle: ${what} trusted here`);
  }
  const known =
    refusals.find(({ code, message }) => code !== 'SIGNER_UNTRUSTED' && !message.includes(unknownAuthority)) ??
    refusals.find(({ code }) => code !== 'SIGNER_UNTRUSTED');
  if (known !== undefined || refusals.length === 1) throw known ?? first;
  const problems = refusals.slice(0, limits.problems).map(({ message }) => ({ message }));
  throw new ChainloopError(first.code, `${first.message}, or one of ${refusals.length - 1} others`, { problems });
}

/** The bundle names one key, and no other is tried: a hint to the wrong key is a lie. */
function keySigner({ keys, trustRoot }: KeyPolicy, content: SignedContent, signedBy: SignatureCheck): VerifiedSigner {
  const { signer, transparencyLogEntries, timestamps } = content.bundle;
  if (signer.type === 'certificate') {
    throw new ChainloopError('SIGNER_UNTRUSTED', 'bundle: it is signed with a certificate, and only keys are trusted here');
  }
  if (trustRoot === undefined && transparencyLogEntries.length + timestamps.length > 0) {
    throw new ChainloopError(
      'BUNDLE_INVALID',
      'bundle: it carries transparency log entries or timestamps, which cannot be checked with public keys alone',
    );
  }
  const { name, key } = trustedKey(signer.hint, keys);
  if (!signedBy(key)) {
    throw new ChainloopError(
      'SIGNATURE_INVALID',
      `bundle: the signature is not by key '${name}' over this payload; it was altered, or signed by another key`,
    );
  }
  if (trustRoot !== undefined) {
    const thresholds = { ...trustRoot.thresholds, timestamps: 0, certificateTimestamps: 0 };
    trustRoot.judge(content, { thresholds, strict: false, key });
  }
  return { type: 'key', name, hint: signer.hint };
}

function trustedKey(hint: string, keys: readonly TrustedKey[]): { readonly name: string; readonly key: PublicKey } {
  for (const { name, pem } of keys) {
    const key = parsePublicKey(pem);
    if (key.hint === hint) return { name, key };
  }
  const names = keys.slice(0, limits.problems).map((trusted) => `'${trusted.name}'`);
  throw new ChainloopError(
    'SIGNER_UNTRUSTED',
    `bundle: it names the signing key ${hint}, which is not trusted here; ` +
      (names.length === 0 ? 'no key is: register one with: chainloop key trust --name NAME -f FILE.pub' : `trusted: ${names.join(', ')}`),
  );
}

function certificateSigner(policy: IdentityPolicy, content: SignedContent, names?: Names): VerifiedSigner {
  const { trustRoot, thresholds = trustRoot.thresholds, strict = false } = policy;
  const { signer } = content.bundle;
  if (signer.type !== 'certificate') {
    throw new ChainloopError('SIGNER_UNTRUSTED', 'bundle: it is signed with a key, and only identities of certificates are trusted here');
  }
  if (!meets(thresholds, trustRoot.thresholds) && policy.unsafelyBelowTrustRoot !== true) {
    throw new ChainloopError('USAGE', 'policy: its thresholds are below what the trusted root calls for');
  }
  // Names are compared first: they cost nothing, and an organization may trust a thousand of them. What they are worth is judged then.
  checkNames(policy, names ?? readNames(signer.der));
  const { certificate, times } = trustRoot.judge(content, { thresholds, strict });
  const [signedAt] = times.toSorted((one, other) => one.getTime() - other.getTime());
  if (certificate?.identity === undefined || signedAt === undefined) throw new Error('a certificate was accepted without a name or a time');
  const { identity: name, identityIssuer: issuer, sourceRepository } = certificate;
  const { authority } = policy;
  return {
    ...({ type: 'certificate', name, issuer } as const),
    ...(sourceRepository !== undefined && { sourceRepository }),
    ...(authority !== undefined && { authority }),
    signedAt,
  };
}

/** What a certificate says of itself, proven or not. */
type Names = Pick<Certificate, 'identity' | 'identityIssuer' | 'sourceRepository'>;

function readNames(der: Uint8Array): Names {
  const read = readCertificate(der);
  if (typeof read === 'string') throw new ChainloopError('BUNDLE_INVALID', `bundle: its certificate is refused: ${read}`);
  return read;
}

function checkNames(policy: IdentityPolicy, { identity, identityIssuer: issuer, sourceRepository }: Names): void {
  if (identity === undefined) {
    throw new ChainloopError('SIGNER_UNTRUSTED', 'bundle: its certificate does not name exactly one identity, a URI or an e-mail address');
  }
  if (!matchesIdentity(identity, policy.identity)) {
    const wanted = 'exact' in policy.identity ? policy.identity.exact : `${policy.identity.prefix}…`;
    throw new ChainloopError('SIGNER_UNTRUSTED', `bundle: its certificate names ${identity}; trusted here is ${wanted}`);
  }
  if (policy.issuer !== undefined && issuer !== policy.issuer) {
    throw new ChainloopError(
      'SIGNER_UNTRUSTED',
      `bundle: ${issuer ?? 'nobody'} vouches for its signer ${identity}; trusted here is ${policy.issuer}`,
    );
  }
  if (policy.sourceRepository !== undefined && sourceRepository !== policy.sourceRepository) {
    throw new ChainloopError(
      'SIGNER_UNTRUSTED',
      `bundle: its certificate is of ${sourceRepository ?? 'no repository'}; trusted here is ${policy.sourceRepository}`,
    );
  }
}
