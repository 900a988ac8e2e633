import { readFile } from 'node:fs/promises';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import type { Plugin } from 'esbuild';

// What the builds do to the sources on their way into a bundle.

const root = join(import.meta.dirname, '..');

/** CommonJS packages inside an ES module ask for Node's modules by require. */
export const requireBanner = `const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);`;

/**
 * Commander imports all of node:process, which makes Node open its standard streams, and node:child_process, for subcommands that are
 * other programs, which we have not. Together 5 ms of each start.
 */
export const leanCommander: Plugin = {
  name: 'lean commander',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:(process|child_process)$/ }, ({ path, importer }) =>
      importer.includes('node_modules/commander/') ? { path, namespace: 'lean' } : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'lean' }, ({ path }) => ({
      contents: path === 'node:process' ? 'export default globalThis.process;' : 'export default {};',
    }));
  },
};

/** In one file, imports of Node's modules would all be done at its start; this way, each is when the code that uses it first runs. */
export const lazyBuiltins: Plugin = {
  name: 'lazy builtins',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, ({ path, namespace }) => (namespace === 'builtin' ? undefined : { path, namespace: 'builtin' }));
    onResolve({ filter: /./ }, ({ path }) => (builtinModules.includes(path) ? { path: `node:${path}`, namespace: 'builtin' } : undefined));
    onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => {
      const found = `process.getBuiltinModule(${JSON.stringify(path)})`;
      // Each importer copies the own properties; those of node:fs are 110, and half a millisecond.
      return { contents: `module.exports = ${path === 'node:fs' ? `Object.create(${found})` : found};` };
    });
  },
};

/** Of package.json the version alone: nothing else of the file should change a bundle. */
export const versionAlone: Plugin = {
  name: 'version alone',
  setup({ onLoad }) {
    onLoad({ filter: /\/package\.json$/ }, async ({ path }) => {
      if (path !== join(root, 'package.json')) return undefined;
      const { version }: { version: string } = JSON.parse(await readFile(path, 'utf8'));
      return { contents: JSON.stringify({ version }), loader: 'json' };
    });
  },
};

/** Puts other code in the place of one of our files. */
export function replaced(file: string, contents: () => string | Promise<string>): Plugin {
  return {
    name: `another ${file}`,
    setup({ onLoad }) {
      onLoad({ filter: /\.ts$/ }, async ({ path }) =>
        path === join(root, file) ? { contents: await contents(), loader: 'ts', resolveDir: join(root, file, '..') } : undefined,
      );
    },
  };
}

const schemas = join(root, 'node_modules', '@cyclonedx', 'cyclonedx-library', 'res', 'schema');

/** The schemas of CycloneDX that are used, by their file names, without white space. */
export async function cyclonedxSchemas(): Promise<Readonly<Record<string, string>>> {
  const used = ['bom-1.2', 'bom-1.3', 'bom-1.4', 'bom-1.5', 'bom-1.6', 'bom-1.7', 'jsf-0.82', 'cryptography-defs'];
  const texts = used.map(async (name) => {
    const file = `${name}.SNAPSHOT.schema.json`;
    return [file, JSON.stringify(JSON.parse(await readFile(join(schemas, file), 'utf8')))] as const;
  });
  return Object.fromEntries(await Promise.all(texts));
}
