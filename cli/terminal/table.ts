import { escapeText } from './escape.ts';
import { breakText, displayWidth } from './width.ts';

/** A box of rows. A row is its cells, or a line across. A title has a row of its own over all columns. */
export type Table = {
  readonly title?: string;
  readonly header?: readonly string[];
  readonly rows: readonly (readonly string[] | 'line')[];
  /** Columns, counted from 0, that are aligned to the right: counts. */
  readonly right?: readonly number[];
};

/** Narrower than this a column is not made: a value in slivers cannot be read. */
const leastWidth = 10;
/** Ids are copied from the terminal: they stay on one line. */
const id = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/;

/**
 * Draws the table, every cell escaped, ending in a newline. With `width` (the columns of a terminal) cells of the widest columns are
 * broken over several lines until the table fits, and where that is not enough each row becomes a box of its own; without it, in pipes
 * and files, every value stays whole on one line.
 */
export function renderTable(table: Table, options: { readonly width?: number | undefined } = {}): string {
  const header = table.header?.map(escapeText);
  const rows = table.rows.map((row) => (row === 'line' ? row : row.map(escapeText)));
  const title = table.title === undefined ? undefined : escapeText(table.title);
  const cells = rows.filter((row) => row !== 'line');
  const natural = naturalWidths(header === undefined ? cells : [header, ...cells], title);
  const least = leastWidths(natural, cells);
  if (table.header !== undefined && cells.length > 0 && options.width !== undefined && totalWidth(least) > options.width) {
    return renderTable(asRecords(table, table.header), options);
  }
  const widths = fit(natural, least, options.width);

  const across = (left: string, middle: string, right: string) =>
    `${left}${widths.map((width) => '─'.repeat(width + 2)).join(middle)}${right}\n`;
  const draw = (row: readonly string[], right: readonly number[]) => drawRow(row, widths, right);

  const parts: string[] = [];
  if (title !== undefined) {
    const inner = widths.reduce((sum, width) => sum + width + 3, -3);
    parts.push(across('┌', '─', '┐'), drawRow([title], [inner], []));
    parts.push(header === undefined && cells.length === 0 ? '' : across('├', '┬', '┤'));
  } else {
    parts.push(across('┌', '┬', '┐'));
  }
  if (header !== undefined) {
    parts.push(draw(header, table.right ?? []));
    if (rows.length > 0) parts.push(across('├', '┼', '┤'));
  }
  for (const row of rows) parts.push(row === 'line' ? across('├', '┼', '┤') : draw(row, table.right ?? []));
  parts.push(title !== undefined && header === undefined && cells.length === 0 ? across('└', '─', '┘') : across('└', '┴', '┘'));
  return parts.join('');
}

function naturalWidths(rows: readonly (readonly string[])[], title: string | undefined): number[] {
  const count = Math.max(1, ...rows.map((row) => row.length));
  const widths = Array.from({ length: count }, (_, column) => Math.max(0, ...rows.map((row) => displayWidth(row[column] ?? ''))));
  // A title longer than its columns widens the last one.
  const missing = title === undefined ? 0 : displayWidth(title) - widths.reduce((sum, width) => sum + width + 3, -3);
  return widths.map((width, column) => (column === count - 1 ? width + Math.max(0, missing) : width));
}

/** How narrow each column may become. */
function leastWidths(widths: readonly number[], cells: readonly (readonly string[])[]): readonly number[] {
  return widths.map((width, column) => {
    const ids = cells.map((row) => id.exec(row[column] ?? '')?.[0].length ?? 0);
    return Math.min(width, Math.max(leastWidth, ...ids));
  });
}

function totalWidth(widths: readonly number[]): number {
  return widths.reduce((sum, width) => sum + width + 3, 1);
}

/** The same table with its columns one below the other, for each row. */
function asRecords({ title, rows }: Table, header: readonly string[]): Table {
  const records = rows.flatMap((row, index): Table['rows'] => {
    if (row === 'line') return [];
    return [...(index === 0 ? [] : (['line'] as const)), ...header.map((name, column) => [name, row[column] ?? ''])];
  });
  return { ...(title !== undefined && { title }), rows: records };
}

/** Takes one column after the other from the widest, until the table fits or every column is at its least. */
function fit(widths: readonly number[], least: readonly number[], available: number | undefined): readonly number[] {
  const fitted = [...widths];
  let excess = available === undefined ? 0 : totalWidth(fitted) - available;
  for (; excess > 0; excess -= 1) {
    const reducible = fitted.map((width, column) => (width > (least[column] ?? 0) ? width : 0));
    const widest = Math.max(...reducible);
    if (widest === 0) break;
    fitted[reducible.indexOf(widest)] = widest - 1;
  }
  return fitted;
}

function drawRow(row: readonly string[], widths: readonly number[], right: readonly number[]): string {
  const columns = widths.map((width, column) => breakText(row[column] ?? '', width));
  const height = Math.max(...columns.map((lines) => lines.length));
  const lines = Array.from({ length: height }, (_, line) => {
    const cells = widths.map((width, column) => pad(columns[column]?.[line] ?? '', width, right.includes(column)));
    return `│ ${cells.join(' │ ')} │\n`;
  });
  return lines.join('');
}

function pad(text: string, width: number, right: boolean): string {
  const space = ' '.repeat(Math.max(0, width - displayWidth(text)));
  return right ? space + text : text + space;
}
