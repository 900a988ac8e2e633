import * as z from 'zod';
import { CasBackend, CasBackendLogin } from './cas-backend.ts';
import type { JobClaims, JobIdentity } from './claims.ts';
import { type Digest, isDigest } from './digest.ts';
import { asked, runFilter } from './discover.ts';
import type { EffectView } from './effect.ts';
import type { ErrorCode } from './errors.ts';
import { limits } from './limits.ts';
import { MaterialType, Name, RunnerType, type RunState } from './names.ts';
import { type TokenRole, tokenRoles } from './roles.ts';
import type { VerdictView } from './verdict.ts';

/** What the control plane answers, shared by server, client and CLI. Keys are camelCase, times ISO 8601 UTC. */

export const Text = z.string().trim().max(limits.textLength);
export const Id = z.uuid();
/** Keyset paging: `cursor` is opaque and comes from the answer before. */
export const Page = z.strictObject({
  limit: z.int().min(1).max(limits.pageSize).default(50),
  cursor: z.string().max(256).optional(),
});
export type Paged<T> = { readonly items: readonly T[]; readonly nextCursor?: string | undefined };

export type OrganizationView = { readonly id: string; readonly name: string; readonly createdAt: string };
export type ContractView = {
  readonly id: string;
  readonly name: string;
  readonly latestRevision: number;
  readonly createdAt: string;
  readonly updatedAt: string;
  /** `project/workflow` of those bound to it. */
  readonly workflows: readonly string[];
};
export type ContractRevisionView = {
  readonly id: string;
  readonly name: string;
  readonly revision: number;
  readonly latestRevision: number;
  readonly format: 'yaml' | 'json' | 'cue';
  readonly body: string;
  /** The normalised contract (core/contract.ts). */
  readonly contract: unknown;
  /** Of what it says, whatever its format. A control plane of before does not say. */
  readonly digest?: string | undefined;
  readonly createdAt: string;
};
export type WorkflowView = {
  readonly id: string;
  readonly name: string;
  readonly project: string;
  readonly team: string;
  readonly contractName: string;
  readonly contractRevision: number;
  readonly createdAt: string;
  readonly runsCount: number;
  readonly lastRun: { readonly id: string; readonly state: RunState; readonly createdAt: string } | null;
};
export type RunView = {
  readonly id: string;
  readonly project: string;
  readonly workflow: string;
  readonly workflowId: string;
  readonly state: RunState;
  readonly contractRevision: number;
  readonly createdAt: string;
  readonly finishedAt: string | null;
  readonly runnerType: RunnerType | null;
  readonly runUrl: string | null;
  /** False: only the client says what the runner is. */
  readonly runnerAuthenticated: boolean;
  /** What follows a control plane of before does not say. */
  readonly contractName?: string | undefined;
  /** In hex; null when the run is of none, or not pushed yet. */
  readonly commit?: string | null | undefined;
  /** False: only the client says what the commit is. */
  readonly commitAuthenticated?: boolean | undefined;
};
export type MaterialView = {
  readonly name: string;
  readonly type: string;
  /** As the introduction prints it: the text of a STRING, else `name@sha256:…`. */
  readonly value: string;
  readonly digest: string | null;
  readonly sizeBytes: number | null;
  readonly uploaded: boolean;
  readonly annotations: Readonly<Record<string, string>>;
};
export type RunDescription = {
  readonly workflow: Pick<WorkflowView, 'id' | 'name' | 'team' | 'project'> & {
    readonly contractName: string;
    readonly contractRevision: number;
  };
  readonly run: {
    readonly id: string;
    readonly state: RunState;
    readonly reason: string | null;
    readonly initializedAt: string;
    readonly finishedAt: string | null;
    readonly expiresAt: string;
    readonly runnerType: RunnerType | null;
    readonly runnerUrl: string | null;
    /** False: only the client says so. */
    readonly runnerAuthenticated: boolean;
    /** What the CI system proved; null when the job was not federated. */
    readonly claims: JobClaims | null;
    /** In hex, of the claims or else as the job says. A control plane of before does not say. */
    readonly commit?: string | null | undefined;
    /** Whom a certificate of this run must name; null for runs of operators. */
    readonly identity: JobIdentity | null;
    /** Legal hold, of the run itself. */
    readonly hold?: { readonly since: string; readonly reason: string } | null;
    /** When retention removed its attestation. */
    readonly removedAt?: string | null;
  };
  readonly attestation: null | {
    /** Of the bundle, as stored. */
    readonly digest: string;
    readonly payloadType: string;
    readonly predicateType: string;
    /** The judgement of the control plane now, against the keys that the organization trusts now. */
    readonly verified: boolean;
    readonly signer: string | null;
    readonly verificationError: string | null;
    readonly statement: unknown;
    readonly bundle: unknown;
    readonly materials: readonly MaterialView[];
    readonly env: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
  };
  /** A control plane of before there were any does not say. */
  readonly verdict?: VerdictView | undefined;
  readonly effects?: readonly EffectView[] | undefined;
};
export type TokenView = {
  readonly id: string;
  readonly name: string;
  readonly kind: 'owner' | 'api' | 'service-account';
  /** API tokens: what it may do in its organization. A control plane of before there were roles does not say. */
  readonly role?: TokenRole | null | undefined;
  /** Service accounts: the one workflow that they may attest. */
  readonly workflow: string | null;
  readonly project: string | null;
  readonly createdAt: string;
  readonly expiresAt: string | null;
  readonly revokedAt: string | null;
  readonly lastUsedAt: string | null;
};
/** The only answer that ever carries the token itself. */
export type CreatedToken = TokenView & { readonly token: string };
export type PublicKeyView = {
  readonly id: string;
  readonly name: string;
  readonly hint: string;
  readonly type: string;
  readonly pem: string;
  readonly createdAt: string;
};
export type BindingView = {
  readonly id: string;
  readonly workflow: string;
  readonly project: string;
  readonly issuer: string;
  readonly repository: string;
  /** Null while the binding is pending. */
  readonly repositoryId: string | null;
  readonly ownerId: string | null;
  readonly refs: readonly string[];
  readonly environment: string | null;
  readonly events: readonly string[];
  readonly workflowRef: string | null;
  readonly jobWorkflowRef: string | null;
  readonly runnerEnvironment: string | null;
  /** `pending`: the first matching token fixes the ids. `expired`: none came in time; remove it. */
  readonly state: 'active' | 'pending' | 'expired';
  readonly createdAt: string;
  /** Of a pending binding. */
  readonly pendingUntil: string | null;
  readonly lastUsedAt: string | null;
};
/** What a job gets for the token of its CI system. The only answer that carries the run credential. */
export type ExchangeAnswer = {
  readonly token: string;
  readonly expiresAt: string;
  readonly organization: string;
  readonly project: string;
  readonly workflow: string;
  readonly identity: JobIdentity;
};
/** Whose certificates an organization accepts, besides that of the run itself. */
export type TrustedIdentityView = {
  readonly id: string;
  readonly name: string;
  readonly issuer: string;
  readonly san: string;
  readonly match: 'exact' | 'prefix';
  /** The certificate authority of the control plane, or those of a trusted root of its own. */
  readonly authority: 'built-in' | 'own';
  readonly createdAt: string;
};
export type CasBackendView = {
  readonly id: string;
  readonly name: string;
  readonly provider: 'layout' | 'oci' | 's3';
  readonly location: string;
  readonly default: boolean;
  /** New evidence goes there while the default one is invalid. */
  readonly fallback: boolean;
  /** New evidence goes there now. */
  readonly current: boolean;
  /** What runs bring is copied there after their push. */
  readonly mirror: boolean;
  readonly status: 'ok' | 'invalid';
  readonly problem: string | null;
  readonly createdAt: string;
  readonly validatedAt: string | null;
  /** The code of `problem`, in the answer of the check that found it. */
  readonly problemCode?: ErrorCode | undefined;
  /** Everything that a check looked at, in its answer. */
  readonly findings?: readonly CasBackendFinding[] | undefined;
};
/** `note`: need not be mended. `skipped`: could not be tried. `detail` of what failed says what to do. */
export type CasBackendFinding = {
  readonly check: 'address' | 'tls' | 'clock' | 'credentials' | 'blob' | 'manifest' | 'pull' | 'referrers' | 'keeper' | 'limits' | 'delete';
  readonly status: 'ok' | 'note' | 'failed' | 'skipped';
  readonly detail: string;
};

/** What a certificate can say of an identity or its issuer. */
const IdentityText = z.string().regex(/^[\x21-\x7e]{1,2048}$/, 'must be 1 to 2048 visible ASCII characters');

const textsWithin = (count: number, valueBytes: number) =>
  z
    .record(z.string().max(256), z.string().max(valueBytes))
    .refine((record) => Object.keys(record).length <= count, `must have at most ${count} entries`);

const CraftingStartInput = z.strictObject({
  env: textsWithin(limits.contractEnvVars + 50, limits.envValueSizeBytes),
  annotations: textsWithin(limits.annotations, limits.stringValueSizeBytes),
  head: z
    .strictObject({
      commit: z.string().regex(/^([0-9a-f]{40}|[0-9a-f]{64})$/),
      authorName: z.string().max(1024).optional(),
      authorEmail: z.string().max(1024).optional(),
      date: z.string().max(64).optional(),
      message: z.string().max(limits.stringValueSizeBytes).optional(),
      parents: z.array(z.string().max(64)).max(64).optional(),
      remotes: z.array(z.strictObject({ name: z.string().max(256), url: z.string().max(2048) })).max(limits.gitRemotes),
    })
    .optional(),
});

const MaterialInput = z
  .strictObject({
    name: Name,
    type: MaterialType,
    digest: z.custom<Digest>(isDigest, 'must be sha256:<64 hex digits>').optional(),
    value: z.string().max(limits.stringValueSizeBytes).optional(),
    fileName: z.string().max(1024).optional(),
    sizeBytes: z.int().nonnegative().optional(),
    uploaded: z.boolean(),
    tag: z.string().max(256).optional(),
    annotations: textsWithin(limits.annotations, limits.stringValueSizeBytes),
  })
  .refine(
    ({ type, digest, value }) => (type === 'STRING') === (value !== undefined) && (value === undefined) !== (digest === undefined),
    'a STRING has a value, anything else a digest',
  );

export const wire = {
  organizationCreate: z.strictObject({ name: Name }),
  byName: z.strictObject({ name: Name }),
  byId: z.strictObject({ id: Id }),
  page: Page,
  /** `body` is the file as it is; `format` from its name, else guessed. `name` wins over the name in the file. */
  contractWrite: z.strictObject({
    name: Name.optional(),
    format: z.enum(['yaml', 'json', 'cue']),
    body: z.string().max(limits.contractSizeBytes),
  }),
  contractDescribe: z.strictObject({ name: Name, revision: z.int().min(1).optional() }),
  /** Without `contract`, one of the workflow's own name is made, empty. */
  workflowCreate: z.strictObject({ name: Name, project: Name, team: Text.default(''), contract: Name.optional() }),
  workflowList: Page.extend({ project: Name.optional() }),
  workflowRef: z.strictObject({ name: Name, project: Name }),
  workflowUpdate: z.strictObject({ name: Name, project: Name, team: Text.optional(), contract: Name.optional() }),
  runList: Page.extend(runFilter),
  discoverFind: z.union([Page.extend(asked.byDigest), Page.extend(asked.byCommit), Page.extend(asked.byRun)]),
  runDescribe: z.strictObject({ id: Id }),
  verdictDescribe: z.strictObject({ runId: Id }),
  /** What is not given stays; `forever` ends the time of attestations. */
  retentionSet: z.strictObject({
    unpushedDays: z.int().min(2).max(36_500).optional(),
    attestationDays: z.union([z.int().min(1).max(36_500), z.literal('forever')]).optional(),
  }),
  collect: z.strictObject({
    dryRun: z.boolean(),
    cursor: z
      .string()
      .regex(/^e:[0-9a-f]{0,64}$/)
      .optional(),
  }),
  runHold: z.strictObject({ id: Id, reason: Text.min(1) }),
  workflowHold: z.strictObject({ name: Name, project: Name, reason: Text.min(1) }),
  auditList: Page.extend({
    actor: z.string().max(256).optional(),
    action: z.string().max(64).optional(),
    resource: z.string().max(256).optional(),
    since: z.iso.datetime().optional(),
    until: z.iso.datetime().optional(),
  }),
  /** The rows behind this one. */
  auditExport: z.strictObject({
    after: z.int().nonnegative(),
    limit: z.int().min(1).max(limits.auditExportRows).default(limits.auditExportRows),
  }),
  effectList: Page.extend({ state: z.enum(['pending', 'failed']).optional() }),
  /** Without an id: all that failed. */
  effectRetry: z.strictObject({ id: Id.optional() }),
  serviceAccountCreate: z.strictObject({ name: Name, workflow: Name, project: Name, expiresInDays: z.int().min(1).max(3650).optional() }),
  tokenCreate: z.strictObject({
    name: Name,
    role: z.enum(tokenRoles).default('admin'),
    expiresInDays: z.int().min(1).max(3650).optional(),
  }),
  keyTrust: z.strictObject({ name: Name, pem: z.string().max(limits.keySizeBytes) }),
  identityTrust: z.strictObject({
    name: Name,
    issuer: IdentityText,
    identity: z.union([z.strictObject({ exact: IdentityText }), z.strictObject({ prefix: IdentityText })]),
    /** A Sigstore trusted root, JSON. */
    trustRoot: z.string().max(limits.ownRootSizeBytes).optional(),
  }),
  casBackendAdd: CasBackend,
  /** Other credentials, which are tried before they are kept. */
  casBackendUpdate: CasBackendLogin,
  /** Without a name there is no fallback from now on. */
  casBackendFallback: z.strictObject({ name: Name.optional() }),
  casBackendMirror: z.strictObject({ name: Name, mirror: z.boolean() }),
  attestationInit: z.strictObject({
    workflow: Name.optional(),
    project: Name.optional(),
    contractRevision: z.int().min(1).optional(),
    runner: z.strictObject({
      type: RunnerType.optional(),
      url: z
        .url({ protocol: /^https?$/ })
        .max(2048)
        .optional(),
      environment: Text.optional(),
      workflowFilePath: z.string().max(1024).optional(),
      authenticated: z.literal(false),
    }),
    idempotencyKey: z.string().min(16).max(128),
  }),
  attestationContract: z.strictObject({
    workflow: Name.optional(),
    project: Name.optional(),
    contractRevision: z.int().min(1).optional(),
  }),
  /** What `init` fixes for all jobs of a run. */
  attestationBegin: z.strictObject({ runId: Id, start: CraftingStartInput }),
  /** Without an id, the run of the caller's credential. */
  attestationCurrent: z.strictObject({ runId: Id.optional() }),
  /** `job` is what the job calls itself, for people. */
  attestationCollect: z.strictObject({ runId: Id, material: MaterialInput, job: Text.default('') }),
  attestationPush: z.strictObject({ runId: Id, bundle: z.string().max(limits.bundleSizeBytes) }),
  attestationFind: Page.extend({ digest: z.custom<Digest>(isDigest, 'must be sha256:<64 hex digits>') }),
  attestationEnd: z.strictObject({ runId: Id, state: z.enum(['failed', 'cancelled']), reason: Text.default('') }),
  /** `workflow` and `project` choose between several bindings. The organization is in the header, as always. */
  authExchange: z.strictObject({
    subjectToken: z.string().max(limits.subjectTokenSizeBytes),
    workflow: Name.optional(),
    project: Name.optional(),
  }),
  /** `body` is the file as it is. */
  bindingCreate: z.strictObject({ format: z.enum(['yaml', 'json']), body: z.string().max(limits.bindingSizeBytes) }),
  /** A TimeStampReq (RFC 3161), DER in base64. */
  signingTimestamp: z.strictObject({ request: z.base64().max(2 * limits.timestampRequestSizeBytes) }),
  /** Both base64: an SPKI (P-256 or Ed25519), and a signature by its key over the UTF-8 bytes of the identity's SAN. */
  signingCertificate: z.strictObject({ publicKey: z.base64().max(256), proof: z.base64().max(256) }),
  artifactDescribe: z.strictObject({ digest: z.string().regex(/^sha256:[0-9a-f]{64}$/, 'must be sha256:<64 hex digits>') }),
} as const;
