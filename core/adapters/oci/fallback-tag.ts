import { setTimeout as delay } from 'node:timers/promises';
import * as z from 'zod';
import { type Digest, digestOf, hexOf } from '../../digest.ts';
import { limits } from '../../limits.ts';
import { RegistryError } from './errors.ts';
import { Descriptor, headManifest, imageIndexType, parseAs, putManifestOnly } from './manifests.ts';
import type { Session } from './session.ts';

export const Index = z.looseObject({ manifests: z.array(Descriptor) });

/** The tag that lists the referrers where the registry does not (distribution specification, "Referrers Tag Schema"). */
export function fallbackTag(subject: Digest): string {
  return `sha256-${hexOf(subject)}`;
}

/** What stands under the tag. */
type Standing = {
  readonly index: z.infer<typeof Index>;
  /** Of the bytes; undefined when there is nothing. */
  readonly digest: Digest | undefined;
  readonly etag: string | undefined;
};

/** Runs one piece of work at a time for each key, also among those who share nothing but this. */
export type Exclusive = <T>(key: string, work: () => Promise<T>) => Promise<T>;

/** The fallback tags of one repository. */
export type FallbackTags = {
  read(subject: Digest): Promise<readonly Descriptor[]>;
  /** Resolves when the entry is there to stay. REGISTRY_ERROR when it does not stay, or the registry has no such tags. */
  add(subject: Digest, entry: Descriptor): Promise<void>;
};

/** How registries say that an index names what is not there. */
const unknownCodes: readonly string[] = ['MANIFEST_BLOB_UNKNOWN', 'MANIFEST_UNKNOWN', 'BLOB_UNKNOWN'];

/** Holds for no representation, so that a registry that looks at preconditions answers 412, and all others as if there was none. */
const never = { 'if-match': `"sha256:${'0'.repeat(64)}"` } as const;

/**
 * A tag is written as a whole, and most registries keep no two writers apart: who reads, another writes, who writes then has lost the other's
 * entry. So that nobody's is lost:
 *
 * 1. Writers of one process take turns, and with `exclusive` those of all processes that share it: then nobody else writes.
 * 2. A registry that looks at preconditions (RFC 9110, section 13.1) is given one: it refuses a writer that was overtaken.
 * 3. Without `exclusive` a writer stays until the tag has stood still, with its entry in it, for longer than a writer takes from reading to
 *    writing (`policy.quietMs`, and more where the registry is slow). Whoever read the tag before it was written has written by then, and is
 *    seen; whoever read it after has the entry. So only a writer that takes longer than that can still undo it.
 */
export function createFallbackTags(session: Session, exclusive: Exclusive | undefined): FallbackTags {
  /** Whether the registry looks at preconditions. Undefined: nothing was written yet. */
  let conditional: boolean | undefined;

  async function look(subject: Digest): Promise<Standing> {
    const what = `referrers of ${subject}`;
    const answer = await session.send({
      method: 'GET',
      url: session.url(`manifests/${fallbackTag(subject)}`),
      access: 'pull',
      what,
      accept: [200, 404],
      headers: { accept: imageIndexType },
    });
    const nothing = { index: { schemaVersion: 2, mediaType: imageIndexType, manifests: [] }, digest: undefined, etag: undefined };
    if (answer.status === 404) {
      answer.discard();
      return nothing;
    }
    const bytes = await session.read(answer, limits.manifestSizeBytes, what);
    const digest = digestOf(bytes);
    // registry.gitlab.com takes the tag for the digest, and answers with the subject itself (oras-project/oras-go #1396).
    if (digest === subject) return nothing;
    return { index: parseAs(session, bytes, Index, what), digest, etag: answer.header('etag') };
  }

  /** Writes, unless somebody else was faster and the registry says so: then the next look shows it. */
  async function write(subject: Digest, index: z.infer<typeof Index>, { digest, etag }: Standing): Promise<void> {
    const bytes = Buffer.from(JSON.stringify(index));
    const put = (condition?: Readonly<Record<string, string>>) =>
      putManifestOnly(session, fallbackTag(subject), imageIndexType, bytes, condition);
    if (conditional === undefined) {
      conditional = !(await put(never)).stored;
      if (!conditional) return;
    }
    if (!conditional || (digest !== undefined && etag === undefined)) await put();
    else await put(etag === undefined ? { 'if-none-match': '*' } : { 'if-match': etag });
  }

  /** Reads, merges and writes once; the answer is how long that took. */
  async function merge(subject: Digest, entry: Descriptor): Promise<number> {
    const startedMs = performance.now();
    const standing = await look(subject);
    if (has(standing, entry)) return 0;
    const { index } = standing;
    try {
      await write(subject, { ...index, manifests: [...index.manifests, entry] }, standing);
    } catch (error) {
      if (!(error instanceof RegistryError) || !error.registryCodes.some((code) => unknownCodes.includes(code))) throw error;
      // It takes no index with manifests that it does not have any more.
      await write(subject, { ...index, manifests: [...(await existing(index.manifests)), entry] }, standing);
    }
    return performance.now() - startedMs;
  }

  async function existing(entries: readonly Descriptor[]): Promise<readonly Descriptor[]> {
    const found: Descriptor[] = [];
    for (const entry of entries) if ((await headManifest(session, entry.digest)) !== undefined) found.push(entry);
    return found;
  }

  /** Whether the entry is there, and the tag then stands still for so long. */
  async function stands(subject: Digest, entry: Descriptor, quietMs: number, deadlineMs: number): Promise<boolean> {
    let seen = await look(subject);
    for (let since = performance.now(); has(seen, entry); ) {
      const leftMs = since + quietMs - performance.now();
      // Others may never cease, and with each of their writes the entry was seen.
      if (leftMs <= 0 || performance.now() > deadlineMs) return true;
      await delay(Math.min(leftMs, quietMs * (0.15 + Math.random() * 0.2)));
      const next = await look(subject);
      if (next.digest !== seen.digest) since = performance.now();
      seen = next;
    }
    return false;
  }

  return {
    async read(subject) {
      return (await look(subject)).index.manifests;
    },
    async add(subject, entry) {
      const { budgetMs, baseDelayMs, maxDelayMs, quietMs: leastMs = limits.fallbackQuietMs } = session.policy;
      const place = session.url(`manifests/${fallbackTag(subject)}`).href;
      const deadlineMs = performance.now() + budgetMs;
      let slowestMs = 0;
      for (let losses = 0; ; losses++) {
        const turn = () => merge(subject, entry);
        const tookMs = await inTurn(place, exclusive === undefined ? turn : () => exclusive(place, turn));
        slowestMs = Math.max(slowestMs, tookMs);
        const quietMs = exclusive === undefined ? Math.max(leastMs, 5 * slowestMs) : 0;
        if (await stands(subject, entry, quietMs, deadlineMs)) return;
        if (performance.now() > deadlineMs) throw lost(session, subject);
        await delay(Math.random() * Math.min(maxDelayMs, baseDelayMs * 2 ** losses));
      }
    },
  };
}

function has({ index }: Standing, entry: Descriptor): boolean {
  return index.manifests.some(({ digest }) => digest === entry.digest);
}

function lost({ name }: Session, subject: Digest): RegistryError {
  return new RegistryError(
    'REGISTRY_ERROR',
    `${name}: the tag ${fallbackTag(subject)}, which lists the referrers, does not keep what is written to it: others overwrite it, or the registry has no such tags; try again`,
  );
}

/** Writers of one tag in this process take turns. */
const turns = new Map<string, Promise<unknown>>();

async function inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
  const before = turns.get(key) ?? Promise.resolve();
  const mine = before.catch(() => {}).then(work);
  turns.set(key, mine);
  try {
    return await mine;
  } finally {
    if (turns.get(key) === mine) turns.delete(key);
  }
}
