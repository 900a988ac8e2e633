import { readdir, readFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { digestOf } from '../core/digest.ts';
import { version } from './release.ts';

/** What signs that it made the statement: the digest is of the lines `<digest>  <path>` over the files of this program. */
export async function builderId(): Promise<string> {
  const own = import.meta.dirname;
  const paths = (await readdir(own, { recursive: true, withFileTypes: true })).flatMap((entry) =>
    entry.isFile() && !entry.name.endsWith('.test.ts') ? [join(entry.parentPath, entry.name)] : [],
  );
  const lines = paths.sort().map(async (path) => `${digestOf(await readFile(path))}  ${relative(own, path).split(sep).join('/')}\n`);
  return `chainloop.dev/action/${version}@${digestOf(Buffer.from((await Promise.all(lines)).join('')))}`;
}
