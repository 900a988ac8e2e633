import type { Api } from '../client/api.ts';
import type { BundleFinder } from '../core/adapters/oci/bundle-finder.ts';
import type { RegistryClient } from '../core/adapters/oci/client.ts';
import type { AttestedView, UnattestedView } from '../core/attested.ts';
import { type Digest, isDigest } from '../core/digest.ts';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { type Candidate, type Expected, type RunRecord, readSummary, runIdOf, type Summary } from '../core/gate.ts';
import { limits } from '../core/limits.ts';
import type { AttachedImage } from '../core/ports.ts';
import type { TrustedKey } from '../core/verify.ts';

/** A place where attestations are looked for. */
export type Source = {
  /** For people. */
  readonly name: string;
  /** The most promising first, each read when it is asked for. */
  candidates(): AsyncIterable<Candidate>;
  /** Verification summaries that were met so far. */
  readonly summaries: Summary[];
};

/** The bundles that the user has given: attestations, and verification summaries of them. LIMIT_EXCEEDED, FILE_NOT_FOUND. */
export async function fromFiles(paths: readonly string[]): Promise<Source> {
  if (paths.length > limits.gateBundles) throw new ChainloopError('LIMIT_EXCEEDED', `--bundle: at most ${limits.gateBundles} may be given`);
  const { readLimited } = await import('../core/adapters/files.ts');
  const texts: Candidate[] = [];
  for (const path of paths) texts.push({ source: path, text: decoded(await readLimited(path, limits.bundleSizeBytes)) });
  return source('the given bundles', texts);
}

/** What is attached to an image in its own registry, or folder. */
export async function fromImage(finder: BundleFinder, image: AttachedImage): Promise<Source> {
  const name = image.layout ?? image.repository;
  const { bundles } = await finder.bundles(image);
  return source(
    `${name}: what is attached to the image`,
    bundles.map(({ referrer, text }) => ({ source: `${name}@${referrer}`, text })),
  );
}

function source(name: string, candidates: readonly Candidate[]): Source {
  const read = candidates.map((candidate) => ({
    candidate,
    summary: typeof candidate.text === 'string' ? readSummary(candidate.source, candidate.text) : undefined,
  }));
  return {
    name,
    summaries: read.flatMap(({ summary }) => summary ?? []),
    async *candidates() {
      for (const { candidate, summary } of read) if (summary === undefined) yield candidate;
    },
  };
}

/** What a control plane is asked for. */
export type PlaneSource = Source & {
  /** The run that a bundle from elsewhere is of, as the control plane has it; and the summary of it, which goes to `summaries`. */
  recordOf(candidate: Candidate): Promise<RunRecord>;
  /** Keys that the organization trusts. */
  keys(): Promise<readonly TrustedKey[]>;
  /** The runs that brought the artifact and did not succeed, where `candidates` found nothing. */
  readonly unattested: UnattestedView[];
  /** True when it has an attestation of that artifact. */
  has(digest: Digest): Promise<boolean>;
};

/** The attestations of an artifact at the control plane. Closing the gateway is the caller's. */
export function fromPlane(
  { api, gateway }: { readonly api: Api; readonly gateway: RegistryClient },
  digest: Digest,
  wanted: Pick<Expected, 'workflow' | 'contract' | 'summary'>,
): PlaneSource {
  const summaries: Summary[] = [];
  const unattested: UnattestedView[] = [];
  const name = 'the control plane';

  async function listed(): Promise<readonly AttestedView[]> {
    const found: AttestedView[] = [];
    let cursor: string | undefined;
    for (let page = 0; page < limits.gatePages; page++) {
      const answer = await api.attestation.find.query({ digest, cursor, limit: limits.pageSize });
      found.push(...answer.items);
      unattested.push(...(answer.unattested ?? []));
      cursor = answer.nextCursor;
      if (cursor === undefined) break;
    }
    // What is known not to be asked for comes last, and is read only to say why it was not enough.
    return found.toSorted((one, other) => fits(other, wanted) - fits(one, wanted));
  }

  /** The control plane issues it now, where there is none yet. */
  async function keepSummary(runId: string): Promise<void> {
    const { vsa } = await api.verdict.describe.query({ runId });
    const text = vsa === null ? undefined : await textOf(gateway, vsa.digest);
    const summary = typeof text === 'string' ? readSummary(`run ${runId} at ${name}`, text) : undefined;
    if (summary !== undefined) summaries.push(summary);
  }

  return {
    name,
    summaries,
    unattested,
    async *candidates() {
      for (const view of await listed()) {
        const { runId: id, state, attestation, signer, removedAt } = view;
        if (wanted.summary !== undefined) await keepSummary(id);
        const record = { id, state, reason: null, attestation, signer };
        const text = removedAt === null ? await textOf(gateway, attestation) : removed(id, removedAt);
        yield { source: `run ${id} at the control plane`, text, record };
      }
    },
    async recordOf(candidate) {
      const id = typeof candidate.text === 'string' ? runIdOf(candidate.text) : undefined;
      if (id === undefined) return null;
      try {
        const { run, attestation } = await api.run.describe.query({ id });
        if (wanted.summary !== undefined) await keepSummary(id);
        return { id, state: run.state, reason: run.reason, attestation: attestation?.digest ?? null, signer: attestation?.signer ?? null };
      } catch (error) {
        if (isChainloopError(error, 'NOT_FOUND')) return null;
        throw error;
      }
    },
    async keys() {
      const keys: TrustedKey[] = [];
      let cursor: string | undefined;
      for (let page = 0; page < limits.gatePages; page++) {
        const answer = await api.key.list.query({ cursor, limit: limits.pageSize });
        keys.push(...answer.items.map(({ name: called, pem }) => ({ name: called, pem })));
        cursor = answer.nextCursor;
        if (cursor === undefined) break;
      }
      return keys;
    },
    has: async (other) => (await api.attestation.find.query({ digest: other, limit: limits.pageSize })).items.length > 0,
  };
}

function fits(
  { project, workflow, contractName, contractRevision }: AttestedView,
  wanted: Pick<Expected, 'workflow' | 'contract'>,
): number {
  const ofWorkflow = wanted.workflow === undefined || (wanted.workflow.project === project && wanted.workflow.name === workflow);
  const { contract } = wanted;
  const ofContract = contract === undefined || (contract.name === contractName && contract.revision === contractRevision);
  return Number(ofWorkflow) + Number(ofContract);
}

function removed(id: string, at: string): ChainloopError {
  return new ChainloopError('EVIDENCE_MISSING', `attestation of run ${id}: retention removed it on ${at}`);
}

/** The text of a stored bundle, verified by its digest; or why there is none, where that is about the bundle. */
async function textOf(gateway: RegistryClient, digest: string | null): Promise<string | ChainloopError> {
  if (digest === null || !isDigest(digest)) return new ChainloopError('EVIDENCE_MISSING', 'attestation: the run has none');
  try {
    const { sizeBytes, body } = await gateway.fetchBlob(digest);
    if (sizeBytes > limits.bundleSizeBytes) return new ChainloopError('LIMIT_EXCEEDED', `attestation ${digest}: ${sizeBytes} bytes`);
    const pieces: Uint8Array[] = [];
    for await (const piece of body) pieces.push(piece);
    return decoded(Buffer.concat(pieces));
  } catch (error) {
    if (isChainloopError(error, 'NOT_FOUND')) return new ChainloopError('EVIDENCE_MISSING', `attestation ${digest}: storage has lost it`);
    if (isChainloopError(error, 'DIGEST_MISMATCH')) return error;
    throw error;
  }
}

function decoded(bytes: Uint8Array): string | ChainloopError {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    return new ChainloopError('BUNDLE_INVALID', 'bundle: the file is not UTF-8 text', { cause });
  }
}
