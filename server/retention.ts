import { setTimeout as sleep } from 'node:timers/promises';
import { type Digest, hexOf } from '../core/digest.ts';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { CollectionStep } from '../core/retention.ts';
import { listCasBackends } from '../db/cas-backends.ts';
import type { Database, OrgScope } from '../db/client.ts';
import {
  claimCollection,
  type DueEvidence,
  finishRemoval,
  listDueEvidence,
  listDueRuns,
  markDueEvidence,
  nextStretch,
  removeDueRuns,
  sharesStorage,
  unmarkSpokenFor,
} from '../db/retention.ts';
import { systemActor } from './audit-actor.ts';
import type { Log } from './log.ts';
import type { Outbox } from './outbox.ts';
import { attestationTag, removeTagged } from './storage/attestation.ts';
import { emptyDescriptor, tagPrefixes } from './storage/manifest.ts';
import type { Storage } from './storage/storage.ts';
import type { Storages } from './storages.ts';

/**
 * Removes what an organization does not keep (db/retention.ts): attestations that have had their time, then evidence that nothing speaks
 * for. Takes one step of bounded size, from a cursor that the step before gave.
 */
export type Collection = {
  readonly database: Database;
  readonly storages: Storages;
  readonly outbox: Outbox;
  readonly log: Log;
  readonly now: () => Date;
};

/** A removal that takes longer than this is left to the next one: well before somebody else takes it over (removalLeaseMs). */
const patienceMs = 2 * 60 * 1000;

/** Where the evidence begins. */
const evidenceStart = 'e:';

/** One step. Throws CONFLICT when somebody else keeps evidence at the same place. */
export async function collectStep(
  collection: Collection,
  scope: OrgScope,
  { cursor, dryRun, signal }: { readonly cursor?: string | undefined; readonly dryRun: boolean; readonly signal?: AbortSignal },
): Promise<CollectionStep> {
  const now = collection.now();
  if (await sharesStorage(collection.database.system, scope.organizationId)) {
    throw new ChainloopError(
      'CONFLICT',
      'retention: a storage backend of this organization is used by another one too, so nothing can be removed; give each a repository of its own',
    );
  }
  if (cursor === undefined) {
    await assertAlone(collection, scope);
    const runs = await (dryRun ? listDueRuns : removeDueRuns)(scope, { now, limit: limits.collectionStep });
    for (const { id } of dryRun ? [] : runs) audit(collection, scope, { runId: id }, 'retention removes the attestation of a run');
    if (!dryRun && runs.length > 0) collection.outbox.wake();
    // What is only listed does not go away: the first page of it has to do.
    const more = !dryRun && runs.length === limits.collectionStep;
    return {
      attestations: runs.map(({ id, finishedAt }) => ({ runId: id, finishedAt })),
      evidence: [],
      failed: 0,
      nextCursor: more ? undefined : evidenceStart,
      more: true,
    };
  }
  const stretch = await nextStretch(scope, cursor.slice(evidenceStart.length), limits.collectionStep);
  if (stretch === undefined) return { attestations: [], evidence: [], failed: 0, more: false };
  const due = dryRun
    ? await listDueEvidence(scope, stretch, now)
    : await unmarkSpokenFor(scope, await markDueEvidence(scope, stretch, now), now);
  const removed = dryRun ? due : await removeEvidence(collection, scope, due, { now, signal });
  const evidence = removed.map(({ digest, fileName, sizeBytes }) => ({ digest, fileName, sizeBytes }));
  return { attestations: [], evidence, failed: due.length - removed.length, nextCursor: `${evidenceStart}${stretch.upTo}`, more: true };
}

/** Takes marked evidence out of every backend; answers what is gone. What fails stays marked, and is tried again by a later collection. */
async function removeEvidence(
  collection: Collection,
  scope: OrgScope,
  due: readonly DueEvidence[],
  { now, signal }: { readonly now: Date; readonly signal: AbortSignal | undefined },
): Promise<DueEvidence[]> {
  if (due.length === 0) return [];
  const deadlineMs = performance.now() + patienceMs;
  const places = await placesOf(collection, scope);
  const removed: DueEvidence[] = [];
  const queue = due.values();
  const worker = async (): Promise<void> => {
    for (const evidence of queue) {
      try {
        for (const storage of places) {
          signal?.throwIfAborted();
          if (performance.now() > deadlineMs) throw new ChainloopError('STORAGE_UNAVAILABLE', 'storage: removing takes too long');
          await removeFrom(storage, evidence);
        }
        await finishRemoval(scope, evidence.digest, now);
        removed.push(evidence);
        audit(collection, scope, { digest: evidence.digest, sizeBytes: evidence.sizeBytes }, 'retention removed evidence');
      } catch (error) {
        collection.log.warn(
          { error, organizationId: scope.organizationId, digest: evidence.digest },
          'evidence could not be removed; tried again later',
        );
      }
    }
  };
  await Promise.all(Array.from({ length: limits.uploadConcurrency }, worker));
  return removed;
}

/** Before anything is given up. What cannot be reached now is asked again before something is removed from it. */
async function assertAlone({ storages }: Collection, scope: OrgScope): Promise<void> {
  for (const { id } of await listCasBackends(scope)) {
    await storages.forRemoving(scope, id).catch((error: unknown) => {
      if (isChainloopError(error, 'CONFLICT')) throw error;
    });
  }
}

/** Every backend that something may be in. Throws CONFLICT when somebody that this database knows nothing of keeps evidence in one of them. */
async function placesOf({ storages }: Collection, scope: OrgScope): Promise<readonly Storage[]> {
  const backends = await listCasBackends(scope);
  const places = await Promise.all(backends.map(({ id }) => storages.forRemoving(scope, id)));
  return places.filter((storage) => storage !== undefined);
}

async function removeFrom(
  storage: Storage,
  { digest, sizeBytes, manifestDigest }: Pick<DueEvidence, 'digest' | 'sizeBytes' | 'manifestDigest'>,
): Promise<void> {
  if (manifestDigest !== null) await removeTagged(storage, `${tagPrefixes.material}${hexOf(digest)}`, manifestDigest);
  // A registry has a collector of its own; and asked whether some blob is a manifest, docker-registry answers 500.
  if (storage.removeBlob === undefined || (await isMoreThanEvidence(storage, digest, sizeBytes))) return;
  await storage.removeBlob(digest);
}

/**
 * A job may bring as evidence whatever lies there already, and name what it never had: the bundle of an attestation, a manifest, the empty
 * configuration of all of them. Those bytes are not there because it brought them.
 */
async function isMoreThanEvidence(storage: Storage, digest: Digest, sizeBytes: number): Promise<boolean> {
  if (digest === emptyDescriptor.digest || (await storage.getManifest(attestationTag(digest))) !== undefined) return true;
  return sizeBytes <= limits.manifestSizeBytes && (await storage.getManifest(digest)) !== undefined;
}

function audit({ log }: Collection, { organizationId }: OrgScope, what: object, message: string): void {
  log.info({ audit: true, organizationId, ...what }, message);
}

/** Looks at every organization about once a day; servers on one database share them. The answer stops it. */
export function startCollecting(collection: Collection): () => Promise<void> {
  const { database, log } = collection;
  const stopping = new AbortController();
  const { signal } = stopping;

  async function round(): Promise<void> {
    for (;;) {
      const now = collection.now();
      const id = await claimCollection(database.system, { now, before: new Date(now.getTime() - limits.collectionIntervalMs) });
      if (id === undefined) return;
      const scope = database.scope(id, systemActor('retention'));
      try {
        let step: CollectionStep | undefined;
        do {
          if (signal.aborted) return;
          step = await collectStep(collection, scope, { cursor: step?.nextCursor, dryRun: false, signal });
        } while (step.more);
      } catch (error) {
        log.warn({ error, organizationId: id }, 'retention: this organization could not be looked at; tried again later');
      }
    }
  }

  async function keepCollecting(): Promise<void> {
    while (!signal.aborted) {
      await sleep(limits.collectionPollMs * (0.5 + Math.random()), undefined, { signal, ref: false }).catch(() => {});
      if (!signal.aborted) await round().catch((error: unknown) => log.warn({ error }, 'retention: tried again later'));
    }
  }

  const done = keepCollecting();
  return async () => {
    stopping.abort();
    await done;
  };
}
