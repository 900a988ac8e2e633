import { X509Certificate } from 'node:crypto';
import * as z from 'zod';
import { Base64, base64Within, fromBase64, toBase64 } from './base64.ts';
import { readCertificate } from './certificate.ts';
import { sameBytes } from './der.ts';
import { Envelope } from './dsse.ts';
import { ChainloopError } from './errors.ts';
import { limits } from './limits.ts';
import type { SignerIdentity } from './ports.ts';
import { readJson } from './source/json.ts';
import { type Finding, formatPath, printable } from './source/place.ts';

/** Sigstore bundle v0.3 (protobuf-specs, sigstore_bundle.proto): envelope, signature and who signed it, in one JSON text. */
export const bundleMediaType = 'application/vnd.dev.sigstore.bundle.v0.3+json';

/**
 * The older forms, which are read but not written: they may carry a chain of certificates, and v0.1 log entries without a proof. The
 * last one is another spelling of v0.3 (sigstore_bundle.proto, media_type).
 */
const MediaType = z.enum(
  [
    bundleMediaType,
    'application/vnd.dev.sigstore.bundle+json;version=0.1',
    'application/vnd.dev.sigstore.bundle+json;version=0.2',
    'application/vnd.dev.sigstore.bundle+json;version=0.3',
  ],
  `is not ${bundleMediaType}`,
);

const Text = z.string().min(1, 'is empty').max(1024);
const RawCertificate = z.strictObject({ rawBytes: base64Within(limits.certificateSizeBytes) });
const Integer = z.string().regex(/^(0|[1-9][0-9]{0,18})$/, 'is not a decimal number in a string');

/** sigstore_rekor.proto, TransparencyLogEntry. */
const TransparencyLogEntry = z.strictObject({
  logIndex: Integer,
  logId: z.strictObject({ keyId: Base64 }),
  kindVersion: z.strictObject({ kind: Text, version: Text }),
  integratedTime: Integer.optional(),
  inclusionPromise: z.strictObject({ signedEntryTimestamp: Base64 }).optional(),
  inclusionProof: z
    .strictObject({
      logIndex: Integer.optional(),
      rootHash: Base64,
      treeSize: Integer,
      hashes: z.array(Base64).max(64).optional(),
      checkpoint: z
        .strictObject({
          envelope: z
            .string()
            .min(1)
            .max(64 * 1024),
        })
        .optional(),
    })
    .optional(),
  canonicalizedBody: Base64,
});
export type TransparencyLogEntry = z.infer<typeof TransparencyLogEntry>;

/** sigstore_common.proto, MessageSignature. */
const MessageSignature = z.strictObject({
  messageDigest: z.strictObject({ algorithm: z.enum(['SHA2_256', 'SHA2_384', 'SHA2_512']), digest: Base64 }),
  signature: Base64,
});

/** The text, key for key in the order of the protobuf fields. One of `publicKey` and `certificate`, one of the two contents. */
const BundleText = z
  .strictObject({
    mediaType: MediaType,
    verificationMaterial: z
      .strictObject({
        publicKey: z
          .strictObject({ hint: z.string().regex(/^[\x20-\x7e]{1,256}$/, 'is not 1 to 256 printable ASCII characters') })
          .optional(),
        x509CertificateChain: z.strictObject({ certificates: z.array(RawCertificate).min(1, 'is empty').max(16) }).optional(),
        certificate: RawCertificate.optional(),
        tlogEntries: z.array(TransparencyLogEntry).max(16).optional(),
        timestampVerificationData: z
          .strictObject({
            rfc3161Timestamps: z
              .array(z.strictObject({ signedTimestamp: base64Within(limits.timestampSizeBytes) }))
              .max(16)
              .optional(),
          })
          .optional(),
      })
      .refine(
        ({ publicKey, x509CertificateChain, certificate }) =>
          [publicKey, x509CertificateChain, certificate].filter((signer) => signer !== undefined).length === 1,
        { message: 'names neither or both of publicKey and certificate; exactly one is expected' },
      ),
    messageSignature: MessageSignature.optional(),
    dsseEnvelope: Envelope.optional(),
  })
  .superRefine(({ mediaType, verificationMaterial: { x509CertificateChain: chain, tlogEntries = [] } }, context) => {
    const version = versionOf(mediaType);
    const path = ['verificationMaterial'];
    if (version === undefined && chain !== undefined) {
      context.addIssue({
        code: 'custom',
        path: [...path, 'x509CertificateChain'],
        message: 'is of bundles v0.1 and v0.2; v0.3 has the certificate',
      });
    }
    tlogEntries.forEach(({ inclusionPromise, inclusionProof }, at) => {
      const lacks = version === '0.1' ? inclusionPromise === undefined : inclusionProof?.checkpoint === undefined;
      if (!lacks) return;
      const message = `has no ${version === '0.1' ? 'inclusionPromise' : 'inclusionProof with a checkpoint'}`;
      context.addIssue({ code: 'custom', path: [...path, 'tlogEntries', at], message });
    });
  });
type BundleText = z.infer<typeof BundleText>;

/** Who a bundle says has signed it: where to look for the key, never the key itself. */
type BundleSigner = { readonly type: 'publicKey'; readonly hint: string } | { readonly type: 'certificate'; readonly der: Uint8Array };

/** What says who signed, and when: well-formed, but nothing in it is verified. */
export type SignedMaterial = {
  /** Absent for v0.3. The older ones are only read. */
  readonly version?: '0.1' | '0.2';
  readonly signature: Uint8Array;
  readonly signer: BundleSigner;
  readonly transparencyLogEntries: readonly TransparencyLogEntry[];
  /** RFC 3161 timestamp responses, DER. */
  readonly timestamps: readonly Uint8Array[];
};

/** A bundle that was read. */
export type ParsedBundle = SignedMaterial & {
  /** The signed bytes, exactly. */
  readonly payload: Uint8Array;
  readonly payloadType: string;
  /** The DSSE keyid as it stands; when there is one, it equals the hint. Unauthenticated (DSSE v1, protocol.md). */
  readonly keyid: string | undefined;
};

/** A bundle that signs the digest of a file, as `cosign sign-blob` makes it. */
export type ParsedMessage = SignedMaterial & {
  readonly digest: { readonly algorithm: 'SHA2_256' | 'SHA2_384' | 'SHA2_512'; readonly value: Uint8Array };
};

/**
 * Reads a Sigstore bundle v0.1 to v0.3 with a DSSE envelope of one signature. Everything else is BUNDLE_INVALID with all problems:
 * duplicate or unknown keys, other media types, several or no signatures, a message signature, base64 in any but its standard spelling,
 * a keyid that is not the hint. LIMIT_EXCEEDED beyond `limits.bundleSizeBytes` and `limits.statementSizeBytes`.
 *
 * With `canonical`, for texts that are kept as evidence, also whatever is not byte for byte what `formatBundle` writes, which is v0.3.
 */
export function parseBundle(text: string, options: { readonly canonical?: boolean } = {}): ParsedBundle {
  const bundle = readBundle(text);
  if (options.canonical === true && bundle.version !== undefined)
    throw invalid(`mediaType is not ${bundleMediaType}, which evidence is kept in`);
  if (options.canonical === true && formatBundle(bundle) !== text) {
    throw invalid(
      'not in canonical form: it must be JSON without white space, with the keys in the order of the protobuf fields; send the bytes that were signed and saved, unchanged',
    );
  }
  return bundle;
}

/** Reads a Sigstore bundle v0.1 to v0.3 that signs the digest of a file. BUNDLE_INVALID, LIMIT_EXCEEDED as `parseBundle`. */
export function parseMessageBundle(text: string): ParsedMessage {
  const { messageSignature, ...bundle } = readText(text);
  if (messageSignature === undefined) throw invalid('it signs an attestation (dsseEnvelope), not the digest of a file');
  const { messageDigest, signature } = messageSignature;
  const digest = { algorithm: messageDigest.algorithm, value: fromBase64(messageDigest.digest) };
  return { ...materialOf(bundle), signature: fromBase64(signature), digest };
}

/** The canonical text of a bundle: ProtoJSON without white space, keys in the order of the protobuf fields, defaults left out. */
export function formatBundle(bundle: ParsedBundle): string {
  return JSON.stringify({ ...formatMaterial(bundle), dsseEnvelope: formatEnvelope(bundle) });
}

/** Media type and verification material, as an object for JSON: of v0.3. */
export function formatMaterial({ signer, transparencyLogEntries, timestamps }: SignedMaterial) {
  return {
    mediaType: bundleMediaType,
    verificationMaterial: {
      ...(signer.type === 'publicKey' ? { publicKey: { hint: signer.hint } } : { certificate: { rawBytes: toBase64(signer.der) } }),
      ...(transparencyLogEntries.length === 0 ? {} : { tlogEntries: transparencyLogEntries }),
      ...(timestamps.length === 0
        ? {}
        : { timestampVerificationData: { rfc3161Timestamps: timestamps.map((der) => ({ signedTimestamp: toBase64(der) })) } }),
    },
  };
}

/** The DSSE envelope of a bundle, as an object for JSON. */
export function formatEnvelope(bundle: Pick<ParsedBundle, 'payload' | 'payloadType' | 'signature' | 'keyid'>): Envelope {
  const signature = { sig: toBase64(bundle.signature), ...(bundle.keyid === undefined ? {} : { keyid: bundle.keyid }) };
  return { payload: toBase64(bundle.payload), payloadType: bundle.payloadType, signatures: [signature] };
}

/** The bundle of a payload that was just signed, in canonical form. A bundle v0.3 carries the signer's own certificate, no chain. */
export function buildBundle(parts: {
  readonly payload: Uint8Array;
  readonly payloadType: string;
  readonly signature: Uint8Array;
  readonly verification: SignerIdentity;
  /** RFC 3161 responses over the signature. */
  readonly timestamps?: readonly Uint8Array[] | undefined;
  readonly transparencyLogEntries?: readonly TransparencyLogEntry[] | undefined;
}): string {
  const { payload, payloadType, signature, verification, timestamps = [], transparencyLogEntries = [] } = parts;
  const signer = bundleSigner(verification);
  // The hint says which key. As keyid it would be compared by cosign with what it calls the key itself, and the signature passed over.
  return formatBundle({ payload, payloadType, signature, keyid: undefined, signer, transparencyLogEntries, timestamps });
}

function bundleSigner(verification: SignerIdentity): BundleSigner {
  switch (verification.type) {
    case 'publicKey':
      return { type: 'publicKey', hint: verification.hint };
    case 'certificate':
      return { type: 'certificate', der: new Uint8Array(new X509Certificate(verification.certificatesPem[0] ?? '').raw) };
  }
}

function readBundle(text: string): ParsedBundle {
  const { dsseEnvelope: envelope, ...bundle } = readText(text, (value) => {
    if (typeof value === 'object' && value !== null && 'messageSignature' in value) {
      throw invalid(
        'it signs the digest of a file (messageSignature), not an attestation (dsseEnvelope); it was made by `cosign sign-blob` or the like',
      );
    }
  });
  const material = materialOf(bundle);
  const [signature] = envelope?.signatures ?? [];
  if (envelope === undefined || signature === undefined) throw invalid('dsseEnvelope is missing');
  const keyid = signature.keyid === '' ? undefined : signature.keyid;
  if (keyid !== undefined && keyid !== (material.signer.type === 'publicKey' ? material.signer.hint : undefined)) {
    throw invalid('dsseEnvelope.signatures[0].keyid names another key than verificationMaterial');
  }
  const payload = fromBase64(envelope.payload);
  if (payload.byteLength > limits.statementSizeBytes) {
    throw new ChainloopError('LIMIT_EXCEEDED', `bundle: its payload is larger than ${limits.statementSizeBytes} bytes`);
  }
  return { ...material, payload, payloadType: envelope.payloadType, signature: fromBase64(signature.sig), keyid };
}

function readText(text: string, look: (value: unknown) => void = () => {}): BundleText {
  const value = parseText(text);
  look(value);
  const result = BundleText.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  throw refuse(result.error.issues.map((issue) => ({ path: issue.path, message: describe(issue) })));
}

function materialOf({ mediaType, verificationMaterial: material }: Pick<BundleText, 'mediaType' | 'verificationMaterial'>) {
  const version = versionOf(mediaType);
  return {
    ...(version === undefined ? {} : { version }),
    signer: signerOf(material),
    transparencyLogEntries: material.tlogEntries ?? [],
    timestamps: (material.timestampVerificationData?.rfc3161Timestamps ?? []).map((stamp) => fromBase64(stamp.signedTimestamp)),
  };
}

/** Of a chain, only the signer's own certificate is used: what else it needs, the verifier has. A root in it is forbidden (sigstore_bundle.proto). */
function signerOf({ publicKey, certificate, x509CertificateChain }: BundleText['verificationMaterial']): BundleSigner {
  if (publicKey !== undefined) return { type: 'publicKey', hint: publicKey.hint };
  const [leaf, ...others] = [...(certificate === undefined ? [] : [certificate]), ...(x509CertificateChain?.certificates ?? [])];
  if (leaf === undefined) throw new Error('the schema of a bundle has changed');
  for (const { rawBytes } of others) {
    const read = readCertificate(fromBase64(rawBytes));
    if (typeof read === 'string') throw invalid(`a certificate of its chain is not valid: ${read}`);
    if (sameBytes(read.issuerName, read.subjectName)) {
      throw invalid('its chain has a root certificate; roots are the choice of the verifier');
    }
  }
  return { type: 'certificate', der: fromBase64(leaf.rawBytes) };
}

function versionOf(mediaType: BundleText['mediaType']): '0.1' | '0.2' | undefined {
  switch (mediaType) {
    case 'application/vnd.dev.sigstore.bundle+json;version=0.1':
      return '0.1';
    case 'application/vnd.dev.sigstore.bundle+json;version=0.2':
      return '0.2';
    case 'application/vnd.dev.sigstore.bundle+json;version=0.3':
    case bundleMediaType:
      return undefined;
  }
}

/** Strict JSON, by the reader of core/source/ alone: core/source.ts would load the YAML parser, and verifying starts fast. */
function parseText(text: string): unknown {
  if (Buffer.byteLength(text) > limits.bundleSizeBytes) {
    throw new ChainloopError('LIMIT_EXCEEDED', `bundle: larger than ${limits.bundleSizeBytes} bytes`);
  }
  const stop = (findings: readonly Finding[]): never => {
    throw refuse(findings);
  };
  const { value, findings } = readJson(text, { depth: limits.nestingDepth, values: Number.POSITIVE_INFINITY }, stop);
  return findings.length === 0 ? value : stop(findings);
}

function refuse(findings: readonly Finding[]): ChainloopError {
  const problems = findings.slice(0, limits.problems).map(({ path, message }) => ({ path: formatPath(path), message }));
  const [first] = problems;
  if (first !== undefined && findings.length === 1) return invalid(`${first.path} ${first.message}`.trim());
  return new ChainloopError('BUNDLE_INVALID', `bundle: ${findings.length} problems`, { problems });
}

function describe(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys')
    return `has unknown keys: ${issue.keys
      .slice(0, 5)
      .map((key) => printable(key))
      .join(', ')}`;
  if (issue.code === 'invalid_type') return issue.input === undefined ? 'is missing' : `must be ${issue.expected}`;
  return issue.message;
}

function invalid(message: string): ChainloopError {
  return new ChainloopError('BUNDLE_INVALID', `bundle: ${message}`);
}
