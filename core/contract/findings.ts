import * as z from 'zod';
import { limits } from '../limits.ts';
import { didYouMean } from '../nearest.ts';
import { type Finding, printable } from '../source/place.ts';

/** A finding, and whether it is about the key or about the value that its path names. */
export type SchemaFinding = Finding & { readonly of: 'key' | 'value' };

/** Everything that a schema says against a value, in words that say what to do. */
export function schemaFindings(schema: z.ZodType, value: unknown): SchemaFinding[] {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return [];
  return result.error.issues.flatMap((issue): SchemaFinding[] => {
    const path = issue.path;
    const say = (message: string): SchemaFinding[] => [{ message, path, of: 'value' }];
    switch (issue.code) {
      case 'unrecognized_keys': {
        const known = knownKeys(schema, path);
        // Guesses cost time, and no more than this many are shown.
        return issue.keys.map((key, index) => ({
          message: `unknown key '${printable(key)}'${index < limits.problems ? didYouMean(key, known) || `; known are ${known.join(', ')}` : ''}`,
          path: [...path, key],
          of: 'key',
        }));
      }
      case 'invalid_value': {
        const values = issue.values.map(String);
        if (issue.input === undefined) return say(`missing; it must be ${alternatives(values)}`);
        if (typeof issue.input !== 'string') return say(`must be ${alternatives(values)}, found ${nameOf(issue.input)}`);
        const guess = values.length > 1 ? didYouMean(issue.input, values) : '';
        return say(
          guess === ''
            ? `must be ${alternatives(values)}, found '${printable(issue.input)}'`
            : `unknown '${printable(issue.input)}'${guess}`,
        );
      }
      case 'invalid_type': {
        const wanted = typeNames.get(issue.expected) ?? issue.expected;
        if (issue.input === undefined) return say(`missing; it must be ${wanted}`);
        const quote =
          issue.expected === 'string' && (typeof issue.input === 'number' || typeof issue.input === 'boolean') ? '; put it in quotes' : '';
        return say(`must be ${wanted}, found ${nameOf(issue.input)}${quote}`);
      }
      case 'too_big':
        return say(issue.origin === 'array' ? `more than ${issue.maximum} entries` : `longer than ${issue.maximum} characters`);
      case 'invalid_format':
        return say(`'${printable(issue.input ?? '')}' ${issue.message}`);
      default:
        return say(issue.message);
    }
  });
}

const typeNames: ReadonlyMap<string, string> = new Map([
  ['string', 'text'],
  ['boolean', 'true or false'],
  ['array', 'a list'],
  ['object', 'a map of keys and values'],
]);

function nameOf(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a map of keys and values';
  return typeof value === 'string' ? `the text '${printable(value)}'` : `the ${typeof value} ${String(value)}`;
}

function alternatives(values: readonly string[]): string {
  return values.length === 1 ? `'${values.join()}'` : `one of ${values.join(', ')}`;
}

/** The keys that the schema knows at a path. */
function knownKeys(schema: z.ZodType | z.core.$ZodType, path: readonly PropertyKey[]): string[] {
  let here = bare(schema);
  for (const step of path) {
    if (here instanceof z.ZodArray && typeof step === 'number') here = bare(here.element);
    else if (here instanceof z.ZodObject && typeof step === 'string' && Object.hasOwn(here.shape, step)) here = bare(here.shape[step]);
    else return [];
  }
  return here instanceof z.ZodObject ? Object.keys(here.shape) : [];
}

function bare(schema: z.core.$ZodType): z.core.$ZodType {
  return schema instanceof z.ZodOptional || schema instanceof z.ZodDefault ? bare(schema.unwrap()) : schema;
}
