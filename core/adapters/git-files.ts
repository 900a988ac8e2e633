import { open } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { GitHead } from '../crafting.ts';
import { remoteUrl } from '../git-commit.ts';
import { limits } from '../limits.ts';

/**
 * What the files of a checkout say without any program: the commit and the remotes (gitrepository-layout(5)). Undefined when there is
 * no checkout around the folder, no commit yet, or the references are kept in another way (reftable).
 */
export async function readCheckout(directory: string): Promise<GitHead | undefined> {
  const folder = await gitFolder(resolve(directory));
  if (folder === undefined) return undefined;
  // A linked worktree has a HEAD of its own, and shares the rest.
  const common = resolve(folder, (await readText(join(folder, 'commondir')))?.trim() ?? '.');
  const commit = await resolveReference([folder, common], 'HEAD', 0);
  if (commit === undefined) return undefined;
  const config = (await readText(join(common, 'config'))) ?? '';
  return { commit, remotes: remotesOf(config) };
}

/** `.git`, or where a file of that name points (worktrees, submodules). */
async function gitFolder(from: string): Promise<string | undefined> {
  for (let folder = from; ; folder = dirname(folder)) {
    const path = join(folder, '.git');
    if ((await readText(join(path, 'HEAD'))) !== undefined) return path;
    const [, target] = /^gitdir: (.+)$/m.exec((await readText(path)) ?? '') ?? [];
    if (target !== undefined) return resolve(folder, target.trim());
    if (folder === dirname(folder)) return undefined;
  }
}

async function resolveReference(folders: readonly string[], name: string, depth: number): Promise<string | undefined> {
  // A reference may name another one; git follows five.
  if (depth > 5 || !/^(HEAD|refs\/[^\0\s]+)$/.test(name) || name.includes('..')) return undefined;
  for (const folder of folders) {
    const text = (await readText(join(folder, name)))?.trim();
    if (text === undefined) continue;
    const [, next] = /^ref: (.+)$/.exec(text) ?? [];
    if (next !== undefined) return resolveReference(folders, next, depth + 1);
    if (isCommit(text)) return text;
  }
  for (const folder of folders) {
    const lines = (await readText(join(folder, 'packed-refs')))?.split('\n') ?? [];
    const [commit] = lines.find((line) => line.endsWith(` ${name}`))?.split(' ') ?? [];
    if (commit !== undefined && isCommit(commit)) return commit;
  }
  return undefined;
}

/** The `url` lines of `[remote "name"]` sections, as git itself writes them. */
function remotesOf(config: string): GitHead['remotes'] {
  let name: string | undefined;
  const remotes: { name: string; url: string }[] = [];
  for (const line of config.split('\n')) {
    if (/^\s*\[/.test(line)) name = /^\s*\[remote "([^"\\]+)"\]\s*$/.exec(line)?.[1];
    const [, value] = /^\s*url\s*=\s*(\S+)\s*$/.exec(line) ?? [];
    const url = value === undefined ? undefined : remoteUrl(value);
    if (name !== undefined && name.length <= limits.textLength && url !== undefined && remotes.length < limits.gitRemotes)
      remotes.push({ name, url });
  }
  return remotes;
}

function isCommit(text: string): boolean {
  return /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(text);
}

/** The text, or undefined when it is not there, not a file, or larger than any that git writes here. */
async function readText(path: string): Promise<string | undefined> {
  try {
    await using file = await open(path, 'r');
    const { size } = await file.stat();
    if (size > limits.gitOutputSizeBytes) return undefined;
    return await file.readFile('utf8');
  } catch {
    return undefined;
  }
}
