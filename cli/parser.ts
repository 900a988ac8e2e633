import { CommanderError, Command as Parser } from 'commander';
import { ChainloopError } from '../core/errors.ts';
import { type Command, type Group, isEmpty, longName } from './command.ts';
import { breakText } from './terminal/width.ts';

/** Of help texts, wherever they are shown. */
const proseWidth = 80;

/** The command that was asked for, and what was typed behind it. */
export type Invocation = {
  readonly command: Command;
  readonly given: Readonly<Record<string, unknown>>;
  readonly operands: readonly string[];
  readonly globals: Globals;
};
/** Options of every command. */
export type Globals = {
  readonly output?: string | undefined;
  readonly url?: string | undefined;
  readonly organization?: string | undefined;
};

/** What there is at the top, loaded or only by name: names are enough for suggestions. */
export type Noun = { readonly name: string; readonly alias?: string | undefined; readonly about: string };

/**
 * Finds the command in a command line. Prints help and gives undefined when help was asked for. Throws USAGE for what is mistyped,
 * with the nearest thing that exists.
 */
export function parseCommandLine(
  nouns: readonly Noun[],
  loaded: Group | Command | undefined,
  argv: readonly string[],
): Invocation | undefined {
  let found: Invocation | undefined;
  const program = new Parser('chainloop')
    .option('--output <format>', 'table, json, or what the command offers beside them')
    .option('--url <origin>', 'the control plane (CHAINLOOP_URL)')
    .option('--organization <name>', 'the organization (CHAINLOOP_ORGANIZATION)')
    .exitOverride()
    .showSuggestionAfterError()
    .configureHelp({ showGlobalOptions: true })
    // What commander would print of an error is said by reportFailure instead.
    .configureOutput({ outputError: () => undefined });
  const attach = (parent: Parser, node: Command | Group, alias?: string): void => {
    const parser = parent.command(node.name).description(node.about);
    if (alias !== undefined) parser.alias(alias);
    for (const child of node.commands) attach(parser, child);
    if (node.type === 'group') return;
    for (const operand of node.operands) parser.argument(operand);
    for (const [key, flag] of Object.entries(node.flags)) {
      const syntax = [flag.short, `--${longName(key)}${flag.hint === undefined ? '' : ` ${flag.hint}`}`].filter(
        (part) => part !== undefined,
      );
      const about = flag.required ? `${flag.about} (required)` : flag.about;
      if (flag.repeatable) parser.option(syntax.join(', '), about, (value: string, before: string[] = []) => [...before, value]);
      else parser.option(syntax.join(', '), about);
    }
    // A function: breaking the text into lines takes longer than all else that a command line needs.
    parser.addHelpText('after', () => helpAfter(node));
    // A command may take one of the options of every command for a value of its own: `trust-root export --output FILE`.
    const own = (name: string): boolean => Object.hasOwn(node.flags, name);
    const globals = () => program.options.filter((option) => !own(option.attributeName()));
    parser.configureHelp({ showGlobalOptions: true, visibleGlobalOptions: globals });
    parser.action(() => {
      // Commander gives an option to the first that knows it: to the program, or to the command that this one is a verb of.
      const above: Record<string, unknown> = parent === program ? {} : parent.opts();
      const foreign = Object.keys(above).find((name) => !own(name));
      if (foreign !== undefined) throw new ChainloopError('USAGE', `unknown option '--${longName(foreign)}'`);
      const typed: Record<string, unknown> = { ...program.opts(), ...above };
      const taken = Object.fromEntries(Object.entries(typed).filter(([name]) => own(name)));
      const { output, url, organization } = Object.fromEntries(Object.entries(typed).filter(([name]) => !own(name)));
      for (const [name, value] of Object.entries({ output, url, organization })) {
        if (isEmpty(value)) throw new ChainloopError('USAGE', `--${name} is empty; leave it out, or is a variable not set?`);
      }
      found = {
        command: node,
        given: { ...parser.opts(), ...taken },
        operands: parser.args,
        globals: { output: str(output), url: str(url), organization: str(organization) },
      };
    });
  };
  for (const noun of nouns) {
    if (loaded?.name === noun.name) attach(program, loaded, noun.alias);
    else program.command(noun.name).description(noun.about);
  }
  try {
    program.parse(argv.flatMap(splitAssignment), { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return undefined;
    throw new ChainloopError('USAGE', usageMessage(error, argv), { cause: error });
  }
  return found;
}

/** `--name=value` as two words: commander would repeat a mistyped option with its value, which may be a password. */
function splitAssignment(word: string): readonly string[] {
  const [, name, value] = /^(--[a-z-]+)=([\s\S]*)$/.exec(word) ?? [];
  return name === undefined || value === undefined ? [word] : [name, value];
}

/** Commander's own words, without its prefix, on one line, and without the arguments that were too many. */
function usageMessage(error: CommanderError, argv: readonly string[]): string {
  if (error.code === 'commander.help') return `'chainloop ${argv.filter((word) => !word.startsWith('-')).join(' ')}' needs a command`;
  const message = error.message
    .replace(/^error: /, '')
    .split('\n')
    .map((line) => line.trim())
    .join(' ');
  return error.code === 'commander.excessArguments' ? message.replace(/(but got \d+).*$/, '$1') : message;
}

function helpAfter({ examples, details, outputs }: Command): string {
  const formats = outputs.length > 2 ? `\n--output takes ${outputs.join(', ')}.\n` : '';
  const prose = details === undefined ? '' : `\n${breakText(details.replaceAll('\n', ' '), proseWidth).join('\n')}\n`;
  return `${prose}${formats}\nExamples:\n${examples.map((line) => `  $ ${line}\n`).join('')}`;
}

function str(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
