import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { command, requiredText, text, toggle } from './command.ts';
import type { Context } from './context.ts';
import { version } from './release.ts';
import { startCount } from './terminal/count.ts';
import { formatSize } from './terminal/time.ts';

const dataDir = text('<path>', 'where the server keeps its data (default $XDG_DATA_HOME/chainloop)');

export const backup = command({
  name: 'backup',
  about: 'write the database, and the evidence on the disk of the server, to a folder',
  examples: [
    'chainloop server backup --output /backups/2026-11-23',
    'DATABASE_URL=postgresql://… chainloop server backup --output /backups/2026-11-23 --database-only',
  ],
  details: `The server may run. With DATABASE_URL the database is read beside it; the embedded one is asked for from the server that has it open
(--url, with the owner token in the data directory or in CHAINLOOP_TOKEN). Evidence in registries and object stores is not in it: these have means of
their own. Nor is the master key, without which a backup is of no use: keep DIR/master-key, and DIR/owner-token, in another place.`,
  flags: {
    output: requiredText('<folder>', 'where to; it must not exist yet'),
    dataDir,
    databaseOnly: toggle('leave out the evidence on the disk of the server'),
  },
  outputs: ['table'],
  run: async (context, { output, dataDir, databaseOnly }) => {
    const { backup } = await import('../server/backup.ts');
    const counts = startCounts(context);
    const made = await backup({
      ...{ output, dataDir, version, env: context.env, evidence: !databaseOnly, report: counts.report },
      ask: (directory) => ask(context, directory),
    }).finally(counts.clear);
    for (const path of made.damaged)
      context.log.warn(`evidence ${path} was changed on the disk, and is left out: it is no longer what its name says`);
    report(context, 'backup is whole', made);
  },
});

export const restore = command({
  name: 'restore',
  about: 'put a backup into an empty database and a new data directory',
  examples: [
    'install -m 600 master-key ./data/master-key && chainloop server restore --input /backups/2026-11-23 --data-dir ./data',
    'DATABASE_URL=postgresql://… CHAINLOOP_MASTER_KEY=… chainloop server restore --input /backups/2026-11-23',
  ],
  details: `Into the embedded database, or with DATABASE_URL into PostgreSQL, whichever it came from. The master key of the instance must be there
first. The backup is compared with what was sealed when it was made; the database is filled in one transaction. Then the audit logs of all organizations are
verified. A backup of an older version is brought up to date by the server that starts on it.`,
  flags: { input: requiredText('<folder>', 'the backup'), dataDir },
  outputs: ['table'],
  run: async (context, { input, dataDir }) => {
    const { restore } = await import('../server/backup.ts');
    const counts = startCounts(context);
    const restored = await restore({ input, dataDir, env: context.env, report: counts.report }).finally(counts.clear);
    report(context, 'backup is restored', restored);
    const { chains, rows, altered } = restored.audit;
    for (const { chain, problem } of altered) context.log.warn(`${chain}: ${problem}; it was so when the backup was made`);
    if (chains === 0)
      context.log.info('the backup is of a version without an audit log: the log of each organization begins when a server starts on this');
    else if (altered.length === 0) context.log.info('audit log verified', { chains: String(chains), rows: String(rows) });
  },
});

const steps = { database: 'rows', check: 'rows compared', evidence: 'files of evidence', audit: 'rows of audit logs' } as const;

function startCounts({ stderr }: Context) {
  const line = startCount(stderr);
  return {
    report: (step: keyof typeof steps, count: number, total?: number): void => line.update(steps[step], count, total),
    clear: line.clear,
  };
}

type Backup = Awaited<ReturnType<Awaited<typeof import('../server/backup.ts')>['backup']>>;

function report({ log }: Context, what: string, { folder, database, evidence }: Backup): void {
  const rows = Object.values(database.tables).reduce((sum, table) => sum + table.rows, 0);
  const files = evidence === undefined ? 'none' : `${evidence.files} files, ${formatSize(evidence.sizeBytes)}`;
  log.info(what, { folder, of: database.takenAt, rows: String(rows), evidence: files });
}

/** The embedded database, from the server that has it open. */
async function* ask(context: Context, directory: string): AsyncGenerator<Uint8Array> {
  const [{ createHttp }, { ChainloopError }, { limits }] = await Promise.all([
    import('../core/adapters/http.ts'),
    import('../core/errors.ts'),
    import('../core/limits.ts'),
  ]);
  const settings = await context.settings();
  const token =
    context.env.CHAINLOOP_TOKEN || (await readFile(join(directory, 'owner-token'), 'utf8').catch(() => settings.token ?? '')).trim();
  const url = new URL('/backup', settings.url);
  if (
    url.protocol === 'http:' &&
    !/^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname) &&
    context.env.CHAINLOOP_INSECURE !== '1'
  ) {
    throw new ChainloopError(
      'USAGE',
      `${settings.url} is plain http to another machine, and the owner token would be sent over it; use https, or set CHAINLOOP_INSECURE=1`,
    );
  }
  const http = createHttp();
  try {
    const answer = await http
      .request({ method: 'GET', url, headers: { authorization: `Bearer ${token}` }, answerTimeoutMs: limits.idleTimeoutMs })
      .catch((cause) => {
        throw new ChainloopError(
          'CONTROL_PLANE_UNREACHABLE',
          `${settings.url} does not answer; say with --url where the server of ${directory} listens`,
          {
            cause,
          },
        );
      });
    if (answer.status !== 200) {
      answer.discard();
      throw new ChainloopError(
        'FORBIDDEN',
        `${settings.url} gives no backup to this token (${answer.status}); it takes the owner token of that server`,
      );
    }
    yield* answer.body;
  } finally {
    http.close();
  }
}
