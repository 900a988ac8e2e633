import { parseArgs } from 'node:util';
import { loadDataset } from './dataset.ts';

// `node bench/load.ts --database-url postgres://…`: a million runs with ten million materials, to measure or to try things with. Progress
// goes to stderr; what was loaded, with cursors and digests to ask for, to stdout as JSON.

const { values } = parseArgs({
  options: {
    'database-url': { type: 'string' },
    runs: { type: 'string', default: '1000000' },
    materials: { type: 'string', default: '10' },
    organization: { type: 'string', default: 'bench' },
  },
});
const { organization, 'database-url': databaseUrl = process.env.DATABASE_URL } = values;
const [runs, materials] = [Number(values.runs), Number(values.materials)];
if (databaseUrl === undefined || !Number.isInteger(runs) || runs < 1_000 || !Number.isInteger(materials) || materials < 4) {
  process.stderr.write(
    'usage: node bench/load.ts --database-url postgres://… [--runs 1000000 (at least 1000)] [--materials 10 (of a run on average, at least 4)] [--organization bench]\n',
  );
  process.exit(2);
}
const onProgress = (line: string): void => void process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);
const dataset = await loadDataset({ databaseUrl, runs, materials, organization, onProgress });
process.stdout.write(`${JSON.stringify(dataset, null, 2)}\n`);
