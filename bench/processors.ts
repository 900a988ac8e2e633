import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import pg from 'pg';

/**
 * Until disposed, this process has one processor and PostgreSQL another, as they have on two machines. Else the scheduler has both on one, or
 * not, as it happens, and a question to one connection takes 0.04 ms, or 0.1. Without `taskset` (Linux), or with one processor, nothing is done.
 * `adminUrl`: as the superuser.
 */
export async function apart(adminUrl: string): Promise<Disposable> {
  const client = new pg.Client({ connectionString: adminUrl });
  await client.connect();
  const { rows } = await client.query<{ file: string }>(`select pg_read_file('postmaster.pid') as file`);
  await client.end();
  const server = Number.parseInt(rows[0]?.file ?? '', 10);
  const all = `0-${availableParallelism() - 1}`;
  if (availableParallelism() > 1) {
    put(process.pid, '0');
    for (const pid of [server, ...childrenOf(server)]) put(pid, '1');
  }
  return {
    [Symbol.dispose]() {
      for (const pid of [process.pid, server, ...childrenOf(server)]) put(pid, all);
    },
  };
}

/** With all of its threads. */
function put(pid: number, processors: string): void {
  spawnSync('taskset', ['--all-tasks', '--cpu-list', '--pid', processors, String(pid)], { stdio: 'ignore' });
}

function childrenOf(pid: number): readonly number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
  } catch {
    return [];
  }
}
