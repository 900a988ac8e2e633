/** Writes docs/cli.md from the commands themselves. A test compares the two. */
import { writeFileSync } from 'node:fs';
import { type Command, type Group, longName } from '../cli/command.ts';
import { nouns } from '../cli/main.ts';
import { errorTable } from '../core/errors.ts';

const environment: readonly (readonly [string, string])[] = [
  ['CHAINLOOP_URL', 'the control plane; default `http://127.0.0.1:8080`'],
  ['CHAINLOOP_TOKEN', 'the token; without it, the one that `chainloop auth login` keeps for that control plane'],
  ['CHAINLOOP_ORGANIZATION', 'the organization, where the token does not say it'],
  [
    'CHAINLOOP_ID_TOKEN',
    'the token of a GitLab job, which is exchanged when there is no other ([federation.md](federation.md)); GitHub gives its own',
  ],
  ['CHAINLOOP_WORKFLOW', 'where bindings let a CI job into several workflows: the one that is meant; with `CHAINLOOP_PROJECT`'],
  ['CHAINLOOP_SIGNING_KEY', 'the private key: a path, or `env://VARIABLE`; without one, jobs sign keyless'],
  ['CHAINLOOP_SIGNING_PASSWORD', 'the password of the private key'],
  ['CHAINLOOP_REGISTRY_USERNAME', 'the name for the registry of images; with the password, and for one registry'],
  ['CHAINLOOP_REGISTRY_PASSWORD', 'the password of the registry of images, or of a CAS backend'],
  ['CHAINLOOP_REGISTRY_TOKEN_HOSTS', 'hosts, beside a registry itself, that may ask for its credentials: `auth.example.com,…`'],
  [
    'CHAINLOOP_TRUST_ROOT',
    'the trusted roots of `chainloop verify`, first that of the control plane, as `PATH` has several: `root.json:sigstore.json`',
  ],
  ['CHAINLOOP_STATE_DIR', 'where open attestations are kept; never inside the checkout'],
  [
    'CHAINLOOP_RETRY_SECONDS',
    'how long a control plane that does not answer is tried, at most; also a registry, when an image is looked up',
  ],
  ['CHAINLOOP_INSECURE', '`1` sends the token over plain http to another host'],
  ['CHAINLOOP_DEBUG', '`1` shows where an unexpected error comes from'],
  ['NO_COLOR', 'no colours'],
];

const exits: Readonly<Record<number, string>> = {
  0: 'done',
  1: 'failed',
  2: 'usage, or bad input',
  3: 'the contract is not satisfied',
  4: 'a policy gate refused',
  5: 'authentication',
  6: 'conflict',
  75: 'the control plane or a registry cannot be reached: try again later',
};

/** The whole page. */
export async function cliReference(): Promise<string> {
  const sections: string[] = [];
  for (const noun of nouns) sections.push(...sectionsOf(await noun.load(), 'chainloop'));
  const codes = Object.entries(exits).map(([exit, meaning]) => {
    const names = Object.entries(errorTable).flatMap(([code, row]) => (row.exit === Number(exit) ? [`\`${code}\``] : []));
    return `| ${exit} | ${meaning} | ${names.join(' ')} |`;
  });
  return `# The command line

\`chainloop <noun> <verb> --help\` shows what is on this page. In a checkout it is \`npx chainloop\`. \`chainloop run …\` is short for
\`chainloop workflow run …\`.

What a command finds goes to standard output, what it says about it to standard error. \`--output json\` gives exactly one JSON document: keys in
camelCase, times in ISO 8601, lists as \`{"items": […], "nextCursor": "…"}\`. An option that is given but empty, as from an unset variable, is refused. A command that fails leaves standard output empty; with \`--output json\` the last line
of standard error is \`{"error": {"code", "message", "problems"}}\`. Tables are wrapped on a terminal only: in a pipe every value is whole.

## Exit codes

| Exit | Meaning | [Errors](errors.md) |
| --- | --- | --- |
${codes.join('\n')}

## Environment

| Variable | Meaning |
| --- | --- |
${environment.map(([name, meaning]) => `| \`${name}\` | ${meaning} |`).join('\n')}

## Commands

${sections.join('\n\n')}
`;
}

function sectionsOf(entry: Command | Group, before: string): readonly string[] {
  const name = `${before} ${entry.name}`;
  const verbs = entry.commands.flatMap((command) => sectionsOf(command, name));
  if (entry.type === 'group') return verbs;
  const flags = Object.entries(entry.flags).map(([key, { short, hint, about, required }]) => {
    const long = [short === undefined ? '' : `${short}, `, `--${longName(key)}`, hint === undefined ? '' : ` ${hint}`].join('');
    return `| \`${cell(long)}\` | ${cell(about)}${required ? '; required' : ''} |`;
  });
  return [
    [
      `### ${[name, ...entry.operands].join(' ')}`,
      `${entry.about[0]?.toUpperCase()}${entry.about.slice(1)}.`,
      ...(entry.details === undefined ? [] : [entry.details]),
      `\`\`\`bash\n${entry.examples.join('\n')}\n\`\`\``,
      ...(flags.length === 0 ? [] : [`| Option | Meaning |\n| --- | --- |\n${flags.join('\n')}`]),
    ].join('\n\n'),
    ...verbs,
  ];
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

if (import.meta.main) writeFileSync(new URL('../docs/cli.md', import.meta.url), await cliReference());
