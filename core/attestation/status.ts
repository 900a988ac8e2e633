import { openProblems } from '../completeness.ts';
import { type Crafting, materialValue } from '../crafting.ts';
import type { Problem } from '../errors.ts';
import type { CraftingStore } from '../ports.ts';

export type Status = Crafting & {
  /** One for each material of the contract, in its order. */
  readonly checklist: readonly {
    readonly name: string;
    readonly type: string;
    readonly set: boolean;
    readonly required: boolean;
    readonly group?: string | undefined;
    readonly output: boolean;
    /** The text of a STRING, else `name@sha256:…`. */
    readonly value?: string | undefined;
    /** Which job brought it, where several share the attestation. */
    readonly job?: string | undefined;
  }[];
  /** Everything that still keeps `push` from signing. */
  readonly problems: readonly Problem[];
  /** Signed, and perhaps delivered: only push and reset go on from here. */
  readonly sealed: boolean;
  /** Sealed by a push that could not sign it: the next one does. */
  readonly unsigned: boolean;
};

/** What there is, what is missing, and what to do about it. NO_CRAFTING. */
export async function status(ports: { readonly store: CraftingStore }): Promise<Status> {
  const crafting = await ports.store.load();
  const found = new Map(crafting.materials.map((material) => [material.name, material]));
  const checklist = crafting.start.contract.materials.map(({ name, type, optional, group, output }) => {
    const material = found.get(name);
    return {
      name,
      type,
      set: material !== undefined,
      required: !optional && group === undefined,
      ...(group === undefined ? {} : { group }),
      output,
      ...(material === undefined ? {} : { value: materialValue(material) }),
      ...(crafting.jobs?.[name] === undefined ? {} : { job: crafting.jobs[name] }),
    };
  });
  const sealed = (await ports.store.sealed()) !== undefined;
  const unsigned = !sealed && (await ports.store.keptStatement()) !== undefined;
  return { ...crafting, checklist, problems: openProblems(crafting), sealed, unsigned };
}
