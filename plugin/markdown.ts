/**
 * Text that anybody may have written, as text: every character that Markdown or HTML gives a meaning to becomes an entity, line breaks and
 * what no reader sees become spaces. At most `length` characters of it.
 */
export function escaped(text: string, length = 200): string {
  const cut = text.length > length ? `${text.slice(0, length).toWellFormed()}…` : text;
  return (
    cut
      .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, ' ')
      .replaceAll(/[^\p{L}\p{N} .,/;'"=…-]/gu, (character) => `&#${character.codePointAt(0)};`)
      // What GitHub makes a link of without any mark.
      .replaceAll(/www\./gi, (prefix) => `${prefix.slice(0, 3)}&#46;`)
  );
}

/** The same in the type of code. Backticks would not do: inside them no entity counts. */
export function code(text: string, length?: number): string {
  return `<code>${escaped(text, length)}</code>`;
}

/** `sha256:5f83c4a1d2e0…`. */
export function shortDigest(digest: string): string {
  return digest.length > 19 ? `${digest.slice(0, 19)}…` : digest;
}

/** A table. Cells are Markdown already. Its heads stand where their columns do: GitHub would centre them. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => ':--')), ...rows.map(line)].join('\n');
}

/** GitHub takes 1 MiB for each step, and shows nothing of what is larger. */
const summarySizeBytes = 900 * 1024;

/** Sections, one under the other, as far as they go: what does not fit is left out, and said to be. A section is cut at a line. */
export function document(sections: readonly string[]): string {
  const lines = sections.join('\n\n').split('\n');
  const kept: string[] = [];
  let sizeBytes = 0;
  for (const line of lines) {
    sizeBytes += Buffer.byteLength(line) + 1;
    if (sizeBytes > summarySizeBytes) {
      // In what was left out, elements may have been closed that are still open.
      const open = kept.filter((text) => text.includes('<details>')).length - kept.filter((text) => text.includes('</details>')).length;
      return [
        ...kept,
        '',
        ...Array.from({ length: open }, () => '</details>'),
        '',
        `**… and ${lines.length - kept.length} more lines.**`,
        '',
      ].join('\n');
    }
    kept.push(line);
  }
  return `${lines.join('\n')}\n`;
}
