import { cp, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { licences } from './licences.ts';

// `npm run build`: what the package ships, in dist/ or the folder that is given. It is flat, because code finds its files (migrations,
// the workers) beside itself. The same sources give the same bytes.

const root = join(import.meta.dirname, '..');
const dist = resolve(process.argv[2] ?? join(root, 'dist'));
/** Built aside, so that who uses dist/ meanwhile finds the old one or the new one. */
const aside = `${dist}.${process.pid}`;

/** Packages with files of their own (WebAssembly, schemas), or that load code by name: they stay packages. */
const external = ['@electric-sql/pglite', 'cue-wasm', '@cyclonedx/cyclonedx-library', 'ajv', 'ajv-formats'];

/**
 * Commander imports all of node:process, which makes Node open its standard streams, and node:child_process, for subcommands that are
 * other programs, which we have not. Together 5 ms of each start.
 */
const leanCommander: Plugin = {
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

const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: { cli: 'cli/main.ts', 'cue-worker': 'server/cue-worker.ts', 'kind-worker': 'server/kind-worker.ts' },
  outdir: aside,
  chunkNames: '[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  external,
  plugins: [leanCommander],
  // CommonJS packages inside ask for Node's modules by require.
  banner: { js: `const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);` },
  metafile: true,
  logLevel: 'warning',
});
await cp(join(root, 'db', 'migrations'), join(aside, 'migrations'), { recursive: true });
await writeFile(join(aside, 'LICENSES.txt'), await licences(metafile));
await rm(dist, { recursive: true, force: true });
await rename(aside, dist);
