import type { Contract } from './contract.ts';
import type { Problem } from './errors.ts';
import { limits } from './limits.ts';
import { didYouMean } from './nearest.ts';
import { printable } from './source/place.ts';

type Wanted = Contract['annotations'];
type Given = Readonly<Record<string, string>>;

/** What was given, and what the contract fixes: nobody has to repeat a value that the contract already says. */
export function withFixed(wanted: Wanted, given: Given): Record<string, string> {
  const fixed = wanted.filter(({ name, value }) => value !== '' && !Object.hasOwn(given, name));
  return Object.fromEntries([...Object.entries(given), ...fixed.map(({ name, value }) => [name, value] as const)]);
}

/** Given annotations that the contract does not have, or has with another value; and values that are too large. */
export function wrongAnnotations(what: string, wanted: Wanted, given: Given): Problem[] {
  return Object.entries(given).flatMap(([name, value]) => {
    const entry = wanted.find((candidate) => candidate.name === name);
    if (entry === undefined) {
      const names = wanted.map((candidate) => candidate.name);
      const known = names.length === 0 ? 'it has none' : `it has: ${names.join(', ')}`;
      return [{ message: `${what}: the contract has no annotation '${printable(name)}' here (${known})${didYouMean(name, names)}` }];
    }
    if (entry.value !== '' && entry.value !== value) {
      return [{ message: `${what}: annotation '${name}' must be '${printable(entry.value)}', as the contract fixes it; leave it out` }];
    }
    if (Buffer.byteLength(value) > limits.stringValueSizeBytes) {
      return [{ message: `${what}: annotation '${name}' is larger than ${limits.stringValueSizeBytes} bytes` }];
    }
    return [];
  });
}

/** Annotations that are not there. `remedy` says how to give the one of that name. */
export function missingAnnotations(what: string, wanted: Wanted, given: Given, remedy: (name: string) => string): Problem[] {
  return wanted
    .filter(({ name }) => !Object.hasOwn(given, name) || given[name] === '')
    .map(({ name }) => ({ message: `${what}: annotation '${name}' is required; ${remedy(name)}` }));
}
