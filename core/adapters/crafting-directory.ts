import { access, realpath } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { digestOf, hexOf } from '../digest.ts';
import { ChainloopError } from '../errors.ts';
import { type Env, jobKey, jobWorkspace } from '../runner.ts';

/** Folders that a CI system gives a job for itself, empties afterwards, and keeps out of the checkout. */
const jobTemporary = ['RUNNER_TEMP', 'AGENT_TEMPDIRECTORY', 'WORKSPACE_TMP'] as const;

/**
 * Where the crafting of this job and workspace is remembered: the same for every step of a job, another one for every other job, also
 * on the same machine (lessons.md, 9). In `$CHAINLOOP_STATE_DIR`, else the job's temporary folder, else `$XDG_STATE_HOME`, else
 * `~/.local/state`; never inside the checkout, where it would be published or committed (USAGE). `workspace` is the current folder;
 * `attestationId` tells several attestations of one job apart.
 */
export async function craftingDirectory(place: {
  readonly env: Env;
  readonly workspace: string;
  readonly attestationId?: string | undefined;
}): Promise<string> {
  const { env, attestationId = '' } = place;
  const root = await workspaceRoot(env, await realPath(place.workspace));
  const key = hexOf(digestOf(JSON.stringify([root.path, jobKey(env), attestationId]))).slice(0, 32);
  return join(await folderOutside(env, root), key);
}

/** The folder with all that is remembered for the jobs of this user. The same rules as for `craftingDirectory`. */
export async function stateDirectory({ env, workspace }: { readonly env: Env; readonly workspace: string }): Promise<string> {
  return folderOutside(env, await workspaceRoot(env, await realPath(workspace)));
}

type Root = { readonly path: string; readonly checkout: boolean };

async function folderOutside(env: Env, root: Root): Promise<string> {
  const chosen = env.CHAINLOOP_STATE_DIR;
  const candidates = isSet(chosen) ? [resolve(root.path, chosen)] : defaultFolders(env);
  for (const candidate of candidates) {
    const folder = await realPath(candidate);
    if (!root.checkout || !isInside(folder, root.path)) return folder;
  }
  throw new ChainloopError(
    'USAGE',
    `crafting state: ${candidates.join(', ')} is inside the checkout ${root.path}, where it could be published; set CHAINLOOP_STATE_DIR to a folder outside of it`,
  );
}

function defaultFolders(env: Env): string[] {
  const given = [
    ...jobTemporary.map((name) => env[name]),
    isSet(env.XDG_STATE_HOME) ? env.XDG_STATE_HOME : join(isSet(env.HOME) ? env.HOME : homedir(), '.local', 'state'),
  ];
  return given.filter(isSet).map((folder) => join(folder, 'chainloop'));
}

/** What the steps of a job have in common: the CI system's checkout, else the one around the current folder, else that folder. */
async function workspaceRoot(env: Env, current: string): Promise<Root> {
  const job = jobWorkspace(env);
  if (isSet(job)) {
    const path = await realPath(job);
    if (isInside(current, path)) return { path, checkout: true };
  }
  for (let folder = current; ; folder = dirname(folder)) {
    if (await exists(join(folder, '.git'))) return { path: folder, checkout: true };
    if (folder === dirname(folder)) return { path: current, checkout: false };
  }
}

function isInside(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

/** The real path, also of what does not exist yet: links in what does are followed. */
async function realPath(path: string): Promise<string> {
  const absolute = resolve(path);
  try {
    return await realpath(absolute);
  } catch {
    const parent = dirname(absolute);
    return parent === absolute ? absolute : join(await realPath(parent), basename(absolute));
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function isSet(text: string | undefined): text is string {
  return text !== undefined && text !== '';
}
