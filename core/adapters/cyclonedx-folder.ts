import { readFile } from 'node:fs/promises';

const folder = new URL('res/schema/', import.meta.resolve('@cyclonedx/cyclonedx-library/package.json'));

/** The text of a schema of CycloneDX, by its file name. A bundle has them elsewhere: its build puts another file in the place of this one. */
export function schemaText(name: string): Promise<string> {
  return readFile(new URL(name, folder), 'utf8');
}
