import { writeSync } from 'node:fs';
import { systemCode } from '../core/system-code.ts';

let blocked = false;

/**
 * Writes to standard output, all of it before it returns. In the bundle the toolkit writes with it (tools/build-action.ts):
 * `process.stdout` loads Node's network first.
 */
export function writeOut(text: string): void {
  let rest = Buffer.from(text);
  try {
    while (!blocked && rest.length > 0) rest = rest.subarray(writeSync(1, rest));
  } catch (error) {
    // A pipe that is full, and says so instead of making us wait.
    if (systemCode(error) !== 'EAGAIN') throw error;
    blocked = true;
  }
  if (rest.length === 0) return;
  const { stdout } = process;
  stdout.write(rest);
}
