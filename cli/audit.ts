import { createReadStream } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Api } from '../client/api.ts';
import { type AuditChecked, type AuditHead, createAuditCheck, formatHead, parseHead } from '../core/audit.ts';
import { ChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { command, count, group, text, toggle } from './command.ts';
import { connect, connectToInstance } from './connect.ts';
import { type Context, print } from './context.ts';
import { collect, pageFlags } from './paging.ts';
import { formatTime } from './terminal/time.ts';

const instance = toggle('what was done to the instance itself: organizations, its keys (needs the owner token)');

export const audit = group('audit', 'what operators, tokens and jobs did', [
  command({
    name: 'ls',
    about: 'list what was done, the newest first',
    examples: ['chainloop audit ls --since 2026-11-01', 'chainloop audit ls --actor release-bot --action token.revoke --output json'],
    details: 'Whatever changed something is listed, with who did it; what was only read is not.',
    flags: {
      actor: text('<name>', 'only what this token, member or repository did'),
      action: text('<action>', 'only this, such as workflow.update'),
      resource: text('<name>', 'only what was done to this: a name, project/workflow, an id or a digest'),
      since: text('<time>', 'from then on: 2026-11-01, or 2026-11-01T12:00:00Z'),
      until: text('<time>', 'before then'),
      instance,
      ...pageFlags,
    },
    run: async (context, { actor, action, resource, since, until, instance, ...paging }) => {
      const log = await logOf(context, instance);
      const filter = { actor, action, resource, since: timeOf(since, 'since'), until: timeOf(until, 'until') };
      const page = await collect(context, paging, (page) => log.list.query({ ...page, ...filter }));
      print(context, page, () => [
        {
          header: ['#', 'AT', 'WHO', 'ACTION', 'WHAT', 'DETAILS'],
          rows: page.items.map(({ entry }) => [
            ...[
              String(entry.sequence),
              formatTime(entry.at),
              `${entry.actor.name} (${entry.actor.kind})`,
              entry.action,
              entry.resource.name,
            ],
            Object.keys(entry.details).length === 0 ? '' : JSON.stringify(entry.details),
          ]),
        },
      ]);
    },
  }),
  command({
    name: 'verify',
    about: 'check that no row was altered, removed or added',
    examples: ['chainloop audit verify --head 1042:9f86d08…', 'chainloop audit verify --file audit.jsonl'],
    details: `Every hash is computed here. The head that is printed stands for all rows up to it: keep it where nobody who can change the database can change
it. Given with --head the next time, it also tells whether the end was cut off, or all hashes made anew.`,
    flags: {
      head: text('<n:hash>', 'a head that was printed before'),
      file: text('<path>', 'check an export instead, without a control plane; - is standard input'),
      instance,
    },
    run: async (context, { head, file, instance }) => {
      const kept = head === undefined ? undefined : parseHead(head);
      if (file !== undefined && instance) throw new ChainloopError('USAGE', '--file and --instance: give one of the two');
      const checked = file === undefined ? await verifyLog(await logOf(context, instance), kept) : await verifyFile(context, file, kept);
      const answer = { ...checked, head: formatHead(checked.head) };
      context.log.info(`Audit log verified! ${checked.rows} rows are as they were written; keep this head: ${answer.head}`);
      print(context, answer, () => [{ header: ['ROWS', 'HEAD'], rows: [[String(checked.rows), answer.head]] }]);
    },
  }),
  command({
    name: 'export',
    about: 'write the rows to a file, a line of JSON each, to archive and to verify anywhere',
    examples: ['chainloop audit export --output audit.jsonl', 'chainloop audit export --after 1042 --output - | gzip > later.jsonl.gz'],
    flags: {
      output: text('<path>', 'the file to write, which must not exist yet; - or none is standard output'),
      after: count('<n>', 'only the rows behind this one'),
      instance,
    },
    outputs: ['table'],
    run: async (context, { output = '-', after = 0, instance }) => {
      if (output === 'json' || output === 'table') {
        throw new ChainloopError(
          'USAGE',
          `--output is the file to write here: leave it out for standard output, or write ./${output} for a file`,
        );
      }
      const log = await logOf(context, instance);
      const lines = linesOf(log, after, await log.head.query());
      if (output === '-') {
        for await (const line of lines) {
          if (!context.stdout.write(`${line}\n`)) await new Promise((resolve) => context.stdout.once('drain', resolve));
        }
        return;
      }
      const { saveDownload, targetDirectory } = await import('./download.ts');
      let rows = 0;
      const body = async function* () {
        for await (const line of lines) {
          rows += 1;
          yield Buffer.from(`${line}\n`);
        }
      };
      await saveDownload(await targetDirectory(dirname(output)), basename(output), body, { force: false });
      context.log.info('Audit log exported!', { file: output, rows: String(rows) });
    },
  }),
]);

type Log = Pick<Api['audit'], 'list' | 'head' | 'export'>;

async function logOf(context: Context, instance: boolean): Promise<Log> {
  return instance ? (await connectToInstance(context)).instanceAudit : (await connect(context)).audit;
}

/** Up to the head and no further: what is done meanwhile is for the next time. */
async function* linesOf(log: Log, after: number, head: AuditHead): AsyncGenerator<string> {
  for (let last = after; last < head.sequence; ) {
    const { lines } = await log.export.query({ after: last, limit: Math.min(limits.auditExportRows, head.sequence - last) });
    yield* lines;
    if (lines.length === 0) return;
    // By the number in the last line, since rows may be missing; what is no row is found by the check.
    last = Number(/"sequence": (\d{1,15})/.exec(lines.at(-1) ?? '')?.[1] ?? head.sequence);
  }
}

async function verifyLog(log: Log, kept: AuditHead | undefined): Promise<AuditChecked> {
  const head = await log.head.query();
  const check = createAuditCheck({ from: 'start', kept });
  for await (const line of linesOf(log, 0, head)) check.next(line);
  return check.end(head);
}

async function verifyFile(context: Context, path: string, kept: AuditHead | undefined): Promise<AuditChecked> {
  const check = createAuditCheck({ kept });
  const input = path === '-' ? context.stdin : createReadStream(path);
  try {
    for await (const line of textLines(input)) check.next(line);
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause) || cause instanceof ChainloopError) throw cause;
    throw new ChainloopError(cause.code === 'ENOENT' ? 'FILE_NOT_FOUND' : 'FILE_UNREADABLE', `${path}: cannot be read (${cause.code})`, {
      cause,
    });
  }
  const checked = check.end();
  if (checked.rows === 0) throw new ChainloopError('FILE_EMPTY', `${path}: it has no row of an audit log`);
  return checked;
}

/** Not readline: it also ends lines at U+2028, which JSON may contain. A line that is too long is no row, whatever follows. */
async function* textLines(input: AsyncIterable<Buffer | string>): AsyncGenerator<string> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const piece of input) {
    const lines = (rest + (typeof piece === 'string' ? piece : decoder.decode(piece, { stream: true }))).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
    if (rest.length > limits.auditLineLength) break;
  }
  if (rest !== '') yield rest;
}

function timeOf(text: string | undefined, flag: string): string | undefined {
  if (text === undefined) return undefined;
  const time = new Date(text);
  if (/^\d{4}-\d\d-\d\d(T|$)/.test(text) && !Number.isNaN(time.getTime())) return time.toISOString();
  throw new ChainloopError('USAGE', `--${flag}: '${text}' is no time; write 2026-11-01, or 2026-11-01T12:00:00Z`);
}
