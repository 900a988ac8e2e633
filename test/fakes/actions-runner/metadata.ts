import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import * as z from 'zod';

/** GitHub refuses an action whose names or descriptions hold expressions; only defaults may ("Metadata syntax"). */
const Plain = z.string().refine((text) => !text.includes('${{'), 'must not contain an expression');

const Input = z.strictObject({
  description: Plain,
  required: z.boolean().optional(),
  default: z.union([z.string(), z.number(), z.boolean()]).transform(String).optional(),
  deprecationMessage: z.string().optional(),
});

/** action.yml of a JavaScript action. Strict: a runner ignores what it does not know, which hides typing errors. */
export const ActionMetadata = z.strictObject({
  name: Plain,
  description: Plain.max(125),
  author: z.string().optional(),
  inputs: z.record(z.string().regex(/^[a-zA-Z_][\w-]*$/), Input).default({}),
  outputs: z.record(z.string().regex(/^[a-zA-Z_][\w-]*$/), z.strictObject({ description: Plain })).default({}),
  runs: z.strictObject({
    // Node 20 has gone from the runners in September 2026.
    using: z.literal('node24'),
    main: z.string(),
    post: z.string().optional(),
    'post-if': z.string().optional(),
  }),
  branding: z.strictObject({ icon: z.string(), color: z.string() }).optional(),
});
export type ActionMetadata = z.infer<typeof ActionMetadata>;

/** The action of a folder. Throws when its metadata is malformed, or names a program that is not there. */
export async function readAction(folder: string): Promise<ActionMetadata> {
  const path = ['action.yml', 'action.yaml'].map((name) => join(folder, name)).find(existsSync);
  if (path === undefined) throw new Error(`Can't find 'action.yml' or 'action.yaml' under '${folder}'`);
  const metadata = ActionMetadata.parse(parse(await readFile(path, 'utf8')));
  for (const program of [metadata.runs.main, metadata.runs.post]) {
    if (program !== undefined && !existsSync(join(folder, program))) throw new Error(`${path}: File not found: '${program}'`);
  }
  return metadata;
}
