import { ChainloopError, type ErrorCode, type Problem } from './errors.ts';
import { limits } from './limits.ts';
import { readJson } from './source/json.ts';
import { type Finding, forbiddenCharacters, formatPath, lineAndColumn, offsetOf, type Parsed } from './source/place.ts';
import { readYaml } from './source/yaml.ts';

/** What a text is called in messages, and what it may be. */
export type SourceRules = {
  /** `contract`, `bundle`: begins every message. */
  readonly name: string;
  /** The code of everything but size. */
  readonly code: ErrorCode;
  readonly maxBytes: number;
  /** Values (maps, lists, scalars) in all. */
  readonly maxValues: number;
};

/** A text that was parsed, and the way from its values back to their lines. */
export type Source = {
  readonly value: unknown;
  /** What is wrong so far, though it could be read: duplicate keys. */
  readonly findings: readonly Finding[];
  /** Turns what was found into problems, by line, at most `limits.problems` of them, and throws. `of` says what an offset-less finding points at. */
  refuse(findings: readonly (Finding & { readonly of?: 'key' | 'value' })[]): never;
};

/**
 * Parses a text that a person wrote: size before anything else, then characters (no controls, no bidirectional marks: what is read is
 * what is seen), depth and number of values, then the grammar. A leading byte order mark is ignored. Throws LIMIT_EXCEEDED for the
 * size, else `rules.code`, with every problem's line and column.
 */
export function parseSource(text: string, format: 'yaml' | 'json', rules: SourceRules): Source {
  refuseSize(text, rules);
  const shape = { depth: limits.nestingDepth, values: rules.maxValues };
  const stop = (findings: readonly Finding[]): never => refuse(text, undefined, findings, rules);
  const bare = text.startsWith('\uFEFF') ? text.slice(1) : text;
  const shift = text.length - bare.length;
  const forbidden = forbiddenCharacters(bare, limits.problems + 1);
  if (forbidden.length > 0)
    stop(
      forbidden.map(({ offset, character }) => ({
        message: `the character ${character} may not stand in a ${rules.name}; remove it`,
        path: [],
        offset: offset + shift,
      })),
    );
  const parsed = format === 'json' ? readJson(text, shape, stop) : readYaml(text, shape, stop);
  return { value: parsed.value, findings: parsed.findings, refuse: (findings) => refuse(text, parsed, findings, rules) };
}

/**
 * Throws when brackets outside of strings nest deeper than `limits.nestingDepth`: to be asked before `JSON.parse`, which accepts
 * any depth that everything after it would die of. Linear, without recursion; takes UTF-8 bytes as they are.
 */
export function refuseDepth(bytes: Uint8Array, rules: Pick<SourceRules, 'name' | 'code'>): void {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (inString) {
      if (byte === 0x5c) at++;
      else if (byte === 0x22) inString = false;
    } else if (byte === 0x22) inString = true;
    else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > limits.nestingDepth)
        throw new ChainloopError(rules.code, `${rules.name}: nested deeper than ${limits.nestingDepth} levels, at byte ${at}`);
    } else if (byte === 0x5d || byte === 0x7d) depth--;
  }
}

/** `12 problems`, and how many of them are listed. */
export function countProblems(total: number): string {
  const count = total === 1 ? '1 problem' : `${total} problems`;
  return total > limits.problems ? `${count}; the first ${limits.problems} are listed, ${total - limits.problems} more are not` : count;
}

function refuseSize(text: string, rules: Pick<SourceRules, 'name' | 'maxBytes'>): void {
  // A string has at most three bytes of UTF-8 for each unit, and at least one.
  if (text.length * 3 <= rules.maxBytes) return;
  const bytes = text.length > rules.maxBytes ? text.length : Buffer.byteLength(text);
  if (bytes > rules.maxBytes)
    throw new ChainloopError('LIMIT_EXCEEDED', `${rules.name}: at least ${bytes} bytes; the limit is ${rules.maxBytes} bytes`);
}

function refuse(
  text: string,
  parsed: Parsed | undefined,
  findings: readonly (Finding & { readonly of?: 'key' | 'value' })[],
  rules: Pick<SourceRules, 'name' | 'code'>,
): never {
  const placed = findings
    .map(({ message, path, offset, of }) => ({
      message,
      path,
      offset: offset ?? (parsed === undefined ? 0 : offsetOf(parsed.place, path, of ?? 'value')),
    }))
    .toSorted((a, b) => a.offset - b.offset);
  const problems: Problem[] = placed.slice(0, limits.problems).map(({ message, path, offset }) => ({
    message,
    ...(path.length === 0 ? {} : { path: formatPath(path) }),
    ...lineAndColumn(text, offset),
  }));
  throw new ChainloopError(rules.code, `${rules.name}: ${countProblems(placed.length)}`, { problems });
}
