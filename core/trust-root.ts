import * as z from 'zod';
import { Base64 } from './base64.ts';
import type { ParsedBundle, ParsedMessage } from './bundle.ts';
import type { Certificate } from './certificate.ts';
import { ChainloopError } from './errors.ts';
import type { PublicKey } from './key.ts';
import { limits } from './limits.ts';
import { readJson } from './source/json.ts';
import { type Finding, formatPath } from './source/place.ts';

/** In the refusals of certificates and timestamps by authorities that are not in the trusted root, which may be older than they. */
export const unknownAuthority = 'not of an authority that the trusted root believes';

/** Sigstore's trusted root (protobuf-specs, sigstore_trustroot.proto): whom a verifier believes about certificates, times and logs. */
export const trustRootMediaType = 'application/vnd.dev.sigstore.trustedroot+json;version=0.1';

/**
 * How much has to vouch for a signature, each counted once. A certificate always needs a time, whatever is said here: without one,
 * its ten minutes are forever.
 */
export type Thresholds = {
  /** Entries in different transparency logs. */
  readonly logEntries: number;
  /** Times from different authorities: RFC 3161 timestamps, or the promise of a log. */
  readonly timestamps: number;
  /** Promises of certificate transparency logs, inside the certificate. */
  readonly certificateTimestamps: number;
};

/** What was signed, for the library: the envelope, or the file itself. */
export type SignedContent =
  | { readonly type: 'envelope'; readonly bundle: ParsedBundle }
  | { readonly type: 'message'; readonly bundle: ParsedMessage; readonly artifact: Uint8Array };

export type JudgeOptions = {
  readonly thresholds: Thresholds;
  /** Refuse a bundle with anything in it that is neither signed, nor compared, nor in its only spelling: for evidence that is kept. */
  readonly strict: boolean;
  /** For a bundle that names a key: the trusted one. */
  readonly key?: PublicKey | undefined;
};

/** A trusted root that was read, and how it judges. */
export type TrustRoot = {
  /** What it calls for: an entry in a log where it names logs, and one promise where it names certificate transparency logs. */
  readonly thresholds: Thresholds;
  /** Times that hold, and the certificate where there is one. Throws as core/verify.ts says. Identity is not its business. */
  readonly judge: (
    content: SignedContent,
    options: JudgeOptions,
  ) => { readonly times: readonly Date[]; readonly certificate: Certificate | undefined };
};

/** When an authority is believed. The start is required: what is missing would be read as "ever since". */
const ValidFor = z
  .looseObject({ start: z.iso.datetime({ offset: true }), end: z.iso.datetime({ offset: true }).optional() })
  .refine(({ start, end }) => end === undefined || Date.parse(start) <= Date.parse(end), 'ends before it starts');

const Authority = z.looseObject({
  certChain: z.looseObject({
    certificates: z
      .array(z.looseObject({ rawBytes: Base64 }))
      .min(1, 'is empty')
      .max(16),
  }),
  validFor: ValidFor,
});

const LogInstance = z.looseObject({
  baseUrl: z.string().max(2048),
  publicKey: z.looseObject({ rawBytes: Base64, keyDetails: z.string().max(100), validFor: ValidFor }),
  logId: z.looseObject({ keyId: Base64 }),
  checkpointKeyId: z.looseObject({ keyId: Base64 }).optional(),
});

/** What is used of the text. Other fields are of later versions, and left alone. */
export const TrustRootText = z.looseObject({
  mediaType: z.enum(
    [trustRootMediaType, 'application/vnd.dev.sigstore.trustedroot.v0.1+json', 'application/vnd.dev.sigstore.trustedroot.v0.2+json'],
    `is not ${trustRootMediaType}`,
  ),
  tlogs: z.array(LogInstance).max(limits.trustRootAuthorities).default([]),
  certificateAuthorities: z.array(Authority).max(limits.trustRootAuthorities).default([]),
  ctlogs: z.array(LogInstance).max(limits.trustRootAuthorities).default([]),
  timestampAuthorities: z.array(Authority).max(limits.trustRootAuthorities).default([]),
});
export type TrustRootText = z.infer<typeof TrustRootText>;

/**
 * Reads a trusted root, and loads what judges by it: key verification does without. TRUST_ROOT_INVALID with all problems,
 * LIMIT_EXCEEDED beyond `limits.trustRootSizeBytes`.
 */
export async function loadTrustRoot(text: string): Promise<TrustRoot> {
  const value = parseText(text);
  const result = TrustRootText.safeParse(value);
  if (!result.success) throw refuse(result.error.issues);
  const { createJudge } = await import('./judge.ts');
  const { tlogs, ctlogs } = result.data;
  const thresholds = { logEntries: Math.min(tlogs.length, 1), timestamps: 1, certificateTimestamps: Math.min(ctlogs.length, 1) };
  return { thresholds, judge: createJudge(result.data) };
}

/** True when nothing is asked for that is less than the trusted root calls for. */
export function meets(thresholds: Thresholds, least: Thresholds): boolean {
  return (
    thresholds.logEntries >= least.logEntries &&
    thresholds.timestamps >= least.timestamps &&
    thresholds.certificateTimestamps >= least.certificateTimestamps
  );
}

function parseText(text: string): unknown {
  if (Buffer.byteLength(text) > limits.trustRootSizeBytes) {
    throw new ChainloopError('LIMIT_EXCEEDED', `trusted root: larger than ${limits.trustRootSizeBytes} bytes`);
  }
  const stop = (findings: readonly Finding[]): never => {
    throw refuse(findings);
  };
  const { value, findings } = readJson(text, { depth: limits.nestingDepth, values: Number.POSITIVE_INFINITY }, stop);
  return findings.length === 0 ? value : stop(findings);
}

function refuse(findings: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[]): ChainloopError {
  const problems = findings.slice(0, limits.problems).map(({ path, message }) => ({ path: formatPath(path), message }));
  const [first] = problems;
  const what = first !== undefined && problems.length === 1 ? `${first.path} ${first.message}`.trim() : `${findings.length} problems`;
  return new ChainloopError('TRUST_ROOT_INVALID', `trusted root: ${what}`, { problems });
}
