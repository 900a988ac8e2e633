/** The files that a step writes to, as the runner reads them after it. */

/** `name=value` and `name<<DELIMITER` of GITHUB_OUTPUT, GITHUB_ENV and GITHUB_STATE. Throws what the runner says. */
export function parsePairs(text: string): ReadonlyMap<string, string> {
  const pairs = new Map<string, string>();
  let at = 0;
  const readLine = (): { readonly line: string; readonly ended: boolean } | undefined => {
    if (at >= text.length) return undefined;
    const start = at;
    const end = text.indexOf('\n', at);
    at = end < 0 ? text.length : end + 1;
    return { line: text.slice(start, end < 0 ? undefined : end), ended: end >= 0 };
  };
  for (let read = readLine(); read !== undefined; read = readLine()) {
    const { line } = read;
    if (line === '') continue;
    const [equals, heredoc] = [line.indexOf('='), line.indexOf('<<')];
    if (equals >= 0 && (heredoc < 0 || equals < heredoc)) {
      if (equals === 0) throw new Error(`Invalid format '${line}'. Name must not be empty`);
      pairs.set(line.slice(0, equals), line.slice(equals + 1));
      continue;
    }
    if (heredoc < 0) throw new Error(`Invalid format '${line}'`);
    const [name, delimiter] = [line.slice(0, heredoc), line.slice(heredoc + 2)];
    if (name === '' || delimiter === '')
      throw new Error(`Invalid format '${line}'. Name must not be empty and delimiter must not be empty`);
    const start = at;
    let end = at;
    for (;;) {
      const inside = readLine();
      if (inside === undefined) throw new Error(`Invalid value. Matching delimiter not found '${delimiter}'`);
      if (inside.line === delimiter) break;
      if (!inside.ended) throw new Error('Invalid value. EOF marker missing new line.');
      end = at - 1;
    }
    pairs.set(name, text.slice(start, end));
  }
  return pairs;
}

/** GITHUB_PATH: one folder a line. */
export function parsePaths(text: string): readonly string[] {
  return text.split('\n').filter((line) => line !== '');
}

/** What a step may leave in GITHUB_STEP_SUMMARY. */
export const summaryLimitBytes = 1024 * 1024;

/** Variables that no step may set for the next ones. */
export const blockedVariables: readonly string[] = ['NODE_OPTIONS'];
