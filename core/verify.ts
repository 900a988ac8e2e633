import { verify } from 'node:crypto';
import { type ParsedBundle, parseBundle } from './bundle.ts';
import { type Digest, hexOf } from './digest.ts';
import { pae, statementPayloadType } from './dsse.ts';
import { ChainloopError, type Problem } from './errors.ts';
import { hashOf, type PublicKey, parsePublicKey } from './key.ts';
import { limits } from './limits.ts';

/** A public key that the verifier trusts, and what it calls it. */
export type TrustedKey = { readonly name: string; readonly pem: string };

/**
 * Whom the verifier believes. There is no default: a signature by nobody in particular proves nothing.
 * `keys`: a signature by one of these keys, and nothing else. Transparency logs, timestamps and certificates need authorities that such
 * a policy does not name, so a bundle that carries any is refused rather than half checked.
 */
export type Policy = { readonly type: 'keys'; readonly keys: readonly TrustedKey[] };

/** Who signed, in the terms of the policy. */
type VerifiedSigner = { readonly type: 'key'; readonly name: string; readonly hint: string };

/** What a bundle proves: these bytes, of this type, were signed by this signer. */
export type Verified = {
  /** The signed bytes: parse these, never the text they came from (DSSE v1, protocol.md). */
  readonly payload: Uint8Array;
  readonly payloadType: string;
  readonly signer: VerifiedSigner;
};

/**
 * Verifies a bundle under a policy, offline. BUNDLE_INVALID, LIMIT_EXCEEDED; SIGNER_UNTRUSTED when the policy does not name the signer;
 * SIGNATURE_INVALID; STATEMENT_INVALID when the payload is not of the in-toto type; KEY_INVALID for an unusable key in the policy.
 * The numbers are the steps of DSSE v1, protocol.md, "To verify".
 */
export function verifyBundle(bundle: ParsedBundle | string, policy: Policy): Verified {
  // 1. Receive and decode. Reject if decoding fails.
  const { payload, payloadType, signature, ...material } = typeof bundle === 'string' ? parseBundle(bundle) : bundle;

  // 2. Filter the acceptable public keys by key id. One is left, and no other is tried: a hint to the wrong key is a lie.
  const { signer, key } = trustedSigner(material, policy);

  // 3. Verify the signature against PAE(payloadType, payload). Reject if that fails.
  if (!verify(hashOf(key.type), pae(payloadType, payload), key.key, signature)) {
    throw new ChainloopError(
      'SIGNATURE_INVALID',
      `bundle: the signature is not by key '${signer.name}' over this payload; it was altered, or signed by another key`,
    );
  }

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

function trustedSigner(
  material: Pick<ParsedBundle, 'signer' | 'transparencyLogEntries' | 'timestamps'>,
  policy: Policy,
): { readonly signer: VerifiedSigner; readonly key: PublicKey } {
  if (material.signer.type === 'certificate') {
    throw new ChainloopError('SIGNER_UNTRUSTED', 'bundle: it is signed with a certificate, and only keys are trusted here');
  }
  if (material.transparencyLogEntries.length + material.timestamps.length > 0) {
    throw new ChainloopError(
      'BUNDLE_INVALID',
      'bundle: it carries transparency log entries or timestamps, which cannot be checked with public keys alone',
    );
  }
  const { hint } = material.signer;
  for (const trusted of policy.keys) {
    const key = parsePublicKey(trusted.pem);
    if (key.hint === hint) return { signer: { type: 'key', name: trusted.name, hint }, key };
  }
  const names = policy.keys.slice(0, limits.problems).map((trusted) => `'${trusted.name}'`);
  throw new ChainloopError(
    'SIGNER_UNTRUSTED',
    `bundle: it names the signing key ${hint}, which is not trusted here; ` +
      (names.length === 0 ? 'no key is: register one with: chainloop key trust --name NAME -f FILE.pub' : `trusted: ${names.join(', ')}`),
  );
}
