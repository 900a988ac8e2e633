import type { Digest } from '../../core/digest.ts';
import type { DiscoverEvidence, DiscoverRun, DiscoverSubject, Discovery, Touch } from '../../core/discover.ts';
import { limits } from '../../core/limits.ts';
import { type Paged, wire } from '../../core/wire.ts';
import type { OrgScope } from '../../db/client.ts';
import { identify, listEvidenceOf, listTouching, listVerdictsOf, type TouchedMaterial } from '../../db/discover.ts';
import { findEvidence } from '../../db/evidence.ts';
import type { Page } from '../../db/page.ts';
import { type ListedRun, listRun, listRuns } from '../../db/runs.ts';
import { router, viewer } from '../trpc.ts';
import { runView } from './run.ts';

export const discovery = router({
  /** The runs that touch a digest or commit, newest first, each with what else it is of; or one run. */
  find: viewer.input(wire.discoverFind).query(async ({ ctx: { scope }, input }): Promise<Discovery> => {
    const { subject, page, stored = null, contracts = [] } = await found(scope, input);
    const { items, nextCursor } = page;
    const digest = subject.type === 'digest' && 'digest' in input ? input.digest : undefined;
    const ids = items.map(({ id }) => id);
    // Whoever asks about one run gets all of it.
    const most = items.length === 1 ? limits.contractMaterials : limits.discoverEvidence;
    const [evidence, verdicts] = await Promise.all([
      listEvidenceOf(scope, ids, { digest, most, textLength: limits.textLength }),
      listVerdictsOf(scope, ids),
    ]);
    const shown = items.map((run): DiscoverRun => {
      const own = evidence.filter(({ runId }) => runId === run.id);
      const { vsaDigest: vsa = null, provenanceDigest: provenance = null } = verdicts.find(({ runId }) => runId === run.id) ?? {};
      const { bundleDigest, signer, removedAt } = run;
      return {
        run: runView(run),
        touches: touchesOf(subject, own, { attestation: bundleDigest, vsa, provenance }),
        attestation: bundleDigest && { digest: bundleDigest, signer, removedAt: removedAt?.toISOString() ?? null },
        vsa,
        provenance,
        subjects: own.filter(({ output }) => output).map(view),
        materials: own.filter(({ output }) => !output).map(view),
        more: (own[0]?.total ?? 0) - own.length,
      };
    });
    return { subject, stored, contracts, items: shown, nextCursor };
  }),
});

type Found = Pick<Discovery, 'subject'> & Partial<Pick<Discovery, 'stored' | 'contracts'>> & { readonly page: Paged<ListedRun> };
type Asked = Page & ({ readonly digest: Digest } | { readonly commit: string } | { readonly runId: string });

async function found(scope: OrgScope, asked: Asked): Promise<Found> {
  const { limit, cursor } = asked;
  if ('runId' in asked) {
    return { subject: { type: 'run', value: asked.runId }, page: { items: [await listRun(scope, asked.runId)] } };
  }
  if ('commit' in asked) return ofCommit(scope, asked.commit, { limit, cursor });
  const { digest } = asked;
  const { commit, contracts } = await identify(scope, digest);
  if (commit !== undefined) return ofCommit(scope, commit, { limit, cursor });
  if (contracts.length > 0) {
    return {
      subject: { type: 'contract', value: digest },
      contracts,
      page: await listRuns(scope, { limit, cursor, contract: { digest } }),
    };
  }
  const [page, [row]] = await Promise.all([listTouching(scope, digest, { limit, cursor }), findEvidence(scope, [digest])]);
  const stored = row && { fileName: row.fileName, sizeBytes: row.sizeBytes, uploadedAt: row.uploadedAt.toISOString() };
  return { subject: { type: 'digest', value: digest }, page, ...(stored && { stored }) };
}

async function ofCommit(scope: OrgScope, commit: string, page: Page): Promise<Found> {
  return { subject: { type: 'commit', value: commit }, page: await listRuns(scope, { ...page, commit }) };
}

type Signed = { readonly [Role in 'attestation' | 'vsa' | 'provenance']: Digest | null };

function touchesOf({ type, value }: DiscoverSubject, own: readonly TouchedMaterial[], { attestation, vsa, provenance }: Signed): Touch[] {
  if (type !== 'digest') return [{ role: type }];
  const brought = own.filter(({ digest }) => digest === value);
  return [
    ...(attestation === value ? [{ role: 'attestation' } as const] : []),
    ...(vsa === value ? [{ role: 'vsa' } as const] : []),
    ...(provenance === value ? [{ role: 'provenance' } as const] : []),
    ...brought.map(({ name, type: kind, output }) => ({ role: output ? 'subject' : 'material', name, type: kind }) as const),
  ];
}

function view({ runId: _, output: __, total: ___, ...shown }: TouchedMaterial): DiscoverEvidence {
  return shown;
}
