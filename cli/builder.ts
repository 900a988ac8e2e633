import { readdir, readFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { digestOf } from '../core/digest.ts';
import { version } from './release.ts';

/**
 * What signs that it made the statement: `chainloop.dev/cli/<version>@sha256:<hex>`. The digest is of the program's own files: of
 * the lines `<digest>  <path>` in the order of the paths, over dist/ in the package and over the sources in a checkout.
 */
export async function builderId(): Promise<string> {
  const own = import.meta.dirname;
  const packed = !import.meta.url.endsWith('.ts');
  const root = packed ? own : join(own, '..');
  const folders = packed ? [own] : ['cli', 'client', 'core'].map((name) => join(root, name));
  const paths = (await Promise.all(folders.map(listFiles))).flat().filter((path) => packed || isSource(path));
  const lines = paths.sort().map(async (path) => `${digestOf(await readFile(path))}  ${relative(root, path).split(sep).join('/')}\n`);
  return `chainloop.dev/cli/${version}@${digestOf((await Promise.all(lines)).join(''))}`;
}

async function listFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

function isSource(path: string): boolean {
  return path.endsWith('.ts') && !path.endsWith('.test.ts');
}
