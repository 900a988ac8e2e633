import { appendFileSync } from 'node:fs';
import { EOL } from 'node:os';
import * as core from '@actions/core';

/** What no runner can take for more than one line. */
const plain = /^[\x20-\x7e]*$/;

/** Sets an output of the step. */
export function setOutput(name: string, value: string): void {
  if (!appended(process.env.GITHUB_OUTPUT, name, value)) core.setOutput(name, value);
}

/** Leaves something for the end of the step. */
export function saveState(name: string, value: string): void {
  if (!appended(process.env.GITHUB_STATE, name, value)) core.saveState(name, value);
}

/** The toolkit puts every value between random delimiters, for which it loads all of node:crypto, 5 ms of a start: a plain line needs none. */
function appended(path: string | undefined, name: string, value: string): boolean {
  if (!path || !plain.test(value)) return false;
  appendFileSync(path, `${name}=${value}${EOL}`);
  return true;
}
