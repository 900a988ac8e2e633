/** Writes docs/configuration.md from the settings of the server. A test compares the two. */
import { writeFileSync } from 'node:fs';
import { longName } from '../cli/command.ts';
import { limits } from '../core/limits.ts';
import { settings } from '../server/configuration.ts';

const rows = settings.map(({ option, variable, otherwise, about, secret }) => {
  const flag = option === undefined ? '' : `\`--${longName(option)}\``;
  const variables = secret === true ? `\`${variable}\`, \`${variable}_FILE\`` : `\`${variable}\``;
  return `| ${flag} | ${variables} | ${otherwise ?? ''} | ${about} |`;
});

const seconds = (ms: number): string => `${ms / 1000} s`;
const mebibytes = (bytes: number): string => `${bytes / 1024 / 1024} MiB`;
/** What an operator may run into. The rest is in core/limits.ts. */
const fixed: readonly (readonly [string, string])[] = [
  ['Requests in flight at a stop have', seconds(limits.drainTimeoutMs)],
  ['A free connection to the database is waited for', seconds(limits.databaseConnectTimeoutMs)],
  ['One statement may take', seconds(limits.databaseStatementTimeoutMs)],
  ['The body of one API request', mebibytes(limits.requestBodySizeBytes)],
  ['A connection on which nothing moves is ended after', seconds(limits.idleTimeoutMs)],
  ['An upload that nobody continues is forgotten after', `${limits.uploadLifetimeMs / 3_600_000} h`],
  ['An open run expires after', `${limits.runLifetimeMs / 3_600_000} h`],
];

/** The whole page. */
export function configurationReference(): string {
  return `# Configuration of the server

\`chainloop server\` takes options; each has a variable, too, for containers. An option comes before its variable, and an empty variable is one that is
not set. \`…_FILE\` names a file that holds the value, as Docker and Kubernetes give secrets. All problems are reported at once, and then nothing is
started.

| Option | Variable | Default | Meaning |
| --- | --- | --- | --- |
${rows.join('\n')}

\`server backup\` and \`server restore\` read the same variables, and take \`--data-dir\`.

## Limits that are fixed

| | |
| --- | --- |
${fixed.map(([what, value]) => `| ${what} | ${value} |`).join('\n')}
`;
}

if (import.meta.main) writeFileSync(new URL('../docs/configuration.md', import.meta.url), configurationReference());
