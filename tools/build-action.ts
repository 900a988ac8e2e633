import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { licences } from './licences.ts';
import { cyclonedxSchemas, lazyBuiltins, replaced, versionAlone } from './plugins.ts';

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

/**
 * The toolkit writes through Node's streams, for which a pipe loads all of node:net, and asks all of node:crypto for the delimiters of values
 * of more than one line: 5 ms each, where `writeSync` does, and where no such value comes.
 */
const lateToolkit: Plugin = {
  name: 'late toolkit',
  setup({ onResolve, onLoad }) {
    onLoad({ filter: /\/node_modules\/@actions\/(core|github)\/lib\/[^/]+\.js$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8');
      const writing = text.replaceAll('process.stdout.write(', 'writeOut(');
      return { contents: `import { writeOut } from ${JSON.stringify(join(root, 'action/stdout.ts'))};\n${writing}` };
    });
    onResolve({ filter: /^crypto$/ }, ({ importer }) =>
      importer.includes('/node_modules/@actions/core/') ? { path: 'crypto', namespace: 'late' } : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'late' }, () => ({
      contents: `export const randomUUID = () => process.getBuiltinModule('node:crypto').randomUUID();`,
    }));
  },
};

/**
 * All that a start needs in one file: what these files import, they share with it. Otherwise what a start shares with some of them is split
 * off, file by file, and each that is opened costs half a millisecond.
 */
const besideStart = (files: readonly string[]): Plugin => ({
  name: 'beside the start',
  setup({ onLoad }) {
    onLoad({ filter: /\.[jt]s$/ }, async ({ path }) =>
      files.includes(path)
        ? { contents: `${await readFile(path, 'utf8')}\nimport ${JSON.stringify(join(root, 'action/entry.ts'))};\n`, loader: 'ts' }
        : undefined,
    );
  },
});

const bundle = (late: readonly string[]) =>
  build({
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
      lateToolkit,
      lazyBuiltins,
      versionAlone,
      replaced(
        'core/adapters/cyclonedx-folder.ts',
        () => `import { readFile } from 'node:fs/promises';
export const schemaText = (name: string) => readFile(new URL('./cyclonedx/' + name, import.meta.url), 'utf8');
`,
      ),
      besideStart(late),
    ],
    legalComments: 'none',
    metafile: true,
    write: late.length > 0,
    logLevel: 'warning',
  });

const { outputs } = (await bundle([])).metafile;
/** What `import()` asks for later. */
const late = Object.values(outputs).flatMap(({ entryPoint }) => (entryPoint === undefined ? [] : [join(root, entryPoint)]));
const { metafile } = await bundle(late);

await mkdir(join(aside, 'cyclonedx'), { recursive: true });
for (const [name, text] of Object.entries(await cyclonedxSchemas())) await writeFile(join(aside, 'cyclonedx', name), text);
// `.js` is ES modules here whatever package.json is above: the folder stands on its own.
await writeFile(join(aside, 'package.json'), '{"type":"module"}\n');
await writeFile(join(aside, 'licenses.txt'), await licences(metafile, ['@cyclonedx/cyclonedx-library']));
await rm(dist, { recursive: true, force: true });
await rename(aside, dist);
