/** A line that is a command to the runner: `::error title=…::message`, or the older `##[error]message`. */
export type Command = { readonly name: string; readonly properties: Readonly<Record<string, string>>; readonly data: string };

/** Shown on the run's page. A runner sends ten of each level a step. */
export type Annotation = {
  readonly level: 'error' | 'warning' | 'notice';
  readonly message: string;
  readonly title?: string | undefined;
  readonly file?: string | undefined;
  readonly line?: number | undefined;
};

const names = [
  'add-mask',
  'add-matcher',
  'add-path',
  'debug',
  'echo',
  'endgroup',
  'error',
  'group',
  'notice',
  'remove-matcher',
  'save-state',
  'set-env',
  'set-output',
  'stop-commands',
  'warning',
] as const;

/** The command of a line, or undefined. `resume` is the word that ends `stop-commands`. */
export function parseCommand(line: string, resume?: string): Command | undefined {
  const known = (name: string): boolean => names.some((one) => one === name.toLowerCase()) || name === resume;
  const trimmed = line.trimStart();
  if (trimmed.startsWith('::')) {
    const end = trimmed.indexOf('::', 2);
    if (end > 0) {
      const command = read(trimmed.slice(2, end), ',', trimmed.slice(end + 2), unescapeProperty, unescapeData);
      if (known(command.name)) return command;
    }
  }
  // The older form counts anywhere in a line.
  const start = line.indexOf('##[');
  const end = line.indexOf(']', start);
  if (start < 0 || end < 0) return undefined;
  const command = read(line.slice(start + 3, end), ';', line.slice(end + 1), unescapeOld, unescapeOld);
  return known(command.name) ? command : undefined;
}

function read(
  head: string,
  separator: string,
  data: string,
  property: (text: string) => string,
  content: (text: string) => string,
): Command {
  const space = head.indexOf(' ');
  const name = (space < 0 ? head : head.slice(0, space)).toLowerCase();
  const pairs = (space < 0 ? '' : head.slice(space + 1)).split(separator).map((pair) => pair.trim().split('='));
  const properties = pairs.flatMap(([key = '', ...rest]) =>
    key !== '' && rest.length > 0 ? [[key, property(rest.join('='))] as const] : [],
  );
  return { name, properties: Object.fromEntries(properties), data: content(data) };
}

function unescapeData(text: string): string {
  return text.replaceAll('%0D', '\r').replaceAll('%0A', '\n').replaceAll('%25', '%');
}

function unescapeProperty(text: string): string {
  return unescapeData(text.replaceAll('%3A', ':').replaceAll('%2C', ','));
}

function unescapeOld(text: string): string {
  return unescapeData(text.replaceAll('%3B', ';').replaceAll('%5D', ']'));
}
