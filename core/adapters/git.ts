import { spawn } from 'node:child_process';
import type { GitHead } from '../crafting.ts';
import { commitFrom, remoteUrl } from '../git-commit.ts';
import { limits } from '../limits.ts';
import type { Git } from '../ports.ts';
import type { Env } from '../runner.ts';
import { readCheckout } from './git-files.ts';

/** What git needs of the caller's environment: where it is, and whose configuration says which folders are safe. Not GIT_DIR. */
const passedOn = ['PATH', 'HOME', 'XDG_CONFIG_HOME', 'SystemRoot', 'USERPROFILE'] as const;

/** Nothing is locked, asked, fetched, paged or replaced: the commit is described as its object says. */
const fixed = {
  GIT_OPTIONAL_LOCKS: '0',
  GIT_TERMINAL_PROMPT: '0',
  GIT_NO_REPLACE_OBJECTS: '1',
  GIT_NO_LAZY_FETCH: '1',
  GIT_PAGER: 'cat',
  LC_ALL: 'C',
} as const;

/**
 * The commit of a checkout: by the git program, with commands that run nothing of the repository's own configuration. Where it is not
 * installed, or refuses because the folder is another user's (`safe.directory`; usual in containers), commit and remotes are read from
 * the files, and author, date and message stay unsaid. Undefined when there is no checkout, or no commit.
 */
export function createGit(options: { readonly env: Env; readonly program?: string }): Git {
  const env = {
    ...Object.fromEntries(passedOn.flatMap((name) => (options.env[name] === undefined ? [] : [[name, options.env[name]]]))),
    ...fixed,
  };
  const git = (directory: string, args: readonly string[], input = '') =>
    run(options.program ?? 'git', ['-C', directory, ...args], env, input);

  async function ask(directory: string): Promise<GitHead | undefined> {
    const object = await git(directory, ['cat-file', '--batch'], 'HEAD^{commit}\n');
    const commit = object === undefined ? undefined : commitFrom(object);
    if (commit === undefined) return undefined;
    const remotes = await git(directory, ['config', '--null', '--get-regexp', '^remote\\..*\\.url$']);
    return { ...commit, remotes: remotesFrom(remotes?.toString('utf8') ?? '') };
  }

  return {
    async head(directory) {
      return (await ask(directory)) ?? (await readCheckout(directory));
    },
  };
}

/** `remote.<name>.url`, a line break, the value, NUL; a remote with several URLs comes several times. */
function remotesFrom(text: string): GitHead['remotes'] {
  return text
    .split('\0')
    .flatMap((entry) => {
      const end = entry.indexOf('\n');
      const name = entry.slice('remote.'.length, end - '.url'.length);
      const url = end === -1 ? undefined : remoteUrl(entry.slice(end + 1));
      return url === undefined || name.length > limits.textLength ? [] : [{ name, url }];
    })
    .slice(0, limits.gitRemotes);
}

/** Standard output, or undefined when the program is not there, fails, takes too long or says too much. */
function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv, input: string): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { env, stdio: ['pipe', 'pipe', 'ignore'], timeout: limits.gitTimeoutMs, windowsHide: true });
    const pieces: Buffer[] = [];
    let sizeBytes = 0;
    child.on('error', () => resolve(undefined));
    child.on('close', (code) => resolve(code === 0 ? Buffer.concat(pieces) : undefined));
    child.stdout.on('data', (piece: Buffer) => {
      pieces.push(piece);
      sizeBytes += piece.byteLength;
      if (sizeBytes > limits.gitOutputSizeBytes) child.kill();
    });
    // A program that ends without reading: `close` says so.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}
