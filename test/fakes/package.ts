import { execFile } from 'node:child_process';
import { cp, mkdtempDisposable, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** The package as npm would install it, built anew in a folder of its own. */
export type Package = {
  /** The program: `node <bin> --version`. */
  readonly bin: string;
  [Symbol.asyncDispose](): Promise<void>;
};

const root = join(import.meta.dirname, '..', '..');

/** A checkout runs its sources, which costs memory and time that the installed package does not need: figures are taken from this one. */
export async function buildPackage(): Promise<Package> {
  const folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-package-'));
  await promisify(execFile)(process.execPath, [join(root, 'tools', 'build.ts'), join(folder.path, 'dist')]);
  await cp(join(root, 'bin'), join(folder.path, 'bin'), { recursive: true });
  await cp(join(root, 'package.json'), join(folder.path, 'package.json'));
  await symlink(join(root, 'node_modules'), join(folder.path, 'node_modules'), 'junction');
  return { bin: join(folder.path, 'bin', 'chainloop.js'), [Symbol.asyncDispose]: () => folder.remove() };
}
