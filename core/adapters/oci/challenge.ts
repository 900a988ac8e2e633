/** One challenge of a WWW-Authenticate header (RFC 9110, section 11.6.1). Scheme and parameter names are lower case. */
export type Challenge = { readonly scheme: string; readonly parameters: ReadonlyMap<string, string> };

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const parameterPattern = new RegExp(`(${token})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|(${token}))`, 'y');
const schemePattern = new RegExp(`(${token})(?:\\s+|$)`, 'y');

/** The challenges of a header, in order; what does not parse ends the list. Never throws. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  const text = header.slice(0, 8192);
  let position = 0;
  const take = (pattern: RegExp) => {
    pattern.lastIndex = position;
    const match = pattern.exec(text);
    if (match !== null) position = pattern.lastIndex;
    return match;
  };
  while (position < text.length) {
    const separator = text[position];
    if (separator === ',' || separator === ' ' || separator === '\t') {
      position++;
      continue;
    }
    const parameter = take(parameterPattern);
    const current = challenges.at(-1);
    if (parameter !== null && current !== undefined) {
      const value = parameter[2]?.replace(/\\(.)/g, '$1') ?? parameter[3] ?? '';
      current.parameters.set((parameter[1] ?? '').toLowerCase(), value);
      continue;
    }
    const scheme = parameter === null ? take(schemePattern) : null;
    if (scheme === null) break;
    challenges.push({ scheme: (scheme[1] ?? '').toLowerCase(), parameters: new Map() });
  }
  return challenges;
}
