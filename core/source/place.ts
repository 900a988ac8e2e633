/** Where the parts of a parsed text stand: the same tree as the value, with offsets in UTF-16 units from 0. */
export type Place = {
  readonly offset: number;
  /** Of a map: where its keys stand. */
  readonly keys: Map<string, number>;
  readonly children: Map<string | number, Place>;
};

/** One thing that is wrong with a text, before its line and column are known. */
export type Finding = { readonly message: string; readonly path: readonly PropertyKey[]; readonly offset?: number | undefined };

/** A parsed text. `findings` are mistakes that do not prevent going on, such as duplicate keys. */
export type Parsed = { readonly value: unknown; readonly place: Place; readonly findings: readonly Finding[] };

/** Limits on the shape of a parsed text. */
export type Shape = { readonly depth: number; readonly values: number };

/** Stops a parser at a mistake that it cannot go beyond. */
export type Stop = (findings: readonly Finding[]) => never;

export function place(offset: number): Place {
  return { offset, keys: new Map(), children: new Map() };
}

/** The offset of the key (when the last step names an unknown or doubled key) or of the value, or of the nearest parent there is. */
export function offsetOf(root: Place, path: readonly PropertyKey[], of: 'key' | 'value'): number {
  let here = root;
  for (const [index, step] of path.entries()) {
    const last = index === path.length - 1;
    if (last && of === 'key' && typeof step === 'string') return here.keys.get(step) ?? here.offset;
    const child = typeof step === 'symbol' ? undefined : here.children.get(step);
    if (child === undefined) return here.offset;
    here = child;
  }
  return here.offset;
}

/** Line and column of an offset, both from 1. */
export function lineAndColumn(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset);
  const lastBreak = before.lastIndexOf('\n');
  let line = 1;
  for (let at = before.indexOf('\n'); at !== -1; at = before.indexOf('\n', at + 1)) line++;
  return { line, column: offset - lastBreak };
}

/** `materials[2].name` */
export function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((step, index) => (typeof step === 'number' ? `[${step}]` : `${index === 0 ? '' : '.'}${printable(String(step))}`))
    .join('');
}

/** Text from outside, cut short and without what a terminal would act on. */
export function printable(text: string, maxLength = 60): string {
  const clean = text.replaceAll(unprintable, '\uFFFD').replaceAll(/\s/g, ' ');
  return clean.length > maxLength ? `${clean.slice(0, maxLength)}…` : clean;
}

/** Controls, bidirectional marks, line separators, and a byte order mark that is not at the beginning: what makes text read unlike it is. */
const unprintable =
  /[\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069\uFEFF]|[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g;

/** Every character that may not stand in a text, with its offset; at most `limit` of them. */
export function forbiddenCharacters(text: string, limit: number): { offset: number; character: string }[] {
  const found: { offset: number; character: string }[] = [];
  for (const match of text.matchAll(unprintable)) {
    if (found.length === limit) break;
    found.push({ offset: match.index, character: `U+${(match[0].codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}` });
  }
  return found;
}
