import { buildLevel } from '../core/build-level.ts';
import { buildBundle, parseBundle } from '../core/bundle.ts';
import { readCertificate } from '../core/certificate.ts';
import { type Digest, digestOf } from '../core/digest.ts';
import { pae, statementPayloadType } from '../core/dsse.ts';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { buildProvenance } from '../core/provenance.ts';
import { parseStatement } from '../core/statement.ts';
import { buildVsa, type VerdictView, verdictSubjects, verifierOf } from '../core/verdict.ts';
import type { Database, OrgScope } from '../db/client.ts';
import { findEvidence } from '../db/evidence.ts';
import { describeRun, type RunContext } from '../db/runs.ts';
import { findVerdict, recordVerdict, type VerdictRow, workflowsThatBrought } from '../db/verdicts.ts';
import { systemActor } from './audit-actor.ts';
import type { CertificateAuthority } from './ca/authority.ts';
import { manifestsOf, outputsOf } from './outputs.ts';
import { linkAttestation, readBundle, removeAttestation, storeAttestation } from './storage/attestation.ts';
import { pushBlob, type Storage } from './storage/storage.ts';
import type { Storages } from './storages.ts';

/** What the control plane signs about runs: docs/verdicts.md. */
export type Verdicts = {
  /**
   * Signs, stores beside the attestation, and records; what was done before is done once. Undefined: the run is no success, or retention
   * gave it up. EVIDENCE_MISSING when its attestation is not in storage, and the codes of storage.
   */
  issue(scope: OrgScope, runId: string, casBackendId?: string): Promise<VerdictRow | undefined>;
  /** As people and gates see it. One that is missing, of a run from before there were any or in storage, is issued now. */
  describe(run: RunContext): Promise<VerdictView>;
};

/** Issues the verdict on a run. It is beside the attestation before that is copied. */
export const verdictEffect = { kind: 'verdict', step: 1 } as const;

/** The bundles of a verdict. */
export function bundlesOf({ vsaDigest, vsaSizeBytes, provenanceDigest, provenanceSizeBytes }: VerdictRow) {
  const vsa = { digest: vsaDigest, sizeBytes: vsaSizeBytes };
  if (provenanceDigest === null || provenanceSizeBytes === null) return { vsa, provenance: null, all: [vsa] };
  const provenance = { digest: provenanceDigest, sizeBytes: provenanceSizeBytes };
  return { vsa, provenance, all: [vsa, provenance] };
}

export function createVerdicts(deps: {
  readonly database: Database;
  readonly storages: Storages;
  readonly authority: Pick<CertificateAuthority, 'verifier'>;
  readonly origin: () => string;
}): Verdicts {
  const { database, storages, authority, origin } = deps;

  async function issue(scope: OrgScope, runId: string, casBackendId?: string): Promise<VerdictRow | undefined> {
    const run = await describeRun(scope, runId);
    if (run.state !== 'success' || run.removedAt !== null) return undefined;
    const { id, storage } =
      casBackendId === undefined ? await storages.current(scope) : { id: casBackendId, storage: await storages.byId(scope, casBackendId) };
    const { row, bundles } = await made(scope, run, storage);
    if (row === undefined) return undefined;
    const links = manifestsOf((await outputsOf(scope, run)).filter((output) => output.casBackendId === id));
    for (const bundle of bundles) {
      const digest = await storeAttestation(storage, bundle);
      await linkAttestation(storage, { digest, sizeBytes: bundle.byteLength }, links);
    }
    // The second look: who was asked beside the outbox may have stored this when retention had come and gone.
    if ((await describeRun(scope, runId)).removedAt === null) return row;
    for (const bundle of bundlesOf(row).all) {
      const isEvidence = (await findEvidence(scope, [bundle.digest])).length > 0;
      await removeAttestation(storage, { ...bundle, isEvidence }, links, new AbortController().signal);
    }
    return undefined;
  }

  /** What is recorded, with its bytes; signed now when there is nothing, or when it is in storage no more. */
  async function made(scope: OrgScope, run: RunContext, storage: Storage) {
    const known = await findVerdict(scope, run.id);
    const kept = known && (await readAll(scope, known));
    if (kept !== undefined) return { row: known, bundles: kept };
    const { verdict, bundles } = await sign(scope, run);
    // The bytes first, so that what is recorded is there; their names last, so that nobody finds what does not count.
    for (const bundle of bundles) await pushBlob(storage, bundle, digestOf(bundle));
    const row = await recordVerdict(scope, verdict, known?.vsaDigest);
    if (row?.vsaDigest === verdict.vsaDigest) return { row, bundles };
    for (const bundle of bundles) await storage.removeBlob?.(digestOf(bundle));
    return { row, bundles: (row && (await readAll(scope, row))) ?? [] };
  }

  async function readAll(scope: OrgScope, row: VerdictRow): Promise<Uint8Array[] | undefined> {
    const storage = await storages.forReading(scope);
    const bundles = await Promise.all(bundlesOf(row).all.map(({ digest }) => readBundle(storage, digest)));
    const there = bundles.filter((bundle) => bundle !== undefined);
    return there.length === bundles.length ? there : undefined;
  }

  /** Nothing is looked at but what was recorded when the run was accepted, and the attestation by its digest. */
  async function sign(scope: OrgScope, run: RunContext): Promise<{ readonly verdict: VerdictRow; readonly bundles: Uint8Array[] }> {
    const { claims, finishedAt, bundleDigest, state } = run;
    if (state !== 'success' || finishedAt === null || bundleDigest === null) throw new Error(`run ${run.id} is no success`);
    const attestation = await readBundle(await storages.forReading(scope), bundleDigest);
    if (attestation === undefined) {
      throw new ChainloopError(
        'EVIDENCE_MISSING',
        `attestation ${bundleDigest}: it is not in storage any more, so there is no verdict on it`,
      );
    }
    const { signer, payload } = parseBundle(Buffer.from(attestation).toString('utf8'));
    const subjects = verdictSubjects(parseStatement(payload));
    const signedBy = signer.type === 'publicKey' ? 'key' : isOfJob(signer.der, run) ? 'job' : 'other';
    const build = buildLevel({ claims, signedBy, broughtIn: await workflowsThatBrought(scope, run.id) });
    const vsa = await signed(
      buildVsa({ origin: origin(), run: { ...run, state, acceptedAt: finishedAt }, attestation: bundleDigest, subjects, build }),
    );
    const artifacts = subjects.filter(({ digest }) => digest.sha256 !== undefined);
    const proven = claims !== null && build.level > 1 && artifacts.length > 0;
    const provenance = proven
      ? await signed(buildProvenance({ claims, startedAt: run.createdAt, finishedAt, subjects: artifacts }))
      : undefined;
    return {
      verdict: {
        runId: run.id,
        ...build,
        vsaDigest: digestOf(vsa),
        vsaSizeBytes: vsa.byteLength,
        provenanceDigest: provenance === undefined ? null : digestOf(provenance),
        provenanceSizeBytes: provenance?.byteLength ?? null,
      },
      bundles: provenance === undefined ? [vsa] : [vsa, provenance],
    };
  }

  async function signed(payload: Uint8Array): Promise<Uint8Array> {
    const signature = await authority.verifier().sign(pae(statementPayloadType, payload));
    return new Uint8Array(Buffer.from(buildBundle({ payload, payloadType: statementPayloadType, ...signature })));
  }

  /** The verdict on a success, as complete as it can be made now. */
  async function current(run: RunContext): Promise<{ readonly row: VerdictRow | undefined; readonly problem: string | null }> {
    const scope = database.scope(run.organizationId, systemActor('verdicts'));
    const row = await findVerdict(scope, run.id);
    if (run.removedAt !== null) {
      return {
        row,
        problem: `run ${run.id}: retention removed its attestation on ${run.removedAt.toISOString()}, and the verdict with it`,
      };
    }
    try {
      const storage = await storages.forReading(scope);
      const digests: Digest[] = row === undefined ? [] : bundlesOf(row).all.map(({ digest }) => digest);
      const there = await Promise.all(digests.map((digest) => storage.stat(digest)));
      if (row !== undefined && !there.includes(undefined)) return { row, problem: null };
      return { row: await issue(scope, run.id), problem: null };
    } catch (error) {
      if (isChainloopError(error)) return { row, problem: error.message };
      throw error;
    }
  }

  return {
    issue,
    async describe(run) {
      const nothing = { runId: run.id, level: null, verifier: verifierOf(origin()), vsa: null, provenance: null, problem: null };
      switch (run.state) {
        case 'initialized':
          return { ...nothing, result: null, reasons: [] };
        case 'failed':
          return { ...nothing, result: 'FAILED', reasons: ['The run failed.'] };
        case 'cancelled':
          return { ...nothing, result: 'FAILED', reasons: ['The run was cancelled.'] };
        case 'expired':
          return { ...nothing, result: 'FAILED', reasons: ['The run expired: nothing was pushed in time.'] };
        case 'success': {
          const { row, problem } = await current(run);
          if (row === undefined) return { ...nothing, result: 'PASSED', reasons: [], problem };
          const { vsa, provenance } = bundlesOf(row);
          return { ...nothing, result: 'PASSED', level: row.level, reasons: row.reasons, vsa, provenance, problem };
        }
      }
    },
  };
}

/**
 * True when a certificate names the job of a run, and its repository: the callers of one reusable workflow share its name. That it is
 * genuine was found when the run was accepted.
 */
function isOfJob(der: Uint8Array, { identitySan, identityIssuer, claims }: RunContext): boolean {
  const certificate = readCertificate(der);
  if (typeof certificate === 'string') return false;
  const { identity, identityIssuer: issuer, sourceRepository } = certificate;
  return identity === identitySan && issuer === identityIssuer && sourceRepository === claims?.fulcio[12];
}
