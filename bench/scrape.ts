import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { startInstalledServer } from '../test/fakes/installed-server.ts';
import { type Group, missing, openPostgres } from './context.ts';
import { pairs, spread, times } from './measure.ts';
import { compared } from './report.ts';

const workflowCount = 5_000;
/** The server keeps the counts of runs for 5 s. */
const countsLifetimeMs = 5_000;

/** What Prometheus costs, when there are thousands of workflows. */
export const scrape: Group = async function* ({ installed, quick, runs }) {
  const name = `scrape of /metrics, ${workflowCount.toLocaleString('en')} workflows`;
  const absent = missing('postgresql');
  if (absent.length > 0) return yield { type: 'skipped', name, missing: absent };
  await using postgres = await openPostgres();
  if (postgres === undefined) return;
  const databaseUrl = await postgres.createDatabase();
  await using server = await startInstalledServer({ bin: installed.bin, databaseUrl });
  await server.cli(['workflow', 'create', '--name', 'first', '--project', 'bench']);
  const url = new URL(databaseUrl);
  url.username = 'postgres';
  const admin = new pg.Client({ connectionString: url.href });
  await admin.connect();
  await admin.query(
    `insert into workflows (org_id, project_id, contract_id, name, runs_count, runs_success)
    select org_id, project_id, contract_id, 'w' || i, i, i from workflows, generate_series(2, ${workflowCount}) i`,
  );
  await admin.end();
  let text = '';
  const ask = async (): Promise<void> => {
    text = await (await fetch(`${server.url}/metrics`)).text();
  };
  const first: number[] = [];
  for (let index = 0; index < (quick ? 2 : 5); index++) {
    await sleep(countsLifetimeMs + 100);
    first.push(...(await times(1, ask)));
  }
  const lines = text
    .split('\n')
    .map((line) => ({ series: line.slice(0, line.lastIndexOf(' ')), value: line.slice(line.lastIndexOf(' ')) }));
  const write = async (): Promise<Buffer> => Buffer.from(lines.map(({ series, value }) => `${series}${value}\n`).join(''));
  const size = `${lines.length.toLocaleString('en')} lines, ${(text.length / 1e6).toFixed(1)} MB`;
  yield { type: 'measured', name: `${name}, counts read anew`, ours: { ...spread(first), unit: 'ms' }, note: size };
  const median = (call: () => Promise<unknown>) => async () => spread(await times(20, call)).median;
  yield compared(`${name}, counts kept`, await pairs(runs.long, median(ask), median(write)), {
    ...{ unit: 'ms', reference: 'the same lines joined' },
    note: `${size}, over HTTP`,
  });
};
