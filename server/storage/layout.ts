import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat as fileStat, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, digestOf, hexOf, isDigest, parseDigest } from '../../core/digest.ts';
import { ChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { isTag } from '../../core/reference.ts';
import { diskError, ifPresent, isPresent, sweep, syncFolder, writeDurably } from './disk.ts';
import { openLayoutIndex } from './layout-index.ts';
import { createLayoutUploads } from './layout-uploads.ts';
import { assertReference, descriptorOf, mediaTypeOf, parseManifest } from './manifest.ts';
import { corrupt, createSeals } from './seal.ts';
import type { Manifest, Storage } from './storage.ts';

export type LayoutStorage = Storage & {
  /** Brings index.json up to date now; otherwise it follows by itself, about half a second later. */
  flushIndex(): Promise<void>;
};

/** Drafts of small files live for milliseconds: an older one was left by a crash. */
const draftLifetimeMs = 10 * 60 * 1000;

/**
 * An OCI image layout (image specification, "Image Layout") in a folder, made when it does not exist. Open it once in one process at a
 * time: others may read it meanwhile, with any tool.
 *
 *     oci-layout, index.json      as the specification says; index.json follows with a short delay (layout-index.ts)
 *     blobs/sha256/<hex>          blobs and manifests, complete and verified, or not there; blobs are sealed (seal.ts)
 *     .chainloop/tags/<tag>       the descriptor that a tag names: the truth about tags
 *     .chainloop/untagged/<hex>   the descriptor of a manifest that was put by digest
 *     .chainloop/referrers/<hex of the subject>/<hex>   empty: this manifest refers to that one
 *     .chainloop/uploads/<session>, .chainloop/drafts/  what is not visible yet
 *
 * A kill at any moment leaves each file old or new; drafts are swept at the next opening. What somebody else changed in a blob or manifest
 * is as good as absent, so that the same content can be put again; only `fetch` says DIGEST_MISMATCH, and `onError` is told.
 */
export async function openLayout(
  directory: string,
  options: { readonly now?: () => Date; readonly onError?: (error: unknown) => void } = {},
): Promise<LayoutStorage> {
  const now = options.now ?? (() => new Date());
  const state = join(directory, '.chainloop');
  const blobs = join(directory, 'blobs', 'sha256');
  const drafts = join(state, 'drafts');
  const uploadsFolder = join(state, 'uploads');
  const marker = join(directory, 'oci-layout');
  const blobPath = (digest: Digest): string => join(blobs, hexOf(digest));
  try {
    for (const folder of [blobs, drafts, uploadsFolder, join(state, 'tags'), join(state, 'untagged'), join(state, 'referrers')]) {
      await mkdir(folder, { recursive: true });
    }
    await sweep(drafts, new Date(now().getTime() - draftLifetimeMs));
  } catch (error) {
    throw diskError(error, `storage: ${directory} cannot be opened`);
  }
  if (!(await isPresent(marker))) await writeDurably(marker, JSON.stringify({ imageLayoutVersion: '1.0.0' }), drafts);
  const index = await openLayoutIndex({ directory, state, temporary: drafts, onError: options.onError });
  const uploads = createLayoutUploads({ folder: uploadsFolder, blobPath, now });

  const seals = createSeals(blobPath);
  const report = (error: ChainloopError): ChainloopError => {
    options.onError?.(error);
    return error;
  };

  const stat: Storage['stat'] = async (digest) => {
    const found = await seals.look(digest);
    if (found !== 'corrupt') return found;
    report(corrupt(digest));
    return undefined;
  };

  async function writeBlob(digest: Digest, bytes: Uint8Array): Promise<void> {
    if ((await stat(digest)) === undefined) await writeDurably(blobPath(digest), bytes, drafts);
  }

  async function removeBlob(digest: Digest): Promise<void> {
    await rm(blobPath(digest), { force: true });
    await syncFolder(blobs);
  }

  async function writeReferrer(subject: Digest, manifest: Digest): Promise<void> {
    const folder = join(state, 'referrers', hexOf(subject));
    await mkdir(folder, { recursive: true });
    await writeDurably(join(folder, hexOf(manifest)), '', drafts);
  }

  /** The manifest, or undefined: there is nothing, what is there is no manifest, or it was changed. */
  async function readManifest(digest: Digest): Promise<Manifest | undefined> {
    const path = blobPath(digest);
    const found = await ifPresent(fileStat(path));
    if (found === undefined || !found.isFile() || found.size > limits.manifestSizeBytes) return undefined;
    const bytes = await readFile(path);
    if (digestOf(bytes) !== digest) {
      await seals.breakSeal(digest);
      report(corrupt(digest));
      return undefined;
    }
    const content = parseManifest(bytes);
    return content === undefined ? undefined : { digest, mediaType: mediaTypeOf(content), bytes };
  }

  /** Holds each piece back until the next one is there, and the last one until the digest is right. */
  async function* readVerified(digest: Digest): AsyncGenerator<Uint8Array> {
    const hash = createHash('sha256');
    let held: Uint8Array | undefined;
    for await (const piece of createReadStream(blobPath(digest), { highWaterMark: pieceSizeBytes })) {
      if (held !== undefined) yield held;
      hash.update(piece);
      held = piece;
    }
    if (hash.digest('hex') !== hexOf(digest)) {
      await seals.breakSeal(digest);
      throw report(corrupt(digest));
    }
    if (held !== undefined) yield held;
  }

  async function digestOfTag(tag: string): Promise<Digest | undefined> {
    const text = await ifPresent(readFile(join(state, 'tags', tag), 'utf8'));
    const digest = text === undefined ? undefined : /"digest":"(sha256:[0-9a-f]{64})"/.exec(text)?.[1];
    return isDigest(digest) ? digest : undefined;
  }

  return {
    type: 'layout',
    ...uploads,
    stat,
    async fetch(digest, { offset = 0, length } = {}) {
      const found = await seals.look(digest);
      if (found === undefined) return undefined;
      if (found === 'corrupt') throw report(corrupt(digest));
      const { sizeBytes } = found;
      const isWhole = offset === 0 && (length === undefined || length >= sizeBytes);
      const end = length === undefined ? sizeBytes : Math.min(sizeBytes, offset + length);
      const body = isWhole ? readVerified(digest) : readRange(blobPath(digest), offset, end);
      return { sizeBytes, verified: isWhole, body };
    },
    async putManifest(reference, mediaType, bytes) {
      assertReference(reference);
      const digest = digestOf(bytes);
      if (isDigest(reference) && reference !== digest) {
        throw new ChainloopError('DIGEST_MISMATCH', `manifest: the bytes are ${digest}, not ${reference}`);
      }
      const content = parseManifest(bytes);
      const described = content && descriptorOf(content, bytes);
      const written = Promise.all([writeBlob(digest, bytes), content?.subject && writeReferrer(content.subject.digest, digest)]);
      // Last, because from here on it is found.
      const entry = { mediaType, digest, size: bytes.byteLength, ...(described?.artifactType && { artifactType: described.artifactType }) };
      const tagged = { ...entry, annotations: { 'org.opencontainers.image.ref.name': reference } };
      if (isDigest(reference)) await index.put('untagged', hexOf(digest), JSON.stringify(entry), written);
      else await index.put('tags', reference, JSON.stringify(tagged), written);
      return digest;
    },
    async getManifest(reference) {
      assertReference(reference);
      const digest = isDigest(reference) ? reference : await digestOfTag(reference);
      return digest === undefined ? undefined : readManifest(digest);
    },
    async tags({ n, last } = {}) {
      const names = (await readdir(join(state, 'tags'))).filter(isTag).sort();
      const start = last === undefined ? 0 : names.findIndex((name) => name > last);
      return start < 0 ? [] : names.slice(start, n === undefined ? undefined : start + n);
    },
    async *referrers(subject, after) {
      const folder = join(state, 'referrers', hexOf(subject));
      for (const name of ((await ifPresent(readdir(folder))) ?? []).sort()) {
        const digest = parseDigest(`sha256:${name}`);
        if (after !== undefined && digest <= after) continue;
        const manifest = await readManifest(digest);
        const content = manifest && parseManifest(manifest.bytes);
        if (manifest !== undefined && content !== undefined) yield descriptorOf(content, manifest.bytes);
      }
    },
    async removeManifest(reference) {
      assertReference(reference);
      if (!isDigest(reference)) {
        await index.remove('tags', reference);
        return true;
      }
      const manifest = await readManifest(reference);
      const subject = manifest && parseManifest(manifest.bytes)?.subject?.digest;
      // In this order: what is found is there. A crash in between leaves a file that nothing names; the same again ends it.
      await index.remove('untagged', hexOf(reference));
      if (subject !== undefined) await rm(join(state, 'referrers', hexOf(subject), hexOf(reference)), { force: true });
      await removeBlob(reference);
      return true;
    },
    removeBlob,
    flushIndex: () => index.flush(),
    close: () => index.close(),
  };
}

const pieceSizeBytes = 512 * 1024;

async function* readRange(path: string, start: number, end: number): AsyncGenerator<Uint8Array> {
  if (end > start) yield* createReadStream(path, { start, end: end - 1, highWaterMark: pieceSizeBytes });
}
