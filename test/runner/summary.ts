import type { FileResult } from './run-files.ts';

const slowest = 10;

/** The end of a run, in the order of a reader's interest from the bottom: what failed, what was skipped, what took long. */
export function summary(results: readonly FileResult[], seconds: number): string {
  const slow = results.toSorted((one, other) => other.seconds - one.seconds).slice(0, slowest);
  const skipped = results.flatMap((result) => result.skipped);
  const failures = results.flatMap((result) => result.failures);
  const failed = results.filter((result) => result.failures.length > 0);
  return [
    `\n${results.length} files in ${seconds.toFixed(0)} s; the slowest:\n`,
    ...slow.map(({ file, seconds }) => `  ${seconds.toFixed(1).padStart(6)} s  ${file}\n`),
    ...(skipped.length === 0 ? [] : [`\n${skipped.length} TESTS WERE SKIPPED:\n`, ...skipped.map((line) => `  ${line}\n`)]),
    ...(failures.length === 0
      ? []
      : [`\n${failures.length} FAILURES in ${failed.length} files:\n`, ...failures.map((text) => `\n✖ ${text}\n`)]),
    failures.length === 0 ? '\nall tests passed\n' : '',
  ].join('');
}
