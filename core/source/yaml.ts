import { Composer, type CST, type Document, isAlias, isMap, isScalar, isSeq, Parser } from 'yaml';
import { type Finding, type Parsed, type Place, place, printable, type Shape, type Stop } from './place.ts';

/**
 * Reads one YAML 1.2 document (core schema) and where everything in it stands. Depth is checked on tokens, before the parser builds
 * anything; an alias counts as much as what it stands for, so that a few of them cannot grow into gigabytes. Duplicate keys are
 * findings; other versions of YAML, several documents and tags beyond the core schema are refused, since they change what is read.
 */
export function readYaml(text: string, shape: Shape, stop: Stop): Parsed {
  const tokens = [...new Parser().parse(text)];
  refuseDepth(tokens, shape, stop);
  const composer = new Composer({
    version: '1.2',
    schema: 'core',
    merge: false,
    // The library compares every key with every other; ours is one look-up.
    uniqueKeys: false,
    resolveKnownTags: false,
    logLevel: 'silent',
  });
  const [document, ...others] = [...composer.compose(tokens, true, text.length)];
  if (document === undefined) return { value: null, place: place(0), findings: [] };
  const findings: Finding[] = [...document.errors, ...document.warnings].map((error) => ({
    message: error.message.split('\n', 1).join(''),
    path: [],
    offset: error.pos[0],
  }));
  if (document.directives.yaml.explicit === true && document.directives.yaml.version !== '1.2')
    findings.push({ message: 'only YAML 1.2 is read; remove the %YAML line', path: [], offset: 0 });
  const second = others[0];
  if (second !== undefined)
    findings.push({ message: 'a second document begins here; only one is read', path: [], offset: second.range[0] });
  if (findings.length > 0) return stop(findings);
  return convert(document, shape, stop);
}

function convert(document: Document.Parsed, shape: Shape, stop: Stop): Parsed {
  const findings: Finding[] = [];
  const anchors = new Map<string, unknown>();
  let values = 0;

  function read(node: unknown, path: readonly PropertyKey[], fallback: number): { value: unknown; place: Place } {
    const here = place(offsetOfNode(node) ?? fallback);
    if (path.length > shape.depth)
      return stop([...findings, { message: `nested deeper than ${shape.depth} levels`, path: [], offset: here.offset }]);
    if (++values > shape.values)
      return stop([
        ...findings,
        { message: `more than ${shape.values} values, counting each alias as what it stands for`, path: [], offset: here.offset },
      ]);
    if (isAlias(node)) {
      if (anchors.has(node.source)) return { value: read(anchors.get(node.source), path, here.offset).value, place: here };
      findings.push({ message: `there is no anchor '&${printable(node.source)}' before this alias`, path, offset: here.offset });
      return { value: null, place: here };
    }
    if ((isScalar(node) || isMap(node) || isSeq(node)) && node.anchor !== undefined) anchors.set(node.anchor, node);
    if (isScalar(node)) return { value: node.value, place: here };
    if (isSeq(node)) {
      const array = node.items.map((item, index) => {
        const child = read(item, [...path, index], here.offset);
        here.children.set(index, child.place);
        return child.value;
      });
      return { value: array, place: here };
    }
    if (!isMap(node)) return { value: null, place: here };
    const object = {};
    for (const pair of node.items) {
      const keyAt = offsetOfNode(pair.key) ?? here.offset;
      if (!isScalar(pair.key) || typeof pair.key.value !== 'string') {
        findings.push({ message: 'a key must be text', path, offset: keyAt });
        continue;
      }
      const key = pair.key.value;
      const child = read(pair.value, [...path, key], keyAt);
      if (here.keys.has(key)) {
        findings.push({ message: `the key '${printable(key)}' is there twice`, path: [...path, key], offset: keyAt });
        continue;
      }
      here.keys.set(key, keyAt);
      here.children.set(key, child.place);
      // Assignment would set the prototype for '__proto__'.
      Object.defineProperty(object, key, { value: child.value, enumerable: true, configurable: true, writable: true });
    }
    return { value: object, place: here };
  }

  const root = read(document.contents, [], 0);
  return { value: root.value, place: root.place, findings };
}

function offsetOfNode(node: unknown): number | undefined {
  if (!isAlias(node) && !isScalar(node) && !isMap(node) && !isSeq(node)) return undefined;
  return node.range?.[0];
}

/** Brackets, `- - - -…` and steps of indentation alike: walks the tokens without recursion. */
function refuseDepth(tokens: readonly CST.Token[], shape: Shape, stop: Stop): void {
  const open = tokens.map((token) => ({ token, depth: 0 }));
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { token, depth } = next;
    if (token.type === 'document' && token.value !== undefined) open.push({ token: token.value, depth });
    if (!('items' in token)) continue;
    if (depth >= shape.depth) stop([{ message: `nested deeper than ${shape.depth} levels`, path: [], offset: token.offset }]);
    for (const item of token.items) {
      if (item.key) open.push({ token: item.key, depth: depth + 1 });
      if (item.value !== undefined) open.push({ token: item.value, depth: depth + 1 });
    }
  }
}
