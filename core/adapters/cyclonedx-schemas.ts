import { Ajv, type ErrorObject } from 'ajv';
import { fullFormats } from 'ajv-formats/dist/formats.js';
import * as z from 'zod';
import type { Problem } from '../errors.ts';
import { printable } from '../source/place.ts';
import { schemaText } from './cyclonedx-folder.ts';

const Schema = z.record(z.string(), z.unknown());
const origin = 'http://cyclonedx.org/schema/';

/**
 * What breaks the JSON Schema of a version of CycloneDX (1.2 to 1.7), as its specification publishes it, with two exceptions that keep
 * real documents valid: any well-formed SPDX licence id is one (the list grows without CycloneDX), and references are not parsed.
 * Every problem of a document of ordinary size; of a very large one the first, and those of its beginning.
 */
export async function cyclonedxProblems(version: string, document: unknown): Promise<readonly Problem[]> {
  const [schema, signatures, cryptography] = await Promise.all([
    read(`bom-${version}.SNAPSHOT.schema.json`),
    read('jsf-0.82.SNAPSHOT.schema.json'),
    read('cryptography-defs.SNAPSHOT.schema.json'),
  ]);
  const compile = (allErrors: boolean) => {
    const ajv = new Ajv({
      strict: false,
      allErrors,
      schemas: {
        [`${origin}jsf-0.82.SNAPSHOT.schema.json`]: signatures,
        [`${origin}cryptography-defs.SNAPSHOT.schema.json`]: cryptography,
        [`${origin}spdx.SNAPSHOT.schema.json`]: { type: 'string', pattern: '^[A-Za-z0-9.+-]+$' },
      },
      formats: {
        date: fullFormats.date,
        'date-time': fullFormats['date-time'],
        'idn-email': /^[^\s@]+@[^\s@]+$/,
        'iri-reference': true,
        uri: true,
      },
    });
    // The compiler's own compares every item with every other: 216 s for 20,000 components, where this takes less than one.
    ajv.removeKeyword('uniqueItems').addKeyword({
      keyword: 'uniqueItems',
      type: 'array',
      schemaType: 'boolean',
      validate: (unique: boolean, items: readonly unknown[]) => !unique || areUnique(items),
      error: { message: 'has an item twice' },
    });
    return ajv.compile(schema);
  };
  const validate = compile(false);
  if (validate(document)) return [];
  // Collecting errors costs the square of their number, so that all of them are looked for in a sample.
  const validateAll = compile(true);
  validateAll(sampleOf(document, { values: 20_000 }));
  return problemsOf([...(validate.errors ?? []), ...(validateAll.errors ?? [])]);
}

/** The beginning of a document: as many values as the budget has. */
function sampleOf(value: unknown, budget: { values: number }): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const isList = Array.isArray(value);
  const members: [string, unknown][] = [];
  for (const [key, member] of Object.entries(value)) {
    if (--budget.values < 0) break;
    members.push([key, sampleOf(member, budget)]);
  }
  return isList ? members.map(([, member]) => member) : Object.fromEntries(members);
}

async function read(name: string): Promise<Readonly<Record<string, unknown>>> {
  return Schema.parse(JSON.parse(await schemaText(name)));
}

/** Items that differ in the order of their keys alone pass for different: no reader is misled by that. */
function areUnique(items: readonly unknown[]): boolean {
  return new Set(items.map((item) => JSON.stringify(item))).size === items.length;
}

/** Keywords that only say that something inside them failed, which is said on its own. */
const summaries = new Set(['oneOf', 'anyOf', 'if']);

function problemsOf(errors: readonly ErrorObject[]): readonly Problem[] {
  const details = errors.filter(({ keyword }) => !summaries.has(keyword));
  const seen = new Map<string, Problem>();
  for (const error of details.length > 0 ? details : errors) {
    const path = pathOf(error.instancePath);
    const message = messageOf(error);
    seen.set(`${path} ${message}`, { message, ...(path === '' ? {} : { path }) });
  }
  return [...seen.values()];
}

function messageOf({ keyword, message, params }: ErrorObject): string {
  if (keyword === 'additionalProperties') return `unknown key '${printable(String(params.additionalProperty))}'`;
  if (keyword === 'enum' && Array.isArray(params.allowedValues) && params.allowedValues.length <= 20)
    return `must be one of ${params.allowedValues.join(', ')}`;
  if (keyword === 'const') return `must be ${String(params.allowedValue)}`;
  return message ?? `breaks the rule '${keyword}'`;
}

/** JSON pointer (RFC 6901) to `components[0].name`. */
function pathOf(pointer: string): string {
  const steps = pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
  return steps.map((step, index) => (/^\d+$/.test(step) ? `[${step}]` : `${index === 0 ? '' : '.'}${printable(step)}`)).join('');
}
