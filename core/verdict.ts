import * as z from 'zod';
import type { BuildLevel } from './build-level.ts';
import { type Digest, hexOf } from './digest.ts';
import { ChainloopError, type Problem } from './errors.ts';
import { limits } from './limits.ts';
import { readJson } from './source/json.ts';
import { type Finding, formatPath } from './source/place.ts';
import { statementType } from './statement/schema.ts';
import type { Statement } from './statement.ts';

/** SLSA v1.2, "Verification Summary Attestation (VSA)". */
const vsaPredicateType = 'https://slsa.dev/verification_summary/v1';

/** What is ours in the predicate, under a type of ours (in-toto Attestation Framework v1, "Parsing rules", extension fields). */
export const vsaExtension = 'https://chainloop.dev/verdict/v1';

const Uri = z.string().min(1).max(4096);
/** By algorithm (in-toto DigestSet). */
const DigestSet = z.record(z.string().max(64), z.string().regex(/^[0-9a-f]{1,256}$/, 'must be lower-case hex digits'));
const Described = z.object({ uri: Uri, digest: DigestSet });

/**
 * A verification summary that was read. Fields that are not known are left out, as the parsing rules of in-toto want it: a later version
 * may add some.
 */
export const Vsa = z.object({
  _type: z.literal(statementType, `must be ${statementType}`),
  predicateType: z.literal(vsaPredicateType, `must be ${vsaPredicateType}`),
  subject: z
    .array(z.object({ name: z.string().max(1024).optional(), digest: DigestSet }))
    .min(1, 'is empty: it would be a summary of nothing')
    .max(limits.contractMaterials + 1),
  predicate: z.object({
    verifier: z.object({ id: Uri }),
    timeVerified: z.iso.datetime(),
    resourceUri: Uri,
    policy: Described,
    inputAttestations: z
      .array(Described)
      .min(1, 'is empty')
      .max(limits.contractMaterials + 1),
    verificationResult: z.enum(['PASSED', 'FAILED']),
    verifiedLevels: z.array(z.string().max(256)).max(16),
    slsaVersion: z.string().max(16),
    [vsaExtension]: z.object({ runId: z.uuid(), reasons: z.array(z.string().max(4096)).max(16) }).optional(),
  }),
});
export type Vsa = z.infer<typeof Vsa>;

/** What a summary is about: by digest. The names are those of the contract, so that nobody chooses them; `git.head` is the commit. */
export type VerdictSubject = { readonly name: string; readonly digest: Readonly<Record<string, string>> };

/** What a verdict is made of: all of it recorded or verified by the control plane, once, and never changed. */
export type VerdictFacts = {
  /** Of the control plane, as verifiers know it. */
  readonly origin: string;
  readonly run: {
    readonly id: string;
    /** There is none of any other run: what failed, was cancelled or expired did not pass. */
    readonly state: 'success';
    readonly organization: string;
    readonly project: string;
    readonly workflow: string;
    readonly contractName: string;
    readonly contractRevision: number;
    /** Of the pinned revision, normalised. */
    readonly contractDigest: Digest;
    /** When the referee accepted it. */
    readonly acceptedAt: Date;
  };
  /** The bundle that was accepted. */
  readonly attestation: Digest;
  readonly subjects: readonly VerdictSubject[];
  readonly build: BuildLevel;
};

/** What the control plane signed about a run: a Sigstore bundle, to be read as a blob of the organization (`/v2/<organization>/blobs/<digest>`). */
export type SignedView = { readonly digest: string; readonly sizeBytes: number };

/** The verdict on a run, as the API answers it. */
export type VerdictView = {
  readonly runId: string;
  /** Null: the run is open. */
  readonly result: 'PASSED' | 'FAILED' | null;
  /** Of SLSA's build track (core/build-level.ts); null unless it passed. */
  readonly level: 1 | 2 | 3 | null;
  /** Why it is not the next level, or why it did not pass: sentences. */
  readonly reasons: readonly string[];
  /** Who signs: the name in the certificate, and `verifier.id` of the summary. */
  readonly verifier: string;
  /** The verification summary (core/verdict.ts). Null: there is none, or not yet; then `problem` says why. */
  readonly vsa: SignedView | null;
  /** SLSA provenance (core/provenance.ts), of level 2 and higher. */
  readonly provenance: SignedView | null;
  /** Why it could not be issued. It is tried again. */
  readonly problem: string | null;
};

/** Who signs verdicts: the SAN of the certificate, and `verifier.id`. No job has this name. */
export function verifierOf(origin: string): string {
  return `${origin}/verifier`;
}

/** What a verdict is about, `resourceUri`: the workflow. */
export function resourceUri(
  origin: string,
  { organization, project, workflow }: Pick<VerdictFacts['run'], 'organization' | 'project' | 'workflow'>,
): string {
  return `${origin}/organizations/${organization}/projects/${project}/workflows/${workflow}`;
}

/** By what it was judged, `policy.uri`: one revision of a contract. */
export function policyUri(
  origin: string,
  { organization, contractName, contractRevision }: Pick<VerdictFacts['run'], 'organization' | 'contractName' | 'contractRevision'>,
): string {
  return `${origin}/organizations/${organization}/contracts/${contractName}/revisions/${contractRevision}`;
}

/** The bytes of a verification summary, to be signed: JSON without white space. The same facts give the same bytes. */
export function buildVsa({ origin, run, attestation, subjects, build }: VerdictFacts): Uint8Array {
  const vsa: Vsa = {
    _type: statementType,
    subject: subjects.map(({ name, digest }) => ({ name, digest: { ...digest } })),
    predicateType: vsaPredicateType,
    predicate: {
      verifier: { id: verifierOf(origin) },
      timeVerified: run.acceptedAt.toISOString(),
      resourceUri: resourceUri(origin, run),
      policy: { uri: policyUri(origin, run), digest: { sha256: hexOf(run.contractDigest) } },
      inputAttestations: [{ uri: `${origin}/v2/${run.organization}/blobs/${attestation}`, digest: { sha256: hexOf(attestation) } }],
      verificationResult: 'PASSED',
      verifiedLevels: [`SLSA_BUILD_LEVEL_${build.level}`],
      slsaVersion: '1.2',
      [vsaExtension]: { runId: run.id, reasons: [...build.reasons] },
    },
  };
  return new Uint8Array(Buffer.from(JSON.stringify(vsa)));
}

/**
 * Reads the payload of a verified bundle as a verification summary, of any verifier: compare `verifier.id`, `resourceUri`, the subjects and
 * the rest with what you expect. STATEMENT_INVALID with all problems, LIMIT_EXCEEDED beyond `limits.statementSizeBytes`.
 */
export function parseVsa(payload: Uint8Array): Vsa {
  if (payload.byteLength > limits.statementSizeBytes) {
    throw new ChainloopError(
      'LIMIT_EXCEEDED',
      `verification summary: ${payload.byteLength} bytes; the limit is ${limits.statementSizeBytes} bytes`,
    );
  }
  const stop = (findings: readonly Finding[]): never => {
    throw refuse(findings);
  };
  const { value, findings } = readJson(decode(payload), { depth: limits.nestingDepth, values: Number.POSITIVE_INFINITY }, stop);
  if (findings.length > 0) stop(findings);
  const result = Vsa.safeParse(value);
  return result.success ? result.data : stop(result.error.issues.map(({ path, message }) => ({ path, message })));
}

/** The subjects of an attestation as those of its verdict: the digests stay, names are those of the contract, and nothing else is said. */
export function verdictSubjects({ subject }: Pick<Statement, 'subject'>): VerdictSubject[] {
  return subject.map(({ name, digest, annotations }) => ({
    name: annotations !== undefined && 'chainloop.material.name' in annotations ? annotations['chainloop.material.name'] : name,
    digest: { ...digest },
  }));
}

function decode(payload: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(payload);
  } catch (cause) {
    throw new ChainloopError('STATEMENT_INVALID', 'verification summary: it is not UTF-8', { cause });
  }
}

function refuse(findings: readonly Finding[]): ChainloopError {
  const problems = findings.slice(0, limits.problems).map(({ path, message }): Problem => ({ path: formatPath(path), message }));
  const detail = problems.map(({ path, message }) => `${path} ${message}`.trim()).join('; ');
  return new ChainloopError('STATEMENT_INVALID', `verification summary: ${detail}`, { problems });
}
