import { glob, readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ChainloopError } from '../errors.ts';
import { limits } from '../limits.ts';
import { nearest } from '../nearest.ts';
import { printable } from '../source/place.ts';

/** Matches of one pattern that are looked at: it must mean one file. */
const maxMatches = 1000;

/**
 * The one file that a path or pattern (`*`, `**`, `?`, `[ab]`, `{a,b}`; not dot files) means, below `directory` unless it is absolute. A path
 * that exists is never a pattern. FILE_NOT_FOUND with the nearest name that there is; USAGE when it means several files.
 */
export async function findFile(
  pattern: string,
  options: { readonly directory: string; readonly excludes?: readonly string[] },
): Promise<string> {
  const { directory, excludes = [] } = options;
  if (excludes.length === 0 && (await exists(resolve(directory, pattern)))) return pattern;
  if (!isPattern(pattern) && excludes.length === 0) {
    const guess = await nearestPath(directory, pattern);
    throw new ChainloopError(
      'FILE_NOT_FOUND',
      `no such file ${printable(pattern, 200)}${guess === undefined ? '' : ` (did you mean ${guess}?)`}`,
    );
  }
  const files: string[] = [];
  for await (const entry of glob(pattern, { cwd: directory, exclude: [...excludes], withFileTypes: true })) {
    if (entry.isDirectory()) continue;
    files.push(join(entry.parentPath, entry.name));
    if (files.length > maxMatches) break;
  }
  const [file, ...others] = files.sort();
  const what = excludes.length === 0 ? printable(pattern, 200) : `${printable(pattern, 200)} without ${excludes.join(', ')}`;
  if (file === undefined) throw new ChainloopError('FILE_NOT_FOUND', `no file matches ${what}`);
  if (others.length === 0) return file;
  const shown = [file, ...others].slice(0, limits.problems).map((path) => printable(path, 200));
  const count = files.length > maxMatches ? `more than ${maxMatches}` : String(files.length);
  throw new ChainloopError(
    'USAGE',
    `${what} matches ${count} files (${shown.join(', ')}); a material is one file: give each a line, or leave files out with NAME=!PATTERN`,
  );
}

export function isPattern(text: string): boolean {
  return /[*?[{]/.test(text);
}

/** The path that exists and is most like one that does not: the first segment that is absent is replaced by its nearest neighbour. */
async function nearestPath(directory: string, path: string): Promise<string | undefined> {
  const segments = path.split('/');
  for (const [index, segment] of segments.entries()) {
    const parent = segments.slice(0, index).join('/');
    const folder = resolve(directory, path.startsWith('/') && parent === '' ? '/' : parent);
    if (segment === '' || segment === '.' || (await exists(join(folder, segment)))) continue;
    const guess = nearest(segment, await readdir(folder).catch(() => []));
    if (guess === undefined) return undefined;
    const corrected = [...segments.slice(0, index), guess, ...segments.slice(index + 1)].join('/');
    return (await exists(resolve(directory, corrected))) ? printable(corrected, 200) : undefined;
  }
  return undefined;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
