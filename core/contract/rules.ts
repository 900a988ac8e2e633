import * as z from 'zod';
import type { Finding } from '../source/place.ts';
import { credentialVariables } from '../vocabulary.ts';

/** What the rules look at. Never fails: what is malformed is the schema's to report, and absent here. */
const Loose = <T extends z.ZodType>(schema: T) => schema.optional().catch(undefined);
const Entries = <T extends z.ZodRawShape>(shape: T) => Loose(z.array(Loose(z.object(shape))));
const Annotations = Entries({ name: Loose(z.string()) });
const Outline = z.object({
  materials: Entries({
    type: Loose(z.string()),
    name: Loose(z.string()),
    optional: Loose(z.boolean()),
    output: Loose(z.boolean()),
    skipUpload: Loose(z.boolean()),
    group: Loose(z.string()),
    annotations: Annotations,
  }),
  envAllowList: Loose(z.array(Loose(z.string()))),
  annotations: Annotations,
});
type Outline = z.infer<typeof Outline>;
type Rule = (contract: Outline) => Finding[];

/** The rules that no single field can tell, in the order that they are documented in docs/contract.md. */
const rules: readonly Rule[] = [
  ({ materials }) =>
    repeated(
      materials?.map((material) => material?.name),
      (index) => ['materials', index, 'name'],
      'material',
    ),
  ({ envAllowList }) => repeated(envAllowList, (index) => ['envAllowList', index], 'variable'),
  ({ annotations }) => annotationRules(annotations, ['annotations']),
  ({ materials }) =>
    (materials ?? []).flatMap((material, index) => annotationRules(material?.annotations, ['materials', index, 'annotations'])),
  // A STRING stands in the statement itself: in-toto Statement v1 gives a subject a digest, and text has no file.
  onMaterials('output', (material) => material.type === 'STRING', 'a STRING cannot be an output; subjects have a digest'),
  onMaterials('skipUpload', (material) => material.type === 'STRING', 'a STRING is never uploaded; remove skipUpload'),
  onMaterials('skipUpload', (material) => material.type === 'CONTAINER_IMAGE', 'a CONTAINER_IMAGE is never uploaded; remove skipUpload'),
  onMaterials(
    'optional',
    (material) => material.group !== undefined,
    'a material of a group is optional already; remove optional, or the group',
  ),
  ({ materials }) => lonelyGroups(materials),
  ({ envAllowList }) => credentials(envAllowList),
];

/** Everything that is wrong between fields of a contract, given as it was read. */
export function crossFieldFindings(contract: unknown): Finding[] {
  const outline = Outline.safeParse(contract);
  return outline.success ? rules.flatMap((rule) => rule(outline.data)) : [];
}

type Material = NonNullable<NonNullable<Outline['materials']>[number]>;

function onMaterials(flag: 'output' | 'skipUpload' | 'optional', applies: (material: Material) => boolean, message: string): Rule {
  return ({ materials }) =>
    (materials ?? []).flatMap((material, index) =>
      material?.[flag] === true && applies(material) ? [{ message, path: ['materials', index, flag] }] : [],
    );
}

function repeated(names: readonly (string | undefined)[] | undefined, path: (index: number) => PropertyKey[], what: string): Finding[] {
  const first = new Map<string, number>();
  return (names ?? []).flatMap((name, index) => {
    if (name === undefined) return [];
    const before = first.get(name);
    if (before !== undefined)
      return [{ message: `the ${what} '${name.slice(0, 63)}' is there already, as number ${before + 1}`, path: path(index) }];
    first.set(name, index);
    return [];
  });
}

function annotationRules(annotations: Outline['annotations'], path: readonly PropertyKey[]): Finding[] {
  const names = annotations?.map((annotation) => annotation?.name);
  const reserved = (names ?? []).flatMap((name, index) =>
    name?.startsWith('chainloop.') ? [{ message: "names that begin with 'chainloop.' are reserved", path: [...path, index, 'name'] }] : [],
  );
  return [...repeated(names, (index) => [...path, index, 'name'], 'annotation'), ...reserved];
}

/** A group of one is a mistyped group: it would turn "one of" into "all of". */
function lonelyGroups(materials: Outline['materials']): Finding[] {
  const members = Map.groupBy((materials ?? []).entries(), ([, material]) => material?.group);
  return [...members].flatMap(([group, entries]) => {
    const only = entries[0];
    if (group === undefined || only === undefined || entries.length > 1) return [];
    return [
      {
        message: `the group '${group.slice(0, 63)}' has one material; put another one into it, or remove it`,
        path: ['materials', only[0], 'group'],
      },
    ];
  });
}

/** The allow list copies values into a signed statement that others read. */
function credentials(envAllowList: Outline['envAllowList']): Finding[] {
  return (envAllowList ?? []).flatMap((name, index) =>
    name !== undefined && credentialVariables.includes(name)
      ? [
          {
            message: `${name} is a credential, and everything listed here is published in the attestation; remove it`,
            path: ['envAllowList', index],
          },
        ]
      : [],
  );
}
