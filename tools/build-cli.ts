import { cp, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { brotliCompressSync } from 'node:zlib';
import { build } from 'esbuild';
import { licences } from './licences.ts';
import { cyclonedxSchemas, lazyBuiltins, leanCommander, replaced, requireBanner, versionAlone } from './plugins.ts';

// `npm pack ./cli/npm` runs it: the command line as one file that needs Node and nothing else, for CI jobs. In cli/npm/dist/ or the folder that
// is given. It has all commands but `server`. The same sources give the same bytes.

const root = join(import.meta.dirname, '..');
const dist = resolve(process.argv[2] ?? join(root, 'cli', 'npm', 'dist'));
/** Built aside, so that who uses it meanwhile finds the old one or the new one. */
const aside = `${dist}.${process.pid}`;

/** The guard stands before all else; what follows is written so that old versions of Node can read it. */
const guard = `#!/usr/bin/env node
if (Number(process.versions.node.split('.')[0]) < 24) {
  process.stderr.write('ERR chainloop needs Node 24 or newer, and this is ' + process.version + '; in CI use an image such as node:24-slim\\n');
  process.exit(2);
}
`;

const withoutServer = (names: readonly string[]) => `import { ChainloopError } from '../core/errors.ts';
async function refuse(): Promise<never> {
  throw new ChainloopError('USAGE', 'server: this is the package for CI jobs and operators; start a control plane from a checkout (npm start) or its image');
}
export { ${names.map((name) => `refuse as ${name}`).join(', ')} };
`;

const compressed = async () => brotliCompressSync(JSON.stringify(await cyclonedxSchemas())).toString('base64');

const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: ['cli/npm/main.ts'],
  outfile: join(aside, 'chainloop.js'),
  bundle: true,
  minify: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  plugins: [
    leanCommander,
    lazyBuiltins,
    versionAlone,
    replaced('core/adapters/cyclonedx-folder.ts', async () => {
      const text = JSON.stringify(await compressed());
      return `import { brotliDecompressSync } from 'node:zlib';
let schemas: Record<string, string> | undefined;
export async function schemaText(name: string): Promise<string> {
  schemas ??= JSON.parse(brotliDecompressSync(Buffer.from(${text}, 'base64')).toString('utf8'));
  return schemas?.[name] ?? '';
}
`;
    }),
    replaced('server/main.ts', () => withoutServer(['serve'])),
    replaced('server/backup.ts', () => withoutServer(['backup', 'restore'])),
  ],
  banner: { js: guard + requireBanner },
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
});
await writeFile(join(aside, 'LICENSES.txt'), await licences(metafile, ['@cyclonedx/cyclonedx-library']));
await cp(join(root, 'LICENSE'), join(aside, 'LICENSE'));
await mkdir(resolve(dist, '..'), { recursive: true });
await rm(dist, { recursive: true, force: true });
await rename(aside, dist);
