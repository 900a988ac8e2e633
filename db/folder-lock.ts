import { createHash, randomUUID } from 'node:crypto';
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { ChainloopError } from '../core/errors.ts';
import { jsonValue } from '../core/json-value.ts';
import { systemCode } from '../core/system-code.ts';

/** Who holds the folder. Process ids are used again: with the start time they are not. */
const Holder = z.object({ host: z.string(), pid: z.int().positive(), startedAt: z.string() });
type Holder = z.infer<typeof Holder>;

export type FolderLock = { release(): Promise<void> };

/**
 * Locks a data directory for this process: PGlite lets two processes open one, and they destroy it. A lock whose process is gone
 * (kill -9, power) is taken over. Throws CONFLICT, with the process that holds it.
 *
 * The lock file appears by link(2) and is replaced by rename(2): at no instant is it empty or half written, and of several that take over
 * the same dead lock one wins.
 */
export async function lockFolder(folder: string): Promise<FolderLock> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const lock = join(folder, 'chainloop.lock');
  const mine = `${lock}.${randomUUID()}`;
  const holder: Holder = { host: hostname(), pid: process.pid, startedAt: await startOf(process.pid) };
  await writeFile(mine, JSON.stringify(holder), { mode: 0o600, flag: 'wx' });
  try {
    while (!(await appears(mine, lock))) {
      const text = await readFile(lock, 'utf8').catch(absent);
      if (text === undefined) continue;
      await refuseLiving(text, folder, lock);
      if (await replaces(mine, lock, text)) break;
    }
  } finally {
    await rm(mine, { force: true });
  }
  return { release: () => rm(lock, { force: true }) };
}

/**
 * Puts `mine` in the place of a dead lock; false when another one is about to, or has. Whoever does it holds a claim on that very text, so
 * that nobody moves away what came after it. A claim whose process is gone is taken over in the same way.
 */
async function replaces(mine: string, path: string, dead: string): Promise<boolean> {
  const claim = `${path}.${createHash('sha256').update(dead).digest('hex').slice(0, 16)}`;
  if (!(await appears(mine, claim))) {
    const claimant = await readFile(claim, 'utf8').catch(absent);
    if (claimant === undefined || (await lives(claimant)) || !(await replaces(mine, claim, claimant))) return false;
  }
  try {
    if ((await readFile(path, 'utf8').catch(absent)) !== dead) return false;
    const next = `${mine}.next`;
    await link(mine, next);
    await rename(next, path);
    return true;
  } finally {
    await rm(claim, { force: true });
  }
}

async function lives(text: string): Promise<boolean> {
  const { data: holder } = Holder.safeParse(jsonValue(text));
  return holder === undefined || (await startOf(holder.pid)) === holder.startedAt;
}

async function refuseLiving(text: string, folder: string, lock: string): Promise<void> {
  const { data: holder } = Holder.safeParse(jsonValue(text));
  if (holder === undefined) {
    throw new ChainloopError('CONFLICT', `${folder}: ${lock} is not a lock of ours; remove it if no server uses this folder`);
  }
  if (holder.host !== hostname()) {
    throw new ChainloopError(
      'CONFLICT',
      `${folder} is in use on ${holder.host} (process ${holder.pid}); stop the server there, or remove ${lock} if it is gone`,
    );
  }
  if ((await startOf(holder.pid)) === holder.startedAt) {
    throw new ChainloopError('CONFLICT', `${folder} is in use by process ${holder.pid}; stop it, or choose another data directory`);
  }
}

/** When the process started: in the kernel's clock ticks where /proc says so, else whether it lives at all. Empty when it is gone. */
async function startOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (stat !== undefined) {
    // The second field, in parentheses, may contain anything; the state is the third, starttime the 22nd (proc(5)). Z: killed, not reaped.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? '' : (fields[19] ?? '');
  }
  try {
    process.kill(pid, 0);
    return 'alive';
  } catch (error) {
    return systemCode(error) === 'EPERM' ? 'alive' : '';
  }
}

/** True when `from` is now also `to`; false when something was there. */
async function appears(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
}

function absent(error: unknown): undefined {
  if (systemCode(error) !== 'ENOENT') throw error;
}
