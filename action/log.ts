import * as core from '@actions/core';
import { withoutSecrets } from '../core/redact.ts';

/** Controls, format characters (bidirectional marks, zero-width), separators and lone surrogates: what a reader does not see. */
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
/** What needs no such look: the expression above takes a millisecond to compile. */
const plainAscii = /^[\x20-\x7e]*$/;
const longestLine = 4000;

/**
 * One line of log from text that anybody may have written: the runner takes lines that begin with `::`, and `##[` wherever it stands, for
 * commands to itself.
 */
export function plainLine(text: string): string {
  const clean = plainAscii.test(text) ? text : text.replaceAll('\t', ' ').replace(unprintable, '\uFFFD');
  const line = withoutSecrets(clean)
    .replaceAll('##[', '# #[')
    .replace(/^(\s*)::/, '$1: :');
  return line.length > longestLine ? `${line.slice(0, longestLine)}…` : line;
}

/** Lines of log; each line break begins another. */
export function say(text: string): void {
  for (const line of text.split(/\r\n|\n|\r/)) core.info(plainLine(line));
}

/** Lines that can be folded away. */
export async function group<T>(title: string, run: () => Promise<T>): Promise<T> {
  core.startGroup(plainLine(title));
  try {
    return await run();
  } finally {
    core.endGroup();
  }
}

/** What shows beside the run on GitHub. The title is what people see first. */
export function annotate(level: 'error' | 'warning' | 'notice', title: string, message: string): void {
  // `@actions/core` escapes line breaks and percent signs; the rest cannot leave the command.
  // Named, one by one: a computed member would keep all of the toolkit in the bundle.
  const tell = { error: core.error, warning: core.warning, notice: core.notice }[level];
  tell(
    message
      .split(/\r\n|\n|\r/)
      .map(plainLine)
      .join('\n'),
    { title: plainLine(title).slice(0, 200) },
  );
}

/** Runs a part of the step; how long it took is in the debug log. */
export async function timed<T>(part: string, run: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  try {
    return await run();
  } finally {
    core.debug(`${part} took ${Math.round(performance.now() - startedAt)} ms`);
  }
}
