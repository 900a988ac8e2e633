/**
 * What S3 answers is XML without attributes, comments or mixed content (Amazon S3 API reference, "Response Syntax" of each action), so
 * elements can be found by their names. Nothing that was read is trusted further than its own pattern.
 */

/** The insides of all elements of that name, in order; none of these may lie in one another. */
export function elements(xml: string, name: string): readonly string[] {
  const found: string[] = [];
  const end = `</${name}>`;
  let at = 0;
  for (;;) {
    const start = xml.indexOf(`<${name}`, at);
    if (start < 0) return found;
    at = start + name.length + 1;
    if (!/^[\s>]/.test(xml.charAt(at))) continue;
    const from = xml.indexOf('>', at) + 1;
    const to = xml.indexOf(end, at);
    if (from === 0 || to < from) return found;
    found.push(xml.slice(from, to));
    at = to + end.length;
  }
}

/** The text of the first element of that name; empty when there is none. */
export function textOf(xml: string, name: string): string {
  return decode(elements(xml, name)[0] ?? '');
}

/** As the text of an element (Extensible Markup Language 1.0, "Character Data and Markup"). */
export function encode(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

const named: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function decode(text: string): string {
  return text.replace(/&(?:#(\d{1,6})|#x([\da-fA-F]{1,5})|(amp|lt|gt|quot|apos));/g, (whole, decimal, hex, name) => {
    if (name !== undefined) return named[name] ?? whole;
    return String.fromCodePoint(decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal));
  });
}
