import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Metafile } from 'esbuild';

const root = join(import.meta.dirname, '..');

/** The licences of all packages of which code is inside a bundle, and of those that are named: they ask to be passed on. */
export async function licences({ outputs }: Metafile, others: readonly string[] = []): Promise<string> {
  const paths = Object.values(outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([path, { bytesInOutput }]) => (bytesInOutput > 0 ? [path] : [])),
  );
  // A package may have others of its own inside.
  const folders = paths.flatMap((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(path)?.[0] ?? []);
  const texts = [...new Set([...folders, ...others.map((name) => `node_modules/${name}`)])].sort().map(async (folder) => {
    const described: { name: string; version: string; license?: string } = JSON.parse(
      await readFile(join(root, folder, 'package.json'), 'utf8'),
    );
    const { name, version, license } = described;
    const file = (await readdir(join(root, folder))).sort().find((entry) => /^(licen[cs]e|copying)/i.test(entry));
    const text = file === undefined ? '' : await readFile(join(root, folder, file), 'utf8');
    return `${'='.repeat(80)}\n${name} ${version} (${license ?? 'see below'})\n\n${text.trim()}\n\n`;
  });
  return (await Promise.all(texts)).join('');
}
