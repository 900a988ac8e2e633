import { eastAsianWidth } from 'get-east-asian-width';

const plainAscii = /^[\x20-\x7e]*$/;
let segmenter: Intl.Segmenter | undefined;

/** Columns that the text takes on a terminal: combining marks none, East Asian wide characters and emoji two (UAX #11). */
export function displayWidth(text: string): number {
  if (plainAscii.test(text)) return text.length;
  return measure(text).reduce((sum, { width }) => sum + width, 0);
}

/** As much of the beginning as fits. */
export function cutText(text: string, width: number): string {
  let kept = '';
  let keptWidth = 0;
  for (const grapheme of measure(text)) {
    keptWidth += grapheme.width;
    if (keptWidth > width) break;
    kept += grapheme.text;
  }
  return kept;
}

/**
 * Breaks a text into lines of at most that width: at the last space of the line, else behind the last dash, slash or colon in its
 * second half (so that ids and digests break where people read them in parts), else where the line is full. No character is lost
 * but the space.
 */
export function breakText(text: string, width: number): readonly string[] {
  if (displayWidth(text) <= width) return [text];
  const lines: string[] = [];
  let line = '';
  let lineWidth = 0;
  for (const grapheme of measure(text)) {
    if (lineWidth + grapheme.width > width && line !== '') {
      const { kept, rest } = breakLine(line, grapheme.text);
      lines.push(kept);
      line = rest;
      lineWidth = displayWidth(rest);
    }
    // The space at which the line is broken is not carried over.
    if (line === '' && lines.length > 0 && grapheme.text === ' ') continue;
    line += grapheme.text;
    lineWidth += grapheme.width;
  }
  return line === '' ? lines : [...lines, line];
}

function breakLine(line: string, next: string): { readonly kept: string; readonly rest: string } {
  if (next === ' ') return { kept: line, rest: '' };
  const space = line.lastIndexOf(' ');
  if (space > 0) return { kept: line.slice(0, space), rest: line.slice(space + 1) };
  const joint = Math.max(...['-', '/', ':', '@'].map((character) => line.lastIndexOf(character))) + 1;
  return joint > line.length / 2 ? { kept: line.slice(0, joint), rest: line.slice(joint) } : { kept: line, rest: '' };
}

/** The graphemes of a text with their widths: a text is only ever cut between them. */
function measure(text: string): readonly { readonly text: string; readonly width: number }[] {
  // Made when it is needed: it takes 10 ms.
  segmenter ??= new Intl.Segmenter('en', { granularity: 'grapheme' });
  return Array.from(segmenter.segment(text), ({ segment }) => ({ text: segment, width: graphemeWidth(segment) }));
}

function graphemeWidth(grapheme: string): number {
  if (/^[\p{Mn}\p{Me}]/u.test(grapheme)) return 0;
  if (/^\p{RGI_Emoji}/v.test(grapheme)) return 2;
  return eastAsianWidth(grapheme.codePointAt(0) ?? 0);
}
