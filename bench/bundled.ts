import { join } from 'node:path';
import { build } from 'esbuild';
import { requireBanner } from '../tools/plugins.ts';

/** A program of bench/processes as one JavaScript file, as code is shipped: sources would pay for stripping their types. */
export async function bundled(name: string, home: string): Promise<string> {
  const outfile = join(home, `${name}.mjs`);
  await build({
    entryPoints: [join(import.meta.dirname, 'processes', `${name}.ts`)],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    minify: true,
    banner: { js: requireBanner },
    logLevel: 'warning',
  });
  return outfile;
}
