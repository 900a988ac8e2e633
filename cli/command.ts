import { ChainloopError, type Problem } from '../core/errors.ts';
import type { Context } from './context.ts';

/** One option of a command. Its long name is its key in the command's flags, in kebab case. */
export type Flag<T> = {
  readonly about: string;
  /** `<value>`; without one the flag is a switch. */
  readonly hint?: string | undefined;
  readonly short?: string | undefined;
  readonly required: boolean;
  readonly repeatable: boolean;
  /** An empty text means something: to clear what is there. Anywhere else it is an unset variable in a script, and refused. */
  readonly mayBeEmpty?: boolean | undefined;
  /** The value from what was typed: undefined, a text, several, or true. Throws USAGE. */
  readonly read: (given: unknown, long: string) => T;
};
export type Flags = Readonly<Record<string, Flag<unknown>>>;
export type Values<F extends Flags> = { readonly [K in keyof F]: F[K] extends Flag<infer T> ? T : never };
type FlagOptions = { readonly short?: string };

/** A text that may be left out, but not be empty. */
export function text(hint: string, about: string, { short }: FlagOptions = {}): Flag<string | undefined> {
  return { about, hint, short, required: false, repeatable: false, read: textOf };
}

/** A text that may be left out, and be empty. */
export function clearableText(hint: string, about: string): Flag<string | undefined> {
  return { ...text(hint, about), mayBeEmpty: true, read: (given) => (typeof given === 'string' ? given : undefined) };
}

/** A text that must be given. */
export function requiredText(hint: string, about: string, { short }: FlagOptions = {}): Flag<string> {
  return { about, hint, short, required: true, repeatable: false, read: (given) => textOf(given) ?? '' };
}

/** The id of something, which must be given; `shownBy` is the command that lists them. */
export function requiredId(about: string, shownBy: string): Flag<string> {
  return { ...requiredText('<id>', about), read: (given, long) => idOf(textOf(given) ?? '', long, shownBy) };
}

/** The same, where it may be left out. */
export function id(about: string, shownBy: string): Flag<string | undefined> {
  const read = (given: unknown, long: string): string | undefined => {
    const value = textOf(given);
    return value === undefined ? undefined : idOf(value, long, shownBy);
  };
  return { ...text('<id>', about), read };
}

/** What the control plane takes for an id (RFC 9562). What else was given may be a secret, and is not repeated. */
function idOf(value: string, long: string, shownBy: string): string {
  if (/^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i.test(value)) return value;
  const example = 'ca6d9718-fa49-4a20-9db9-a82080e79632';
  throw new ChainloopError('USAGE', `--${long} takes an id such as ${example}; they are shown, whole, by: ${shownBy}`);
}

/** An option that may be given several times. */
export function texts(hint: string, about: string, { short }: FlagOptions = {}): Flag<readonly string[]> {
  return {
    about: `${about} (may be repeated)`,
    hint,
    short,
    required: false,
    repeatable: true,
    read: (given) => (Array.isArray(given) ? given.filter((item) => typeof item === 'string') : []),
  };
}

/** `name=value`, several times; the same name twice is an error. */
export function pairs(about: string): Flag<Readonly<Record<string, string>>> {
  const list = texts('<name=value>', about);
  const read = (given: unknown, long: string): Readonly<Record<string, string>> => {
    const read = new Map<string, string>();
    for (const pair of list.read(given, long)) {
      const at = pair.indexOf('=');
      if (at < 1) throw new ChainloopError('USAGE', `--${long}: write it as name=value`);
      if (read.has(pair.slice(0, at))) throw new ChainloopError('USAGE', `--${long}: '${pair.slice(0, at)}' is given twice`);
      read.set(pair.slice(0, at), pair.slice(at + 1));
    }
    return Object.fromEntries(read);
  };
  return { ...list, read };
}

/** A whole number from 1, up to `most`. */
export function count(hint: string, about: string, { most = 999_999_999 } = {}): Flag<number | undefined> {
  const read = (given: unknown, long: string): number | undefined => {
    const value = textOf(given);
    if (value === undefined) return undefined;
    if (/^[1-9]\d{0,8}$/.test(value) && Number(value) <= most) return Number(value);
    throw new ChainloopError('USAGE', `--${long}: '${value}' is not a whole number from 1 to ${most}`);
  };
  return { about, hint, required: false, repeatable: false, read };
}

/** One of a few words. */
export function oneOf<const T extends string>(hint: string, words: readonly T[], about: string): Flag<T | undefined> {
  const read = (given: unknown, long: string): T | undefined => {
    const value = textOf(given);
    const word = words.find((candidate) => candidate === value);
    if (value !== undefined && word === undefined)
      throw new ChainloopError('USAGE', `--${long}: '${value}' is not one of ${words.join(', ')}`);
    return word;
  };
  return { about: `${about}: ${words.join(', ')}`, hint, required: false, repeatable: false, read };
}

/** One of a few words, which must be given. */
export function requiredOneOf<const T extends string>(hint: string, words: readonly [T, ...T[]], about: string): Flag<T> {
  const { read, ...flag } = oneOf(hint, words, about);
  return { ...flag, required: true, read: (given, long) => read(given, long) ?? words[0] };
}

/** On when it is given. */
export function toggle(about: string): Flag<boolean> {
  return { about, required: false, repeatable: false, read: (given) => given === true };
}

function textOf(given: unknown): string | undefined {
  return typeof given === 'string' && given !== '' ? given : undefined;
}

/** What `chainloop --output` takes, for each command: the first is the default. */
export type OutputFormat = 'table' | 'json' | 'statement' | 'attestation' | 'vsa' | 'provenance';

/** A command that does something. */
export type Command = {
  readonly type: 'command';
  readonly name: string;
  readonly about: string;
  /** Whole command lines, as one would type them. */
  readonly examples: readonly [string, ...string[]];
  /** What the examples do not say. */
  readonly details?: string | undefined;
  readonly flags: Flags;
  /** Arguments without a dash: `<key>`, `[artifact...]`. */
  readonly operands: readonly string[];
  readonly outputs: readonly OutputFormat[];
  /** Verbs of a command that does something without one, too. */
  readonly commands: readonly Command[];
  readonly invoke: (context: Context, given: Readonly<Record<string, unknown>>, operands: readonly string[]) => Promise<void>;
};

/** A noun with its verbs. */
export type Group = {
  readonly type: 'group';
  readonly name: string;
  readonly about: string;
  readonly commands: readonly (Command | Group)[];
};

/** A command from its definition; `run` gets the values that its flags were declared with. */
export function command<F extends Flags>(definition: {
  readonly name: string;
  readonly about: string;
  readonly examples: readonly [string, ...string[]];
  readonly details?: string;
  readonly flags: F;
  readonly operands?: readonly string[];
  readonly outputs?: readonly OutputFormat[];
  readonly commands?: readonly Command[];
  readonly run: (context: Context, flags: Values<F>, operands: readonly string[]) => Promise<void>;
}): Command {
  const { run, flags, operands = [], outputs = ['table', 'json'], commands = [], ...rest } = definition;
  return {
    ...rest,
    type: 'command',
    flags,
    operands,
    outputs,
    commands,
    invoke: (context, given, typed) => run(context, readFlags(flags, given), typed),
  };
}

export function group(name: string, about: string, commands: readonly (Command | Group)[]): Group {
  return { type: 'group', name, about, commands };
}

/** `contractRevision` is `--contract-revision`. */
export function longName(key: string): string {
  return key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** All values, or USAGE with everything that is missing, empty or malformed. */
export function readFlags<F extends Flags>(flags: F, given: Readonly<Record<string, unknown>>): Values<F> {
  const problems: Problem[] = [];
  const values: Record<string, unknown> = {};
  for (const [key, flag] of Object.entries(flags)) {
    const long = longName(key);
    if (flag.mayBeEmpty !== true && isEmpty(given[key])) {
      problems.push({ message: `--${long} ${flag.hint ?? ''} is empty: ${flag.about}; is a variable not set?` });
      continue;
    }
    if (flag.required && given[key] === undefined) {
      problems.push({ message: `--${long} ${flag.hint ?? ''} is missing: ${flag.about}` });
      continue;
    }
    try {
      values[key] = flag.read(given[key], long);
    } catch (error) {
      if (!(error instanceof ChainloopError)) throw error;
      problems.push({ message: error.message });
    }
  }
  const [first, ...others] = problems;
  if (first !== undefined) {
    throw new ChainloopError('USAGE', others.length === 0 ? first.message : `${problems.length} options are missing or malformed`, {
      problems: others.length === 0 ? [] : problems,
    });
  }
  if (isComplete(flags, values)) return values;
  throw new Error('a flag was not read');
}

/** Given, and empty: as from `--organization "$ORG"` where there is no ORG. */
export function isEmpty(given: unknown): boolean {
  return given === '' || (Array.isArray(given) && given.includes(''));
}

function isComplete<F extends Flags>(flags: F, values: object): values is Values<F> {
  return Object.keys(flags).every((key) => key in values);
}
