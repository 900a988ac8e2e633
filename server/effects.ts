import { emptyConfig } from '../core/adapters/oci/evidence-store.ts';
import { hexOf } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';
import type { OrgScope } from '../db/client.ts';
import { findEvidence } from '../db/evidence.ts';
import { removeEffect } from '../db/retention.ts';
import { copyEffect } from '../db/run-states.ts';
import { describeRun, listMaterials, type RunContext } from '../db/runs.ts';
import { findVerdict } from '../db/verdicts.ts';
import type { EffectHandler } from './outbox.ts';
import { manifestsOf, outputsOf } from './outputs.ts';
import { linkAttestation, readBundle, removeAttestation, storeAttestation } from './storage/attestation.ts';
import { emptyDescriptor, mediaTypes, tagPrefixes } from './storage/manifest.ts';
import { copyBlob, pushBlob } from './storage/storage.ts';
import type { Storages } from './storages.ts';
import { bundlesOf, type Verdicts, verdictEffect } from './verdicts.ts';

/** Links an attestation to the output materials that lie beside it. */
export const linkEffect = { kind: 'link', step: 1 } as const;

/** Everything that happens after a push: a new kind is a row here, and an effect that is written with the push. */
export function effectHandlers({
  storages,
  verdicts,
}: {
  readonly storages: Storages;
  readonly verdicts: Pick<Verdicts, 'issue'>;
}): readonly EffectHandler[] {
  return [
    {
      kind: verdictEffect.kind,
      async run(scope, { runId, casBackendId }) {
        await verdicts.issue(scope, runId, backendOf(casBackendId));
      },
    },
    {
      kind: linkEffect.kind,
      async run(scope, { runId, casBackendId }) {
        const run = await keptRun(scope, runId);
        if (run === undefined) return;
        const linked = (await outputsOf(scope, run)).filter((row) => row.casBackendId === casBackendId);
        await linkAttestation(await storages.byId(scope, backendOf(casBackendId)), bundleOf(run), manifestsOf(linked));
      },
    },
    {
      kind: copyEffect.kind,
      async run(scope, { runId, casBackendId }, signal) {
        const run = await keptRun(scope, runId);
        if (run === undefined) return;
        const mirror = await storages.byId(scope, backendOf(casBackendId));
        const evidence = await findEvidence(scope, await digestsOf(scope, runId));
        for (const row of evidence) {
          signal.throwIfAborted();
          if (row.casBackendId === casBackendId) continue;
          const source = await storages.byId(scope, row.casBackendId);
          await copyBlob(source, mirror, row.digest, signal);
          if (row.manifestDigest === null) continue;
          const manifest = await source.getManifest(row.manifestDigest);
          if (manifest === undefined) throw gone(`manifest ${row.manifestDigest}`);
          await pushBlob(mirror, emptyConfig.bytes, emptyDescriptor.digest);
          await mirror.putManifest(`${tagPrefixes.material}${hexOf(row.digest)}`, mediaTypes.manifest, manifest.bytes);
        }
        const outputs = manifestsOf(await outputsOf(scope, run));
        for (const signed of await signedOf(scope, run)) {
          const bundle = await readBundle(await storages.forReading(scope), signed.digest);
          if (bundle === undefined) throw gone(`attestation ${signed.digest}`);
          signal.throwIfAborted();
          await storeAttestation(mirror, bundle);
          await linkAttestation(mirror, signed, outputs);
        }
      },
    },
    {
      kind: removeEffect.kind,
      async run(scope, { runId, casBackendId }, signal) {
        const run = await describeRun(scope, runId);
        const storage = await storages.forRemoving(scope, backendOf(casBackendId));
        if (storage === undefined) return;
        const outputs = manifestsOf(await outputsOf(scope, run));
        for (const bundle of await signedOf(scope, run)) {
          const isEvidence = (await findEvidence(scope, [bundle.digest])).length > 0;
          await removeAttestation(storage, { ...bundle, isEvidence }, outputs, signal);
        }
      },
    },
  ];
}

/** The run, or undefined: retention gave it up meanwhile, and nothing is to be made of it any more. */
async function keptRun(scope: OrgScope, runId: string): Promise<RunContext | undefined> {
  const run = await describeRun(scope, runId);
  return run.removedAt === null ? run : undefined;
}

function bundleOf({ id, bundleDigest, bundleSizeBytes }: RunContext) {
  if (bundleDigest === null || bundleSizeBytes === null) throw new Error(`run ${id} has effects and no bundle`);
  return { digest: bundleDigest, sizeBytes: bundleSizeBytes };
}

/** The attestation, and what the control plane signed about it. */
async function signedOf(scope: OrgScope, run: RunContext) {
  const verdict = await findVerdict(scope, run.id);
  return [bundleOf(run), ...(verdict === undefined ? [] : bundlesOf(verdict).all)];
}

function backendOf(casBackendId: string | null): string {
  if (casBackendId === null) throw new Error('the effect needs a CAS backend and names none');
  return casBackendId;
}

async function digestsOf(scope: OrgScope, runId: string) {
  return (await listMaterials(scope, runId)).flatMap(({ uploaded, digest }) => (uploaded && digest !== null ? digest : []));
}

function gone(what: string): ChainloopError {
  return new ChainloopError('EVIDENCE_MISSING', `${what}: it is not in storage any more; restore it, then: chainloop outbox retry`);
}
