import type { OutputFormat } from './command.ts';
import type { GlobalOptions, Settings } from './settings.ts';
import { jsonText } from './terminal/escape.ts';
import type { Log } from './terminal/log.ts';
import { renderTable, type Table } from './terminal/table.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** What a command has to work with: everything that it may touch outside of its arguments. */
export type Context = {
  readonly env: Environment;
  readonly output: OutputFormat;
  readonly log: Log;
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  /** The options of every command, as far as they were given. */
  readonly globals: GlobalOptions;
  /** Where the control plane is and who asks: flags before environment before the configuration file. Read when first needed. */
  readonly settings: () => Promise<Settings>;
};

/** Writes the answer: with `--output json` the value, else the tables. */
export function print(context: Context, value: unknown, tables: () => readonly Table[]): void {
  if (context.output === 'json') printJson(context, value);
  else printTables(context, tables());
}

export function printJson(context: Context, value: unknown): void {
  context.stdout.write(`${jsonText(value)}\n`);
}

/** Writes tables one under the other: at most as wide as the terminal, whole in pipes and files. */
export function printTables(context: Context, tables: readonly Table[]): void {
  const width = context.stdout.isTTY ? context.stdout.columns : undefined;
  for (const table of tables) context.stdout.write(renderTable(table, { width }));
}
