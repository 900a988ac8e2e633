import { X509Certificate } from 'node:crypto';
import * as z from 'zod';
import { Base64, fromBase64, toBase64 } from './base64.ts';
import { Envelope } from './dsse.ts';
import { ChainloopError } from './errors.ts';
import { limits } from './limits.ts';
import type { SignerIdentity } from './ports.ts';
import { readJson } from './source/json.ts';
import { type Finding, formatPath, printable } from './source/place.ts';

/** Sigstore bundle v0.3 (protobuf-specs, sigstore_bundle.proto): envelope, signature and who signed it, in one JSON text. */
export const bundleMediaType = 'application/vnd.dev.sigstore.bundle.v0.3+json';

const Text = z.string().min(1, 'is empty').max(1024);
const Integer = z.string().regex(/^(0|[1-9][0-9]{0,18})$/, 'is not a decimal number in a string');

/** sigstore_rekor.proto, TransparencyLogEntry. */
const TransparencyLogEntry = z.strictObject({
  logIndex: Integer,
  logId: z.strictObject({ keyId: Base64 }),
  kindVersion: z.strictObject({ kind: Text, version: Text }),
  integratedTime: Integer.optional(),
  inclusionPromise: z.strictObject({ signedEntryTimestamp: Base64 }).optional(),
  inclusionProof: z.strictObject({
    logIndex: Integer.optional(),
    rootHash: Base64,
    treeSize: Integer,
    hashes: z.array(Base64).max(64).optional(),
    checkpoint: z.strictObject({
      envelope: z
        .string()
        .min(1)
        .max(64 * 1024),
    }),
  }),
  canonicalizedBody: Base64,
});
type TransparencyLogEntry = z.infer<typeof TransparencyLogEntry>;

/** The text, key for key in the order of the protobuf fields. `publicKey` or `certificate`, not both. */
const BundleText = z.strictObject({
  mediaType: z.literal(bundleMediaType, `is not ${bundleMediaType}`),
  verificationMaterial: z
    .strictObject({
      publicKey: z
        .strictObject({ hint: z.string().regex(/^[\x20-\x7e]{1,256}$/, 'is not 1 to 256 printable ASCII characters') })
        .optional(),
      certificate: z.strictObject({ rawBytes: Base64 }).optional(),
      tlogEntries: z.array(TransparencyLogEntry).max(16).optional(),
      timestampVerificationData: z
        .strictObject({
          rfc3161Timestamps: z
            .array(z.strictObject({ signedTimestamp: Base64 }))
            .max(16)
            .optional(),
        })
        .optional(),
    })
    .refine((material) => (material.publicKey === undefined) !== (material.certificate === undefined), {
      message: 'names neither or both of publicKey and certificate; exactly one is expected',
    }),
  dsseEnvelope: Envelope,
});

/** Who a bundle says has signed it: where to look for the key, never the key itself. */
type BundleSigner = { readonly type: 'publicKey'; readonly hint: string } | { readonly type: 'certificate'; readonly der: Uint8Array };

/** A bundle that was read: well-formed, but nothing in it is verified. */
export type ParsedBundle = {
  /** The signed bytes, exactly. */
  readonly payload: Uint8Array;
  readonly payloadType: string;
  readonly signature: Uint8Array;
  /** The DSSE keyid as it stands; when there is one, it equals the hint. Unauthenticated (DSSE v1, protocol.md). */
  readonly keyid: string | undefined;
  readonly signer: BundleSigner;
  readonly transparencyLogEntries: readonly TransparencyLogEntry[];
  /** RFC 3161 timestamp responses, DER. */
  readonly timestamps: readonly Uint8Array[];
};

/**
 * Reads a Sigstore bundle v0.3 with a DSSE envelope of one signature. Everything else is BUNDLE_INVALID with all problems: duplicate
 * or unknown keys, other media types, several or no signatures, a message signature, base64 in any but its standard spelling, a keyid
 * that is not the hint. LIMIT_EXCEEDED beyond `limits.bundleSizeBytes` and `limits.statementSizeBytes`.
 *
 * With `canonical`, for texts that are kept as evidence, also whatever is not byte for byte what `formatBundle` writes.
 */
export function parseBundle(text: string, options: { readonly canonical?: boolean } = {}): ParsedBundle {
  const bundle = readBundle(text);
  if (options.canonical === true && formatBundle(bundle) !== text) {
    throw invalid(
      'not in canonical form: it must be JSON without white space, with the keys in the order of the protobuf fields; send the bytes that were signed and saved, unchanged',
    );
  }
  return bundle;
}

/** The canonical text of a bundle: ProtoJSON without white space, keys in the order of the protobuf fields, defaults left out. */
export function formatBundle(bundle: ParsedBundle): string {
  const { signer, transparencyLogEntries, timestamps } = bundle;
  return JSON.stringify({
    mediaType: bundleMediaType,
    verificationMaterial: {
      ...(signer.type === 'publicKey' ? { publicKey: { hint: signer.hint } } : { certificate: { rawBytes: toBase64(signer.der) } }),
      ...(transparencyLogEntries.length === 0 ? {} : { tlogEntries: transparencyLogEntries }),
      ...(timestamps.length === 0
        ? {}
        : { timestampVerificationData: { rfc3161Timestamps: timestamps.map((der) => ({ signedTimestamp: toBase64(der) })) } }),
    },
    dsseEnvelope: formatEnvelope(bundle),
  });
}

/** The DSSE envelope of a bundle, as an object for JSON. */
function formatEnvelope(bundle: ParsedBundle): Envelope {
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
}): string {
  const { payload, payloadType, signature, verification, timestamps = [] } = parts;
  const signer = bundleSigner(verification);
  const keyid = signer.type === 'publicKey' ? signer.hint : undefined;
  return formatBundle({ payload, payloadType, signature, keyid, signer, transparencyLogEntries: [], timestamps });
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
  const value = parseText(text);
  if (typeof value === 'object' && value !== null && 'messageSignature' in value) {
    throw invalid(
      'it signs the digest of a file (messageSignature), not an attestation (dsseEnvelope); it was made by `cosign sign-blob` or the like',
    );
  }
  const result = BundleText.safeParse(value, { reportInput: true });
  if (!result.success) throw refuse(result.error.issues.map((issue) => ({ path: issue.path, message: describe(issue) })));
  const { verificationMaterial: material, dsseEnvelope: envelope } = result.data;
  const [signature] = envelope.signatures;
  const signer: BundleSigner | undefined =
    material.publicKey !== undefined
      ? { type: 'publicKey', hint: material.publicKey.hint }
      : material.certificate && { type: 'certificate', der: fromBase64(material.certificate.rawBytes) };
  if (signature === undefined || signer === undefined) throw new Error('the schema of a bundle has changed');
  const keyid = signature.keyid === '' ? undefined : signature.keyid;
  if (keyid !== undefined && keyid !== (signer.type === 'publicKey' ? signer.hint : undefined)) {
    throw invalid('dsseEnvelope.signatures[0].keyid names another key than verificationMaterial');
  }
  const payload = fromBase64(envelope.payload);
  if (payload.byteLength > limits.statementSizeBytes) {
    throw new ChainloopError('LIMIT_EXCEEDED', `bundle: its payload is larger than ${limits.statementSizeBytes} bytes`);
  }
  return {
    payload,
    payloadType: envelope.payloadType,
    signature: fromBase64(signature.sig),
    keyid,
    signer,
    transparencyLogEntries: material.tlogEntries ?? [],
    timestamps: (material.timestampVerificationData?.rfc3161Timestamps ?? []).map((stamp) => fromBase64(stamp.signedTimestamp)),
  };
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
