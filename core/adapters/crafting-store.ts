import { randomUUID } from 'node:crypto';
import { link, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type * as z from 'zod';
import type { CraftedMaterial, Crafting, CraftingStart } from '../crafting.ts';
import { ChainloopError, isChainloopError } from '../errors.ts';
import { limits } from '../limits.ts';
import { Name } from '../names.ts';
import type { CraftingStore } from '../ports.ts';
import { formatPath } from '../source/place.ts';
import { systemCode } from '../system-code.ts';
import { MaterialFile, StartFile } from './crafting-state.ts';
import { readLimited, syncDirectory, writeFileAtomically } from './files.ts';
import { explained, makeStateDirectory } from './state-directory.ts';

export { craftingDirectory } from './crafting-directory.ts';

/** Only the owner: what will be signed is nobody else's to write, and contracts and variables are nobody else's to read. */
const fileMode = 0o600;
const materialFile = /^material\.([-a-z0-9]+)\.json$/;

/**
 * A crafting as a folder: `start.json`, one file for each material (so that adding two at once needs no lock), the sealed bundle, or the statement that waits for its signature, and
 * the key of an `init` under way. Each file is written aside, synced and renamed; the folder itself is renamed away before it is
 * deleted. So whatever is killed, whenever, there is the old or the new state.
 *
 * STATE_CORRUPT when a file is not what we wrote, DISK_FULL, and FILE_UNREADABLE when the folder cannot be used.
 */
export function createCraftingStore(directory: string): CraftingStore {
  const startPath = join(directory, 'start.json');
  const bundlePath = join(directory, 'bundle.json');
  const statementPath = join(directory, 'statement.json');
  const keyPath = join(directory, 'init-key');
  const materialPath = (name: string) => join(directory, `material.${Name.parse(name)}.json`);

  /** The folder, ours alone; the leftovers of those that were ended before are swept. */
  async function makeDirectory(): Promise<void> {
    await makeStateDirectory(directory);
    const parent = dirname(directory);
    const ended = (await readdir(parent)).filter((name) => name.startsWith(`${basename(directory)}.ended-`));
    for (const name of ended) await rm(join(parent, name), { recursive: true, force: true });
  }

  /** Writes a file that must not exist yet; false when it does. A link, unlike a rename, never replaces. */
  async function create(path: string, text: string): Promise<boolean> {
    const aside = `${path}.${randomUUID()}`;
    await writeFileAtomically(aside, Buffer.from(text), fileMode);
    try {
      await link(aside, path);
      return true;
    } catch (error) {
      if (systemCode(error) === 'EEXIST') return false;
      throw error;
    } finally {
      await rm(aside, { force: true });
      await syncDirectory(directory);
    }
  }

  async function write(path: string, content: string | Uint8Array): Promise<void> {
    try {
      await writeFileAtomically(path, Buffer.from(content), fileMode);
    } catch (error) {
      // The folder goes only when the crafting ends.
      throw isChainloopError(error, 'FILE_NOT_FOUND') ? noCrafting() : error;
    }
  }

  return {
    async reserve(key) {
      await makeDirectory();
      return explained(directory, async () => {
        if (await create(keyPath, key)) return key;
        return (await read(keyPath, limits.textLength)) ?? key;
      });
    },

    async begin(start: CraftingStart) {
      await makeDirectory();
      if (await explained(directory, () => create(startPath, JSON.stringify(start)))) return;
      throw new ChainloopError(
        'CRAFTING_OPEN',
        'attestation: another one was started here at the same moment; use it, or end it with: chainloop attestation reset',
      );
    },

    async load(): Promise<Crafting> {
      const text = await read(startPath, limits.stateSizeBytes);
      if (text === undefined) throw noCrafting();
      const start = parse(StartFile, text, startPath);
      const materials: CraftedMaterial[] = [];
      for (const name of (await readdir(directory)).toSorted()) {
        const [, expected] = materialFile.exec(name) ?? [];
        if (expected === undefined) continue;
        const path = join(directory, name);
        const source = await read(path, limits.stateSizeBytes);
        if (source === undefined) throw noCrafting();
        const material = parse(MaterialFile, source, path);
        if (material.name !== expected) throw corrupt(path, `it is about '${material.name}'`);
        materials.push(material);
      }
      return { start, materials };
    },

    async put(material) {
      await write(materialPath(material.name), JSON.stringify(material));
      return undefined;
    },
    seal: (bundle) => write(bundlePath, bundle),
    sealed: () => read(bundlePath, limits.bundleSizeBytes),
    keepStatement: (statement) => write(statementPath, statement),
    async keptStatement() {
      const text = await read(statementPath, limits.statementSizeBytes);
      return text === undefined ? undefined : new Uint8Array(Buffer.from(text));
    },

    async unseal() {
      await rm(bundlePath, { force: true });
      await rm(statementPath, { force: true });
      await syncDirectory(directory);
    },

    async remove() {
      const aside = `${directory}.ended-${randomUUID()}`;
      try {
        await rename(directory, aside);
      } catch (error) {
        if (systemCode(error) === 'ENOENT') return;
        throw error;
      }
      await syncDirectory(dirname(directory));
      await rm(aside, { recursive: true, force: true });
    },
  };
}

async function read(path: string, maxBytes: number): Promise<string | undefined> {
  try {
    return Buffer.from(await readLimited(path, maxBytes)).toString('utf8');
  } catch (error) {
    if (isChainloopError(error, 'FILE_NOT_FOUND')) return undefined;
    if (isChainloopError(error, 'LIMIT_EXCEEDED')) throw corrupt(path, 'it is too large', error);
    throw error;
  }
}

function parse<T>(schema: z.ZodType<T>, text: string, path: string): T {
  // Read once: to compile the schema first, as zod does for what is read often, takes longer than that.
  const result = schema.safeParse(json(text, path), { jitless: true });
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw corrupt(path, `${formatPath(issue?.path ?? [])} ${issue?.message}`.trim());
}

function json(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw corrupt(path, 'it is not JSON', cause);
  }
}

function noCrafting(): ChainloopError {
  return new ChainloopError('NO_CRAFTING', 'attestation: none is open here; start one with: chainloop attestation init');
}

function corrupt(path: string, detail: string, cause?: unknown): ChainloopError {
  return new ChainloopError(
    'STATE_CORRUPT',
    `crafting state: ${path} cannot be used: ${detail}; forget it with: chainloop attestation reset, and start again`,
    { cause },
  );
}
