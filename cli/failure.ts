import { errorTable, isChainloopError, type Problem } from '../core/errors.ts';
import type { Environment } from './context.ts';
import { escapeText } from './terminal/escape.ts';
import { type Log, withoutSecrets } from './terminal/log.ts';
import { renderTable } from './terminal/table.ts';

/** What is said about a failure: `ERR`, then a line for every problem; or one line of JSON. */
export type FailureOutput = {
  readonly log: Log;
  readonly stderr: Pick<NodeJS.WriteStream, 'write'>;
  readonly json: boolean;
  readonly env: Environment;
};

/**
 * Says what went wrong, on stderr, and gives the exit code of the error table. With `--output json` stdout stays empty and the last
 * line of stderr is `{"error":{"code","message","problems"}}`. The stack of a defect is shown only with CHAINLOOP_DEBUG.
 */
export function reportFailure(error: unknown, { log, stderr, json, env }: FailureOutput): number {
  const known = isChainloopError(error);
  const code = known ? error.code : 'INTERNAL';
  const message = known ? error.message : defectMessage(error, env);
  const problems = known ? error.problems : [];
  if (json) {
    stderr.write(`${withoutSecrets(JSON.stringify({ error: { code, message, problems } }))}\n`);
  } else {
    log.error(message);
    const claims = problems.flatMap(({ path, claim }) => (path === undefined || claim === undefined ? [] : [{ path, ...claim }]));
    if (claims.length > 0) stderr.write(withoutSecrets(claimTables(claims)));
    const others = problems.filter(({ claim }) => claim === undefined);
    // A single problem is often the message itself.
    for (const problem of others) if (!message.includes(problem.message) || problem.file !== undefined) log.detail(problemLine(problem));
  }
  if (env.CHAINLOOP_DEBUG) stderr.write(withoutSecrets(stackOf(error)));
  return errorTable[code].exit;
}

type Claim = { readonly path: string; readonly binding: string; readonly expected: string; readonly found: string };

/** Why a job was not let in, claim by claim, one table for each binding that came near. */
function claimTables(claims: readonly Claim[]): string {
  const bindings = Map.groupBy(claims, ({ binding }) => binding);
  return Array.from(bindings, ([binding, wrong]) =>
    renderTable({
      title: `Binding ${binding}`,
      header: ['CLAIM', 'EXPECTED', 'IN THE TOKEN'],
      rows: wrong.map(({ path, expected, found }) => [path, expected, found]),
    }),
  ).join('');
}

/** `release.yaml:3:5: materials[0].type: …`, with as much of the place as is known. */
export function problemLine({ file, line, column, path, message }: Problem): string {
  const place = [file, line, column].filter((part) => part !== undefined).join(':');
  return [place, path, message].filter((part) => part !== undefined && part !== '').join(': ');
}

function defectMessage(error: unknown, env: Environment): string {
  const said = error instanceof Error ? error.message : String(error);
  const more = env.CHAINLOOP_DEBUG ? '' : '; run it again with CHAINLOOP_DEBUG=1 and report what it shows';
  return `unexpected: ${said}${more}`;
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return '';
  const lines = (error.stack ?? '').split('\n').map(escapeText).join('\n');
  return `${lines}\n${error.cause === undefined ? '' : `caused by ${stackOf(error.cause)}`}`;
}
