import { cp, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import { licences } from './licences.ts';
import { leanCommander, requireBanner } from './plugins.ts';

// `npm run build`: what the package ships, in dist/ or the folder that is given. It is flat, because code finds its files (migrations,
// the workers) beside itself. The same sources give the same bytes.

const root = join(import.meta.dirname, '..');
const dist = resolve(process.argv[2] ?? join(root, 'dist'));
/** Built aside, so that who uses dist/ meanwhile finds the old one or the new one. */
const aside = `${dist}.${process.pid}`;

/** Packages with files of their own (WebAssembly, schemas), or that load code by name: they stay packages. */
const external = ['@electric-sql/pglite', 'cue-wasm', '@cyclonedx/cyclonedx-library', 'ajv', 'ajv-formats'];

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
  banner: { js: requireBanner },
  metafile: true,
  logLevel: 'warning',
});
await cp(join(root, 'db', 'migrations'), join(aside, 'migrations'), { recursive: true });
await writeFile(join(aside, 'LICENSES.txt'), await licences(metafile));
await rm(dist, { recursive: true, force: true });
await rename(aside, dist);
