/** What an expression of GitHub can be. */
export type Value = null | boolean | number | string | readonly Value[] | { readonly [key: string]: Value };

export type Scope = {
  /** `github`, `matrix`, `steps`…; a name that is not here is refused, as GitHub does where a context is not available. */
  readonly contexts: { readonly [name: string]: Value };
  /** The outcome so far, for `success()`, `failure()` and `cancelled()`; without it they are refused. */
  readonly status?: 'success' | 'failure' | 'cancelled' | undefined;
};

type Evaluate = (scope: Scope) => Value;
type Token = { readonly type: 'number' | 'string' | 'name' | 'symbol' | 'end'; readonly text: string };

const tokens =
  /\s*(?:(?<number>-?(?:0x[0-9a-f]+|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?))(?![\w])|'(?<string>(?:[^']|'')*)'|(?<name>[a-z_][\w-]*)|(?<symbol>&&|\|\||[<>!=]=|[!<>()[\].,*]))/iy;

/** The value of an expression, without `${{ }}` ("Evaluate expressions in workflows and actions"). */
export function evaluate(expression: string, scope: Scope): Value {
  return parse(expression)(scope);
}

/** A text with expressions in it, as a text. */
export function interpolate(text: string, scope: Scope): string {
  return text.replace(/\$\{\{((?:'(?:[^']|'')*'|[^'])*?)\}\}/g, (_, expression: string) => textOf(evaluate(expression, scope)));
}

/** A value that is one expression keeps its type: `matrix: ${{ fromJSON(…) }}`. */
export function interpolateValue(text: string, scope: Scope): Value {
  const whole = /^\s*\$\{\{((?:'(?:[^']|'')*'|[^'])*?)\}\}\s*$/.exec(text);
  return whole?.[1] === undefined ? interpolate(text, scope) : evaluate(whole[1], scope);
}

/** An `if:`. Without a function that asks for the status, `success()` is meant too. */
export function condition(text: string | undefined, scope: Scope): boolean {
  const expression = (text ?? '').trim().replace(/^\$\{\{([\s\S]*)\}\}$/, '$1');
  if (expression.trim() === '') return truthy(evaluate('success()', scope));
  const asks = /\b(success|failure|always|cancelled)\s*\(/i.test(expression.replace(/'(?:[^']|'')*'/g, ''));
  return truthy(evaluate(asks ? expression : `success() && (${expression})`, scope));
}

/** As GitHub writes a value into a text. */
export function textOf(value: Value): string {
  if (value === null) return '';
  if (typeof value === 'object') return Array.isArray(value) ? 'Array' : 'Object';
  return String(value);
}

function truthy(value: Value): boolean {
  return value !== null && value !== false && value !== 0 && value !== '' && !Number.isNaN(value);
}

function parse(expression: string): Evaluate {
  const list = [...scan(expression)];
  let at = 0;
  const end: Token = { type: 'end', text: 'the end' };
  const peek = (): Token => list[at] ?? end;
  const refuse = (found: Token): never => {
    throw new Error(`Unexpected symbol: '${found.text}' within expression: ${expression.trim()}`);
  };
  const take = (symbol: string): boolean => {
    if (peek().type !== 'symbol' || peek().text !== symbol) return false;
    at++;
    return true;
  };
  const expect = (symbol: string): void => void (take(symbol) || refuse(peek()));

  function or(): Evaluate {
    let left = and();
    while (take('||')) {
      const [first, second] = [left, and()];
      left = (scope) => {
        const value = first(scope);
        return truthy(value) ? value : second(scope);
      };
    }
    return left;
  }
  function and(): Evaluate {
    let left = comparison();
    while (take('&&')) {
      const [first, second] = [left, comparison()];
      left = (scope) => {
        const value = first(scope);
        return truthy(value) ? second(scope) : value;
      };
    }
    return left;
  }
  function comparison(): Evaluate {
    let left = unary();
    for (;;) {
      const operator = Object.keys(comparisons).find((symbol) => take(symbol));
      const compare = operator === undefined ? undefined : comparisons[operator];
      if (compare === undefined) return left;
      const [first, second] = [left, unary()];
      left = (scope) => compare(first(scope), second(scope));
    }
  }
  function unary(): Evaluate {
    if (!take('!')) return postfix();
    const inner = unary();
    return (scope) => !truthy(inner(scope));
  }
  function postfix(): Evaluate {
    let left = primary();
    for (;;) {
      const object = left;
      if (take('.')) {
        const name = peek();
        at++;
        if (name.type !== 'name' && name.text !== '*') refuse(name);
        left = name.text === '*' ? (scope) => valuesOf(object(scope)) : (scope) => property(object(scope), name.text);
      } else if (take('[')) {
        const index = or();
        expect(']');
        left = (scope) => property(object(scope), index(scope));
      } else return left;
    }
  }
  function primary(): Evaluate {
    const token = peek();
    at++;
    if (token.type === 'number') return () => Number(token.text);
    if (token.type === 'string') return () => token.text.replaceAll("''", "'");
    if (token.type === 'symbol' && token.text === '(') {
      const inner = or();
      expect(')');
      return inner;
    }
    if (token.type !== 'name') return refuse(token);
    if (Object.hasOwn(literals, token.text)) return () => literals[token.text] ?? null;
    if (!take('(')) return (scope) => contextOf(scope, token.text);
    const args: Evaluate[] = [];
    while (!take(')')) {
      if (args.length > 0) expect(',');
      args.push(or());
    }
    const call = functions[token.text.toLowerCase()];
    if (call === undefined) throw new Error(`Unrecognized function: '${token.text}'`);
    return (scope) =>
      call(
        args.map((argument) => argument(scope)),
        scope,
      );
  }

  const result = or();
  if (peek().type !== 'end') refuse(peek());
  return result;
}

function* scan(expression: string): Generator<Token> {
  const text = expression.trimEnd();
  tokens.lastIndex = 0;
  while (tokens.lastIndex < text.length) {
    const { lastIndex } = tokens;
    const groups = tokens.exec(text)?.groups;
    const [type, found] = Object.entries(groups ?? {}).find(([, value]) => value !== undefined) ?? [];
    if (found === undefined) throw new Error(`Unexpected symbol: '${text.slice(lastIndex)}'`);
    if (type === 'number' || type === 'string' || type === 'name' || type === 'symbol') yield { type, text: found };
  }
}

const literals: Record<string, Value> = { null: null, true: true, false: false, NaN: Number.NaN, Infinity: Number.POSITIVE_INFINITY };

const comparisons: Record<string, (a: Value, b: Value) => boolean> = {
  '==': equal,
  '!=': (a, b) => !equal(a, b),
  '<=': (a, b) => ordered(a, b, (order) => order <= 0),
  '>=': (a, b) => ordered(a, b, (order) => order >= 0),
  '<': (a, b) => ordered(a, b, (order) => order < 0),
  '>': (a, b) => ordered(a, b, (order) => order > 0),
};

const functions: Record<string, (args: readonly Value[], scope: Scope) => Value> = {
  contains: ([search = null, item = null]) =>
    isList(search) ? search.some((one) => equal(one, item)) : folded(search).includes(folded(item)),
  startswith: ([text = null, start = null]) => folded(text).startsWith(folded(start)),
  endswith: ([text = null, end = null]) => folded(text).endsWith(folded(end)),
  format: ([pattern = null, ...values]) =>
    textOf(pattern).replace(/\{\{|\}\}|\{(\d+)\}/g, (found, index: string | undefined) =>
      index === undefined ? found.charAt(0) : textOf(values[Number(index)] ?? null),
    ),
  join: ([list = null, separator = ',']) => (isList(list) ? list.map(textOf).join(textOf(separator)) : textOf(list)),
  tojson: ([value = null]) => JSON.stringify(value, null, 2),
  fromjson: ([text = null]) => toValue(JSON.parse(textOf(text))),
  always: () => true,
  success: (_, scope) => statusOf(scope) === 'success',
  failure: (_, scope) => statusOf(scope) === 'failure',
  cancelled: (_, scope) => statusOf(scope) === 'cancelled',
};

function statusOf({ status }: Scope): string {
  if (status === undefined) throw new Error('Unrecognized function: status functions are for conditions');
  return status;
}

/** Any JSON as a value; what is not JSON is null. */
export function toValue(json: unknown): Value {
  if (json === null || typeof json === 'boolean' || typeof json === 'number' || typeof json === 'string') return json;
  if (Array.isArray(json)) return json.map(toValue);
  if (typeof json === 'object') return Object.fromEntries(Object.entries(json).map(([key, value]) => [key, toValue(value)]));
  return null;
}

function contextOf({ contexts }: Scope, name: string): Value {
  const found = Object.keys(contexts).find((key) => key.toLowerCase() === name.toLowerCase());
  if (found === undefined) throw new Error(`Unrecognized named-value: '${name}'`);
  return contexts[found] ?? null;
}

/** Names are compared without letter case; what is not there is null. */
function property(object: Value, key: Value): Value {
  if (isList(object)) return typeof key === 'number' ? (object[key] ?? null) : null;
  if (object === null || typeof object !== 'object') return null;
  const wanted = textOf(key).toLowerCase();
  return Object.entries(object).find(([name]) => name.toLowerCase() === wanted)?.[1] ?? null;
}

function valuesOf(value: Value): Value {
  if (isList(value)) return value;
  return value !== null && typeof value === 'object' ? Object.values(value) : [];
}

function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

function folded(value: Value): string {
  return textOf(value).toLowerCase();
}

function numberOf(value: Value): number {
  if (value === null) return 0;
  if (typeof value === 'object') return Number.NaN;
  return typeof value === 'string' && value.trim() === '' ? 0 : Number(value);
}

/** Texts without letter case; different types as numbers. */
function equal(a: Value, b: Value): boolean {
  if (typeof a === 'string' && typeof b === 'string') return a.toLowerCase() === b.toLowerCase();
  if (a !== null && b !== null && typeof a === 'object') return a === b;
  return numberOf(a) === numberOf(b);
}

function ordered(a: Value, b: Value, holds: (order: number) => boolean): boolean {
  if (typeof a === 'string' && typeof b === 'string') {
    const [first, second] = [a.toLowerCase(), b.toLowerCase()];
    return holds(first < second ? -1 : first > second ? 1 : 0);
  }
  const difference = numberOf(a) - numberOf(b);
  return !Number.isNaN(difference) && holds(difference);
}
