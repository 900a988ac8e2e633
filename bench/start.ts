import { join } from 'node:path';
import { pairs, type Row, seconds } from './measure.ts';

/** G8: what a developer waits for before anything happens. The built bundle, as it is published. */
export async function* start(project: string): AsyncGenerator<Row> {
  const node = { program: process.execPath, args: ['-e', '0'] };
  const bundle = join(project, 'dist', 'cli.js');
  for (const args of [['--version'], ['--help'], ['attestation', '--help']]) {
    const result = await pairs({ program: process.execPath, args: [bundle, ...args] }, node, 11);
    yield {
      name: `G8 chainloop ${args.join(' ')}`,
      ours: seconds(result.a),
      reference: `node -e 0: ${seconds(result.b)}`,
      ratio: result.ratio,
      goal: '<= 1.3',
    };
  }
}
