import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Machine } from './machine.ts';

/** Something that `uses:` can name: a repository, checked out at any ref, or a stand-in for an action of somebody else. */
export type ActionSource = { readonly type: 'repository'; readonly root: string } | { readonly type: 'stand-in'; readonly run: StandIn };

/** Does what the real action would do, as far as the tests need it; returns its outputs. Throws to fail the step. */
export type StandIn = (step: {
  readonly inputs: Readonly<Record<string, string>>;
  readonly machine: Machine;
  readonly say: (line: string) => void;
}) => Promise<Readonly<Record<string, string>>>;

/** By `owner/repository`. */
export type ActionSources = Readonly<Record<string, ActionSource>>;

/** Where a step's action is. `home` is the repository of the workflow that names it, which `$/path` means. */
export function findAction(
  uses: string,
  sources: ActionSources,
  machine: Machine,
  home: string | undefined,
):
  | { readonly type: 'folder'; readonly folder: string; readonly ref: string; readonly repository: string }
  | { readonly type: 'stand-in'; readonly run: StandIn } {
  if (uses.startsWith('./')) return folderOf(join(machine.workspace, uses), '', '');
  if (uses.startsWith('$/')) {
    if (home === undefined) throw new Error(`${uses}: the repository of the workflow is not known`);
    return folderOf(join(home, uses.slice(2)), '', '');
  }
  const [, repository = '', path = '', ref = ''] = /^([\w.-]+\/[\w.-]+)(\/[^@]+)?@(.+)$/.exec(uses) ?? [];
  const source = sources[repository];
  if (source === undefined) throw new Error(`Unable to resolve action '${uses}', repository not found`);
  return source.type === 'stand-in' ? source : folderOf(join(source.root, path), ref, repository);
}

function folderOf(folder: string, ref: string, repository: string) {
  if (!existsSync(folder))
    throw new Error(`Can't find an action under '${folder}'. Did you forget to run actions/checkout before running your local action?`);
  return { type: 'folder' as const, folder, ref, repository };
}
