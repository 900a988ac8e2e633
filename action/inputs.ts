import { limits } from '../core/limits.ts';
import type { Env } from '../core/runner.ts';
import { printable } from '../core/source/place.ts';
import { type Inputs, readInputs as readPluginInputs } from '../plugin/inputs.ts';

/** Reads `INPUT_*` through `read`, as the runner gives them. */
export function readInputs(read: (name: string) => string, env: Env): Inputs {
  return readPluginInputs(read, {
    env,
    directory: directoryOf(env),
    job: jobLabel(env.GITHUB_JOB ?? '', read('matrix').trim() || 'null'),
    addressAdvice: `add env: CHAINLOOP_URL: $\{{ vars.CHAINLOOP_URL }}`,
  });
}

/** The checkout. */
export function directoryOf(env: Env): string {
  return env.GITHUB_WORKSPACE || process.cwd();
}

/** `build (arm64)`: what GitHub shows as the name of a job of a matrix. */
function jobLabel(job: string, matrix: string): string {
  const cell = values(matrix).map((value) => printable(value, 40));
  return printable(cell.length === 0 ? job : `${job} (${cell.join(', ')})`, limits.textLength - 1);
}

function values(matrix: string): string[] {
  try {
    const parsed: unknown = JSON.parse(matrix);
    if (typeof parsed !== 'object' || parsed === null) return [];
    return Object.values(parsed).flatMap((value) => (typeof value === 'object' ? [] : [String(value)]));
  } catch {
    return [];
  }
}
