import type { Contract } from '../contract.ts';
import type { CraftedMaterial, GitHead } from '../crafting.ts';
import { hexOf } from '../digest.ts';
import type { Subject } from './schema.ts';

// Apart from the rest of a statement, because the schema of that takes a while to load, and whoever asks what is missing needs only this.

/**
 * What an attestation of this evidence must be about: the commit, when there is one, and the output materials by contract name. A
 * STRING is never a subject: it is no artifact that anybody could hold against the attestation.
 */
export function expectedSubjects(materials: readonly CraftedMaterial[], contract: Contract, head: GitHead | undefined): Subject[] {
  const outputs = new Set(contract.materials.filter((material) => material.output).map((material) => material.name));
  const subjects = byName(materials).flatMap((material): Subject[] => {
    const { name, type, digest, fileName, tag } = material;
    if (!outputs.has(name) || type === 'STRING' || digest === undefined) return [];
    return [
      {
        name: fileName ?? name,
        digest: { sha256: hexOf(digest) },
        annotations: {
          'chainloop.material.name': name,
          'chainloop.material.type': type,
          ...present({ 'chainloop.material.image.tag': tag }),
        },
      },
    ];
  });
  return head === undefined ? subjects : [gitSubject(head), ...subjects];
}

function gitSubject(head: GitHead): Subject {
  const annotations = present({
    'author.name': head.authorName,
    'author.email': head.authorEmail,
    date: head.date,
    message: head.message,
    parents: head.parents === undefined ? undefined : [...head.parents],
    remotes: head.remotes.length === 0 ? undefined : [...head.remotes],
  });
  return {
    name: 'git.head',
    digest: head.commit.length === 40 ? { sha1: head.commit } : { gitCommit: head.commit },
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  };
}

/** In the order in which a statement has them. */
export function byName(materials: readonly CraftedMaterial[]): CraftedMaterial[] {
  return materials.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** The object without the keys that have no value: undefined, or an empty text. */
export function present<T extends object>(values: T): Present<T>;
export function present(values: object): object {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined && value !== ''));
}
