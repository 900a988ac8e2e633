import type { Command, Group } from '../../cli/command.ts';
import type { Context } from '../../cli/context.ts';
import { reportFailure } from '../../cli/failure.ts';
import { parseCommandLine } from '../../cli/parser.ts';
import { readSettings } from '../../cli/settings.ts';
import { createLog } from '../../cli/terminal/log.ts';
import type { Ended } from './command-line.ts';

/** Standard output that is no terminal, and keeps what is written. */
function kept() {
  let text = '';
  const write = (piece: string): boolean => {
    text += piece;
    return true;
  };
  const stream: NodeJS.WriteStream = Object.create(process.stdout, { write: { value: write }, isTTY: { value: false } });
  return { stream, text: () => text };
}

/** A command line of one noun, in this process: as cli/main.ts runs it, for tables that would take a process for each row. */
export async function invoked(noun: Command | Group, words: readonly string[], env: NodeJS.ProcessEnv): Promise<Ended> {
  const [stdout, stderr] = [kept(), kept()];
  const place = { stdout: stdout.stream, stderr: stderr.stream };
  const log = createLog(place.stderr);
  let json = false;
  let code = 0;
  try {
    const invocation = parseCommandLine([noun], noun, words);
    if (invocation !== undefined) {
      const { command, given, operands, globals } = invocation;
      json = globals.output === 'json';
      const settings: Context['settings'] = () => readSettings(globals, env);
      await command.invoke(
        { env, output: json ? 'json' : 'table', globals, log, stdin: process.stdin, ...place, settings },
        given,
        operands,
      );
    }
  } catch (error) {
    code = reportFailure(error, { log, stderr: place.stderr, json, env });
  }
  return { code, stdout: stdout.text(), stderr: stderr.text() };
}
