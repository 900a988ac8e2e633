/**
 * One element of a DER text (X.690): tag, length and content. Only what has one spelling is read: lengths are definite and minimal, and
 * tags are of one byte, which is all that X.509, CMS and RFC 3161 use. Whatever is signed or compared is then the bytes as they stand.
 */
export type Der = {
  readonly tag: number;
  readonly content: Uint8Array;
  /** Tag, length and content. */
  readonly bytes: Uint8Array;
};

/** The tags in use (X.680, section 8.4). `context` is of a constructed element, `[n] EXPLICIT` or `[n] IMPLICIT` of a structure. */
export const derTag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
  context: (number: number): number => 0xa0 + number,
} as const;

/** Elements side by side: the longest list in use, of extensions, has some twenty. */
const maxElements = 1_000;
/** An object identifier: the longest in use have ten bytes. Reading its arcs takes time that grows with the square of their size. */
const maxOidSizeBytes = 64;

/** The elements that a text consists of, end to end. Undefined when it is anything else, or more than 1,000 elements. */
export function readDer(bytes: Uint8Array): readonly Der[] | undefined {
  const elements: Der[] = [];
  let at = 0;
  while (at < bytes.byteLength) {
    const element = readOne(bytes.subarray(at));
    if (element === undefined || elements.length === maxElements) return undefined;
    elements.push(element);
    at += element.bytes.byteLength;
  }
  return elements;
}

/** The members of a structure of that tag: undefined when it is of another one, or not DER inside. */
export function membersOf(element: Der | undefined, tag: number): readonly Der[] | undefined {
  return element?.tag === tag ? readDer(element.content) : undefined;
}

/** The one element that a text consists of, of that tag. */
export function onlyDer(bytes: Uint8Array, tag: number): Der | undefined {
  const [only, ...others] = readDer(bytes) ?? [];
  return others.length === 0 && only?.tag === tag ? only : undefined;
}

/** An object identifier in dots (X.690, section 8.19). Undefined for another element, and for one of more than 64 bytes. */
export function oidOf(element: Der | undefined): string | undefined {
  if (element?.tag !== derTag.oid || element.content.byteLength === 0 || element.content.byteLength > maxOidSizeBytes) return undefined;
  const arcs: bigint[] = [];
  let arc = 0n;
  for (const byte of element.content) {
    arc = arc * 128n + BigInt(byte & 0x7f);
    if ((byte & 0x80) !== 0) continue;
    arcs.push(arc);
    arc = 0n;
  }
  const [first = 0n, ...rest] = arcs;
  const top = first < 80n ? first / 40n : 2n;
  return [top, first - top * 40n, ...rest].join('.');
}

/** True for the same bytes. */
export function sameBytes(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  return one !== undefined && other !== undefined && Buffer.compare(one, other) === 0;
}

function readOne(bytes: Uint8Array): Der | undefined {
  const [tag, first] = bytes;
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) return undefined;
  const more = first < 0x80 ? 0 : first & 0x7f;
  if (first === 0x80 || more > 4 || bytes.byteLength < 2 + more) return undefined;
  let length = more === 0 ? first : 0;
  for (const byte of bytes.subarray(2, 2 + more)) length = length * 256 + byte;
  if (more > 0 && (length < 0x80 || length < 256 ** (more - 1))) return undefined;
  const end = 2 + more + length;
  return end > bytes.byteLength ? undefined : { tag, content: bytes.subarray(2 + more, end), bytes: bytes.subarray(0, end) };
}
