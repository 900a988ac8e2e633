import { type Finding, type Parsed, type Place, place, printable, type Shape, type Stop } from './place.ts';

const literals = [
  ['true', true],
  ['false', false],
  ['null', null],
] as const;
const number = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y;

/**
 * Reads strict JSON (RFC 8259) and where everything in it stands. Beyond the grammar: a duplicate key is a finding (RFC 8259, section 4:
 * its meaning is unpredictable), numbers that a double cannot hold and lone surrogates are refused (RFC 7493, I-JSON), and
 * `__proto__` is a key like any other. Recursion is bounded by `shape.depth`.
 */
export function readJson(text: string, shape: Shape, stop: Stop): Parsed {
  const findings: Finding[] = [];
  let at = text.startsWith('\uFEFF') ? 1 : 0;
  let values = 0;

  const fail = (message: string, path: readonly PropertyKey[], offset = at): never => stop([...findings, { message, path, offset }]);

  function skipSpace(): void {
    for (let code = text.charCodeAt(at); code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09; ) code = text.charCodeAt(++at);
  }

  function readString(path: readonly PropertyKey[]): string {
    const start = at;
    let end = text.indexOf('"', start + 1);
    while (end !== -1 && isEscaped(text, end)) end = text.indexOf('"', end + 1);
    if (end === -1) return fail('a string is not closed', path, start);
    const literal = text.slice(start, end + 1);
    at = end + 1;
    const value = decode(literal);
    if (value === undefined) return fail('a string has a control character or an escape that JSON does not have', path, start);
    if (!value.isWellFormed()) return fail('a string has half of a surrogate pair', path, start);
    return value;
  }

  function readObject(path: readonly PropertyKey[], here: Place): unknown {
    const object = {};
    at++;
    skipSpace();
    if (text[at] === '}') return close(object);
    for (;;) {
      skipSpace();
      if (text[at] !== '"') return fail(`expected a key in double quotes, found ${found()}`, path);
      const keyAt = at;
      const key = readString(path);
      if (here.keys.has(key)) findings.push({ message: `the key '${printable(key)}' is there twice`, path: [...path, key], offset: keyAt });
      skipSpace();
      if (text[at] !== ':') return fail(`expected ':' after the key '${printable(key)}', found ${found()}`, path);
      at++;
      const child = readValue([...path, key]);
      if (!here.keys.has(key)) {
        here.keys.set(key, keyAt);
        here.children.set(key, child.place);
        // Assignment would set the prototype for '__proto__'.
        Object.defineProperty(object, key, { value: child.value, enumerable: true, configurable: true, writable: true });
      }
      skipSpace();
      if (text[at] === '}') return close(object);
      if (text[at] !== ',') return fail(`expected ',' or '}', found ${found()}`, path);
      at++;
    }
  }

  function readArray(path: readonly PropertyKey[], here: Place): unknown {
    const array: unknown[] = [];
    at++;
    skipSpace();
    if (text[at] === ']') return close(array);
    for (;;) {
      const child = readValue([...path, array.length]);
      here.children.set(array.length, child.place);
      array.push(child.value);
      skipSpace();
      if (text[at] === ']') return close(array);
      if (text[at] !== ',') return fail(`expected ',' or ']', found ${found()}`, path);
      at++;
    }
  }

  function readValue(path: readonly PropertyKey[]): { value: unknown; place: Place } {
    skipSpace();
    if (path.length >= shape.depth && (text[at] === '{' || text[at] === '[')) return fail(`nested deeper than ${shape.depth} levels`, []);
    if (++values > shape.values) return fail(`more than ${shape.values} values`, []);
    const here = place(at);
    if (text[at] === '{') return { value: readObject(path, here), place: here };
    if (text[at] === '[') return { value: readArray(path, here), place: here };
    if (text[at] === '"') return { value: readString(path), place: here };
    for (const [word, value] of literals) {
      if (!text.startsWith(word, at)) continue;
      at += word.length;
      return { value, place: here };
    }
    number.lastIndex = at;
    const digits = number.exec(text)?.[0];
    if (digits === undefined) return fail(`expected a value, found ${found()}`, path);
    if (!Number.isFinite(Number(digits))) return fail('a number is too large', path);
    at += digits.length;
    return { value: Number(digits), place: here };
  }

  function close<T>(value: T): T {
    at++;
    return value;
  }

  function found(): string {
    const character = text.codePointAt(at);
    return character === undefined ? 'the end' : `'${printable(String.fromCodePoint(character))}'`;
  }

  const root = readValue([]);
  skipSpace();
  if (at < text.length) return fail(`expected the end, found ${found()}`, []);
  return { value: root.value, place: root.place, findings };
}

function isEscaped(text: string, quoteAt: number): boolean {
  let slashes = 0;
  while (text[quoteAt - 1 - slashes] === '\\') slashes++;
  return slashes % 2 === 1;
}

function decode(literal: string): string | undefined {
  try {
    const value: unknown = JSON.parse(literal);
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}
