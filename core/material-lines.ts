import type { Problem } from './errors.ts';
import { limits } from './limits.ts';
import type { MaterialType } from './names.ts';
import { didYouMean } from './nearest.ts';
import { printable } from './source/place.ts';
import { materialTypes } from './vocabulary.ts';

/** One material, as a CI job lists it. */
export type MaterialLine = {
  readonly name: string;
  /** What the job takes it for; the contract must agree. */
  readonly kind?: MaterialType | undefined;
  /** A path, a pattern of one, an image reference or a text: the contract says which. */
  readonly value: string;
  /** Patterns of files that the value's pattern does not mean. */
  readonly excludes: readonly string[];
  /** Where it stands, from 1. */
  readonly line: number;
  readonly file?: string | undefined;
};

type Place = { readonly line: number; readonly file: string | undefined };

const nameRule = /^[a-z0-9][a-z0-9._-]*$/;

/**
 * Reads lines `NAME[:KIND]=VALUE`. The first `=` splits; spaces around name and value do not count; empty lines and those that begin with `#`
 * are comments; `NAME=!PATTERN` leaves files out of what NAME's own line matches. Every problem of every source, with its line.
 */
export function parseMaterialLines(sources: readonly { readonly text: string; readonly file?: string | undefined }[]): {
  readonly lines: readonly MaterialLine[];
  readonly problems: readonly Problem[];
} {
  const problems: Problem[] = [];
  const found = new Map<string, MaterialLine>();
  const excludes: (Place & { readonly name: string; readonly pattern: string })[] = [];
  for (const { text, file } of sources) {
    for (const [index, written] of text.split(/\r\n|\n|\r/).entries()) {
      const trimmed = written.trim();
      if (trimmed === '' || trimmed.startsWith('#')) continue;
      const place = { line: index + 1, file };
      const parsed = parseLine(trimmed);
      if (typeof parsed === 'string') {
        problems.push({ ...place, message: parsed });
        continue;
      }
      const { name, kind, value } = parsed;
      if (value.startsWith('!')) {
        excludes.push({ ...place, name, pattern: value.slice(1) });
        continue;
      }
      const before = found.get(name);
      if (before === undefined) found.set(name, { name, kind, value, excludes: [], ...place });
      else problems.push({ ...place, message: `material '${name}' is given twice: in line ${before.line} too; give each its own name` });
    }
  }
  for (const { name, pattern, ...place } of excludes) {
    const line = found.get(name);
    if (pattern.trim() === '') problems.push({ ...place, message: `material '${name}': there is nothing after the '!'` });
    else if (line !== undefined) found.set(name, { ...line, excludes: [...line.excludes, pattern.trim()] });
    else
      problems.push({ ...place, message: `material '${name}': '!${printable(pattern)}' leaves out of nothing; add a line ${name}=<path>` });
  }
  if (found.size > limits.contractMaterials)
    problems.push({ message: `${found.size} materials; the limit of one attestation is ${limits.contractMaterials}` });
  return { lines: [...found.values()], problems };
}

/** The parts of a line, or what is wrong with it. */
function parseLine(line: string): Pick<MaterialLine, 'name' | 'kind' | 'value'> | string {
  const [before = '', ...rest] = line.split('=');
  if (rest.length === 0) return `'${printable(line)}' is not NAME=VALUE`;
  const [name = '', ...kinds] = before.trim().split(':');
  const value = rest.join('=').trim();
  const what = `material '${printable(name)}'`;
  if (!nameRule.test(name) || name.length > limits.nameLength)
    return `'${printable(before.trim())}' is no name: at most ${limits.nameLength} lower-case letters, digits, '.', '_' and '-', beginning with a letter or digit`;
  const kind = kinds.length === 0 ? undefined : materialTypes.find((type) => type === kinds.join(':').trim().toUpperCase());
  if (kinds.length > 0 && kind === undefined) {
    const said = kinds.join(':').trim();
    return `${what}: '${printable(said)}' is no kind (${materialTypes.join(', ')})${didYouMean(said, materialTypes)}`;
  }
  if (value === '') return `${what} has no value; is the expression that it comes from empty?`;
  if (Buffer.byteLength(value) > limits.stringValueSizeBytes)
    return `${what}: its value has more than ${limits.stringValueSizeBytes} bytes; make it a file`;
  return { name, kind, value };
}
