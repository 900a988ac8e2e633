import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { licences } from './licences.ts';

// `npm run build:action`: the GitHub Action as it is committed, in action/dist/ or the folder that is given. GitHub's runner has Node and nothing
// else, so everything is inside. The same sources give the same bytes.

const root = join(import.meta.dirname, '..');
const dist = resolve(process.argv[2] ?? join(root, 'action', 'dist'));
/** Built aside, so that who uses it meanwhile finds the old one or the new one. */
const aside = `${dist}.${process.pid}`;
const schemas = join(root, 'node_modules', '@cyclonedx', 'cyclonedx-library', 'res', 'schema');

/**
 * Of the toolkit, what speaks to the runner by files and standard output; not its HTTP client and the client of GitHub's API, which nothing
 * here calls. They come along by import statements alone, 540 kB and 40 ms of each start.
 */
const leanToolkit: Plugin = {
  name: 'lean toolkit',
  setup({ onResolve, resolve }) {
    onResolve({ filter: /.*/ }, async ({ path, importer, resolveDir, kind, pluginData }) => {
      if (pluginData === 'asked' || kind === 'entry-point') return undefined;
      const found = await resolve(path, { importer, resolveDir, kind, pluginData: 'asked' });
      return /\/node_modules\/(@actions|@octokit|undici|tunnel)\//.test(found.path) ? { ...found, sideEffects: false } : undefined;
    });
  },
};

/** What the sources find in packages or the package, and the bundle beside itself or in itself. */
const ownFiles: Plugin = {
  name: 'own files',
  setup({ onLoad }) {
    onLoad({ filter: /\/core\/adapters\/cyclonedx-folder\.ts$/ }, () => ({
      contents: "export const schemaFolder = new URL('./cyclonedx/', import.meta.url);",
    }));
    // The version alone: nothing else of the file should change the bundle.
    onLoad({ filter: /\/package\.json$/ }, async ({ path }) => {
      if (path !== join(root, 'package.json')) return undefined;
      const { version }: { version: string } = JSON.parse(await readFile(path, 'utf8'));
      return { contents: JSON.stringify({ version }), loader: 'json' };
    });
  },
};

const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: { main: 'action/main.ts', post: 'action/post.ts' },
  outdir: aside,
  chunkNames: '[name]-[hash]',
  bundle: true,
  splitting: true,
  minify: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  plugins: [leanToolkit, ownFiles],
  // CommonJS packages inside ask for Node's modules by require.
  banner: { js: `const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);` },
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
});

await mkdir(join(aside, 'cyclonedx'), { recursive: true });
const used = ['bom-1.2', 'bom-1.3', 'bom-1.4', 'bom-1.5', 'bom-1.6', 'bom-1.7', 'jsf-0.82', 'cryptography-defs'];
for (const name of used) {
  const file = `${name}.SNAPSHOT.schema.json`;
  await writeFile(join(aside, 'cyclonedx', file), JSON.stringify(JSON.parse(await readFile(join(schemas, file), 'utf8'))));
}
// `.js` is ES modules here whatever package.json is above: the folder stands on its own.
await writeFile(join(aside, 'package.json'), '{"type":"module"}\n');
await writeFile(join(aside, 'licenses.txt'), await licences(metafile, ['@cyclonedx/cyclonedx-library']));
await rm(dist, { recursive: true, force: true });
await rename(aside, dist);
