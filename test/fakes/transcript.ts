/** One command of a transcript, and what it printed. */
export type Step = { readonly command: string; readonly output: string };

/** The commands in the `bash` blocks of a Markdown document. Comments are left out. */
export function readTranscript(markdown: string): readonly Step[] {
  return blocksOf(markdown, 'bash').flatMap((block) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((part) => {
        const [command = '', ...output] = part.split('\n');
        return { command: command.trim(), output: output.filter((line) => !line.startsWith('# ')).join('\n') };
      }),
  );
}

/** The contents of the fenced blocks of a language. */
export function blocksOf(markdown: string, language: string): readonly string[] {
  return Array.from(markdown.matchAll(new RegExp(`^\`\`\`${language}\\b[^\\n]*\\n([\\s\\S]*?)^\`\`\``, 'gm')), ([, block = '']) => block);
}

/** A drawn box, without its values: what stays the same from run to run. */
export type Box = {
  readonly title: string | undefined;
  /** Column names; undefined for a box of names and values. */
  readonly header: readonly string[] | undefined;
  /** The first cell of each row, in a box of names and values. */
  readonly names: readonly string[];
  /** The ends and crossings of each line across: `┌┬┐`, `├┼┤`. */
  readonly lines: readonly string[];
  readonly rows: readonly (readonly string[])[];
};

/** All boxes of a text. */
export function readBoxes(text: string): readonly Box[] {
  const boxes: string[][] = [];
  for (const line of text.split('\n')) {
    // The introduction has lost the first character of one box.
    if (/^[┌─]/.test(line)) boxes.push([line.replace(/^─+(?=[┬┐])/, '┌─')]);
    else if (/^[│├└]/.test(line)) boxes.at(-1)?.push(line);
  }
  return boxes.map(readBox);
}

function readBox(drawn: readonly string[]): Box {
  const lines = drawn.filter((line) => !line.startsWith('│')).map((line) => line.replaceAll('─', ''));
  const rows = drawn
    .filter((line) => line.startsWith('│'))
    .map((line) =>
      line
        .split('│')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  const title = lines[0] === '┌┐' ? rows[0]?.[0] : undefined;
  const body = title === undefined ? rows : rows.slice(1);
  // Column names are written in capitals, and have a line below.
  const header =
    body[0]?.every((cell) => cell !== '' && cell === cell.toUpperCase()) && /^[├]/.test(drawn[title === undefined ? 2 : 4] ?? '├')
      ? body[0]
      : undefined;
  const values = header === undefined ? body : body.slice(1);
  return { title, header, names: header === undefined ? values.map(([name = '']) => name) : [], lines, rows: values };
}
