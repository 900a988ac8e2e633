import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import * as z from 'zod';

// What GitLab's documentation says of a component: CI/CD YAML syntax reference, "spec:inputs"; CI/CD components.

const text = z.string().min(1);
const Input = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('string').default('string'),
    description: text,
    default: z.string().optional(),
    options: z.array(z.string()).min(2).max(50).optional(),
    regex: z.string().optional(),
  }),
  z.strictObject({ type: z.literal('array'), description: text, default: z.array(z.unknown()).optional() }),
]);
export type Input = z.infer<typeof Input>;

const Header = z.strictObject({ spec: z.strictObject({ inputs: z.record(z.string().regex(/^[a-z]+(-[a-z]+)*$/), Input) }) });

export type Template = {
  readonly name: string;
  readonly inputs: Readonly<Record<string, Input>>;
  /** Jobs by their names, with interpolation as it is written. */
  readonly jobs: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
};

const root = join(import.meta.dirname, '..', '..');

/** The components of gitlab-component/. Throws where one is not what GitLab takes. */
export const templates: readonly Template[] = globSync('gitlab-component/templates/*/template.yml', { cwd: root })
  .toSorted()
  .map((file) => {
    const [header, body, ...more] = parseAllDocuments(readFileSync(join(root, file), 'utf8'), { uniqueKeys: true });
    if (header === undefined || body === undefined || 'empty' in header || more.length > 0)
      throw new Error(`${file} is not a header and a body`);
    for (const { errors } of [header, body]) if (errors[0] !== undefined) throw errors[0];
    return {
      name: file.split('/').at(-2) ?? '',
      inputs: Header.parse(header.toJS()).spec.inputs,
      jobs: z.record(z.string(), z.record(z.string(), z.unknown())).parse(body.toJS()),
    };
  });
