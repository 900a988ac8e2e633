import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { licences } from './licences.ts';
import { cyclonedxSchemas, replaced, requireBanner, versionAlone } from './plugins.ts';

// `npm run build:action`: the GitHub Action as it is committed, in action/dist/ or the folder that is given. GitHub's runner has Node and nothing
// else, so everything is inside. The same sources give the same bytes.

const root = join(import.meta.dirname, '..');
const dist = resolve(process.argv[2] ?? join(root, 'action', 'dist'));
/** Built aside, so that who uses it meanwhile finds the old one or the new one. */
const aside = `${dist}.${process.pid}`;

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
  plugins: [
    leanToolkit,
    versionAlone,
    replaced(
      'core/adapters/cyclonedx-folder.ts',
      () => `import { readFile } from 'node:fs/promises';
export const schemaText = (name: string) => readFile(new URL('./cyclonedx/' + name, import.meta.url), 'utf8');
`,
    ),
  ],
  banner: { js: requireBanner },
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
});

await mkdir(join(aside, 'cyclonedx'), { recursive: true });
for (const [name, text] of Object.entries(await cyclonedxSchemas())) await writeFile(join(aside, 'cyclonedx', name), text);
// `.js` is ES modules here whatever package.json is above: the folder stands on its own.
await writeFile(join(aside, 'package.json'), '{"type":"module"}\n');
await writeFile(join(aside, 'licenses.txt'), await licences(metafile, ['@cyclonedx/cyclonedx-library']));
await rm(dist, { recursive: true, force: true });
await rename(aside, dist);
