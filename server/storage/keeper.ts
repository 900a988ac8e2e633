import { emptyConfig } from '../../core/adapters/oci/evidence-store.ts';
import { type Digest, digestOf } from '../../core/digest.ts';
import { ChainloopError } from '../../core/errors.ts';
import { removeTagged } from './attestation.ts';
import { artifactManifest, emptyDescriptor, mediaTypes, parseManifest } from './manifest.ts';
import { pushBlob, type Storage } from './storage.ts';

/**
 * Who keeps evidence in a storage: an organization of a control plane. Each leaves a mark there, so that two who were given the same place
 * find each other, whatever they call it, and neither removes what the other relies on. A mark is a manifest of its own, tagged, and a
 * referrer of one that is the same for all: nobody writes what somebody else has written.
 */
export type Keeper = { readonly organizationId: string; readonly instanceId: string };

const markType = 'application/vnd.chainloop.keeper.v1';
const annotation = { organization: 'chainloop.organization', instance: 'chainloop.instance' } as const;
const all = artifactManifest({ artifactType: 'application/vnd.chainloop.keepers.v1', layer: emptyDescriptor });
const subject = { mediaType: mediaTypes.manifest, digest: digestOf(all), size: all.byteLength };

function markOf({ organizationId, instanceId }: Keeper): Uint8Array {
  const annotations = { [annotation.organization]: organizationId, [annotation.instance]: instanceId };
  return artifactManifest({ artifactType: markType, layer: emptyDescriptor, subject, annotations });
}

function tagOf({ organizationId }: Keeper): string {
  return `chainloop-keeper-${organizationId}`;
}

type Mark = Keeper & { readonly digest: Digest };

/** Those that can be read: a list of referrers may name what was removed. */
async function marksIn(storage: Storage): Promise<readonly Mark[]> {
  const marks: Mark[] = [];
  for await (const { digest } of storage.referrers(subject.digest)) {
    const manifest = await storage.getManifest(digest);
    const content = manifest && parseManifest(manifest.bytes);
    if (content?.artifactType !== markType) continue;
    const { [annotation.organization]: organizationId = '', [annotation.instance]: instanceId = '' } = content.annotations ?? {};
    marks.push({ digest, organizationId, instanceId });
  }
  return marks;
}

function isSame(one: Keeper, other: Keeper): boolean {
  return one.organizationId === other.organizationId && one.instanceId === other.instanceId;
}

/** Those of the same organization in another control plane: one was restored from a backup of the other. */
function isOrigin(one: Keeper, other: Keeper): boolean {
  return one.organizationId === other.organizationId && one.instanceId !== other.instanceId;
}

/**
 * Leaves the mark of a keeper, unless it is there; and unless the one is that it was restored from, which would otherwise be stopped by a
 * copy of itself that somebody tries. Answers who else keeps evidence there, as it is afterwards: of two that come at once, one finds the other.
 */
export async function enrol(storage: Storage, keeper: Keeper): Promise<readonly Keeper[]> {
  let marks = await marksIn(storage);
  if (!marks.some((mark) => isSame(mark, keeper) || isOrigin(mark, keeper))) {
    await pushBlob(storage, emptyConfig.bytes, emptyDescriptor.digest);
    await storage.putManifest('chainloop-keepers', mediaTypes.manifest, all);
    await storage.putManifest(tagOf(keeper), mediaTypes.manifest, markOf(keeper));
    marks = await marksIn(storage);
  }
  return marks.filter((mark) => !isSame(mark, keeper));
}

/** Removes the marks of all others, and leaves its own. Throws REGISTRY_ERROR when the storage lets nothing be removed. */
export async function takeOver(storage: Storage, keeper: Keeper): Promise<void> {
  for (const mark of await marksIn(storage)) if (!isSame(mark, keeper)) await removeTagged(storage, tagOf(mark), mark.digest);
  await enrol(storage, keeper);
}

/** Removes its mark; the same again changes nothing. Throws REGISTRY_ERROR when the storage lets nothing be removed. */
export async function withdraw(storage: Storage, keeper: Keeper): Promise<void> {
  for (const mark of await marksIn(storage)) if (isSame(mark, keeper)) await removeTagged(storage, tagOf(mark), mark.digest);
}

/** Who the first of the others is, and what to do about it. */
export function aboutOthers([other]: readonly Keeper[], keeper: Keeper, ifGone: string): string {
  if (other === undefined) return 'nobody else keeps evidence there';
  const { organizationId, instanceId } = other;
  const who = isOrigin(other, keeper)
    ? 'the control plane that this one was restored from, or that was restored from this one, keeps its evidence there'
    : `another organization of ${instanceId === keeper.instanceId ? 'this' : 'another'} control plane (${organizationId}) keeps its evidence there: give each a place of its own`;
  return `${who}; ${ifGone}`;
}

/** For a backend that is kept. */
export function takingOver(name: string): string {
  return `if that one is gone for good: chainloop cas-backend take-over --name ${name}`;
}

/** Throws CONFLICT unless the keeper is alone: what it removed could be somebody else's. */
export async function assertAlone(storage: Storage, keeper: Keeper, name: string): Promise<void> {
  const others = await enrol(storage, keeper);
  if (others.length === 0) return;
  throw new ChainloopError(
    'CONFLICT',
    `CAS backend '${name}': nothing is removed from it, since ${aboutOthers(others, keeper, takingOver(name))}`,
  );
}
