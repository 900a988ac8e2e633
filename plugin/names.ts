import { limits } from '../core/limits.ts';

/** What a repository, a project or a file is called in a CI system, as a name of ours; undefined when nothing of it can be kept. */
export function asName(text: string | undefined): string | undefined {
  const name = text
    ?.toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replace(/^-/, '')
    .slice(0, limits.nameLength)
    .replace(/-$/, '');
  return name === '' ? undefined : name;
}
