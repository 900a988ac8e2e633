import { randomBytes } from 'node:crypto';
import { createReadStream, existsSync, readFileSync } from 'node:fs';
import { open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setImmediate } from 'node:timers/promises';
import { ifPresent, isPresent, publish, writeDurably } from './disk.ts';
import { mediaTypes } from './manifest.ts';

/**
 * What a layout's manifests are called. The truth is a small file for each tag, and for each manifest without one, holding its
 * descriptor: putting one costs the same with ten and with a million. `index.json`, which other tools read, is derived from them: it is
 * written whole, a moment later, and less often the larger it is (rewriting it at every put would make n puts cost n² bytes).
 */
export type LayoutIndex = {
  /** Remembers a descriptor, durably, once `first` is done. `name` is a tag; for a manifest without one, the hex of its digest. */
  put(kind: Kind, name: string, descriptor: string, first: Promise<unknown>): Promise<void>;
  /** Forgets a descriptor; index.json follows. One that is not there is fine. */
  remove(kind: Kind, name: string): Promise<void>;
  /** Brings index.json up to date now. */
  flush(): Promise<void>;
  close(): Promise<void>;
};

/** The folders of the small files. */
const kinds = ['tags', 'untagged'] as const;
export type Kind = (typeof kinds)[number];

/** index.json lags behind by this, and by 20 times what writing it took: one twentieth of the time at most goes into it. */
const minimumDelayMs = 500;
const delayFactor = 20;

// One descriptor a line, so that it is copied line by line, in constant memory.
const head = `{"schemaVersion":2,"mediaType":"${mediaTypes.index}","manifests":[`;
const tail = ']}';

/** Opens the index of a layout. Reads the small files anew when the last process did not get to write index.json. */
export async function openLayoutIndex(options: {
  readonly directory: string;
  readonly state: string;
  readonly temporary: string;
  /** Told when writing index.json failed; it is tried again. */
  readonly onError?: ((error: unknown) => void) | undefined;
}): Promise<LayoutIndex> {
  const { directory, state, temporary, onError } = options;
  const path = join(directory, 'index.json');
  /** While this file is there, index.json does not say all that the small files say. */
  const stale = join(state, 'index-stale');
  let pending = new Set<string>();
  let isStale = await isPresent(stale);
  const exists = await isOurs(path);
  let rebuild = isStale || !exists;
  let timer: NodeJS.Timeout | undefined;
  let delayMs = minimumDelayMs;
  let flushing: Promise<void> = Promise.resolve();
  let clearing: Promise<void> = Promise.resolve();
  let marking: Promise<void> | undefined;
  /** Small files that are being written: index.json cannot be said to be up to date meanwhile. */
  let putting = 0;

  async function markStale(): Promise<void> {
    if (isStale) return;
    marking ??= mark().finally(() => {
      marking = undefined;
    });
    await marking;
  }

  async function mark(): Promise<void> {
    await clearing;
    await writeDurably(stale, '', temporary);
    isStale = true;
  }

  function schedule(): void {
    timer ??= setTimeout(() => flush().catch((error: unknown) => onError?.(error)), delayMs).unref();
  }

  function flush(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    flushing = flushing.catch(() => {}).then(write);
    return flushing;
  }

  async function write(): Promise<void> {
    if (!rebuild && pending.size === 0) return;
    const startedMs = performance.now();
    const changed = pending;
    pending = new Set();
    const source = rebuild ? allEntries(state) : merged(path, state, changed);
    const draft = join(temporary, randomBytes(12).toString('hex'));
    try {
      await writeEntries(draft, source, path);
    } catch (error) {
      await rm(draft, { force: true });
      pending = pending.union(changed);
      schedule();
      throw error;
    }
    rebuild = false;
    delayMs = Math.max(minimumDelayMs, (performance.now() - startedMs) * delayFactor);
    if (pending.size > 0) return schedule();
    if (putting > 0) return;
    // The next put marks it again.
    isStale = false;
    clearing = rm(stale, { force: true });
    await clearing;
  }

  // Reading 100,000 small files takes seconds: only a layout that has no index at all waits for it.
  if (!exists) await flush();
  else if (rebuild) schedule();
  return {
    async put(kind, name, descriptor, first) {
      putting++;
      try {
        await writeDurably(join(state, kind, name), descriptor, temporary, Promise.all([first, markStale()]));
        pending.add(`${kind}/${name}`);
      } finally {
        putting--;
        schedule();
      }
    },
    async remove(kind, name) {
      await markStale();
      await rm(join(state, kind, name), { force: true });
      pending.add(`${kind}/${name}`);
      schedule();
    },
    flush,
    async close() {
      await flush();
      clearTimeout(timer);
    },
  };
}

async function isOurs(path: string): Promise<boolean> {
  const file = await ifPresent(open(path, 'r'));
  if (file === undefined) return false;
  try {
    const { buffer } = await file.read(Buffer.alloc(head.length + 1), 0, head.length + 1, 0);
    return buffer.toString() === `${head}\n`;
  } finally {
    await file.close();
  }
}

async function* allEntries(state: string): AsyncGenerator<string> {
  for (const kind of kinds)
    yield* entries(
      state,
      (await readdir(join(state, kind))).map((name) => `${kind}/${name}`),
    );
}

/** The entries of index.json, but those that changed as they are now. */
async function* merged(path: string, state: string, changed: ReadonlySet<string>): AsyncGenerator<string> {
  const lines = createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY });
  for await (const line of lines) {
    if (!line.startsWith('{"mediaType"')) continue;
    const descriptor = line.endsWith(',') ? line.slice(0, -1) : line;
    if (!changed.has(keyOf(descriptor))) yield descriptor;
  }
  yield* entries(state, changed);
}

/** Reads small files in one go each, which is ten times as fast as asking the thread pool, and lets others have a turn in between. */
async function* entries(state: string, keys: Iterable<string>): AsyncGenerator<string> {
  let count = 0;
  for (const key of keys) {
    if (++count % 64 === 0) await setImmediate();
    const descriptor = readIfPresent(join(state, key));
    if (descriptor !== undefined) yield descriptor;
  }
}

/** Undefined: it was removed meanwhile. */
function readIfPresent(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

/** `tags/<tag>` or `untagged/<hex>`: which small file an entry came from. */
function keyOf(descriptor: string): string {
  // Our own lines: the reference name, when there is one, is the last thing in them.
  const tag = /"org\.opencontainers\.image\.ref\.name":"([^"]+)"\}\}$/.exec(descriptor)?.[1];
  return tag === undefined ? `untagged/${/"sha256:([0-9a-f]{64})"/.exec(descriptor)?.[1]}` : `tags/${tag}`;
}

async function writeEntries(draft: string, descriptors: AsyncIterable<string>, path: string): Promise<void> {
  const file = await open(draft, 'wx');
  let text = head;
  let separator = '\n';
  for await (const descriptor of descriptors) {
    text += separator + descriptor;
    separator = ',\n';
    if (text.length < 256 * 1024) continue;
    await file.appendFile(text);
    text = '';
  }
  await file.appendFile(`${text}\n${tail}\n`);
  await publish(file, draft, path);
}
