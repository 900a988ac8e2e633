import type { CraftedMaterial, Crafting } from '../core/crafting.ts';
import type { Table } from './terminal/table.ts';
import { formatTime } from './terminal/time.ts';

/** The boxes of `attestation init` and `attestation status`; with `full` also what was recorded for each material. */
export function craftingTables({ start, materials }: Crafting, { full }: { readonly full: boolean }): readonly Table[] {
  const { identity, contract, env } = start;
  const found = new Map(materials.map((material) => [material.name, material]));
  const annotations = materials.flatMap(({ name, annotations }) => Object.entries(annotations).map(([key, value]) => [name, key, value]));
  return [
    {
      rows: [
        ['Initialized At', formatTime(start.initializedAt)],
        'line',
        ['Workflow', start.dryRun ? 'none: this is a dry run' : identity.workflowId],
        ['Name', identity.workflowName],
        ['Team', identity.team],
        ['Project', identity.project],
        ['Contract Revision', identity.contractRevision === 0 ? '' : String(identity.contractRevision)],
      ],
    },
    {
      title: 'Materials',
      header: ['NAME', 'TYPE', 'SET', 'REQUIRED', 'IS OUTPUT', ...(full ? ['VALUE'] : [])],
      rows: contract.materials.map(({ name, type, optional, output, group }) => {
        const material = found.get(name);
        const required = group === undefined ? yesNo(!optional) : `one of ${group}`;
        return [name, type, yesNo(material !== undefined), required, output ? 'x' : '', ...(full ? [valueOf(material)] : [])];
      }),
    },
    ...(Object.keys(env).length === 0 ? [] : [{ title: 'Env Variables', rows: Object.entries(env) }]),
    ...(full && annotations.length > 0 ? [{ title: 'Annotations', header: ['MATERIAL', 'NAME', 'VALUE'], rows: annotations }] : []),
  ];
}

function yesNo(value: boolean): string {
  return value ? 'Yes' : 'No';
}

/** The text of a STRING, else `name@sha256:…`. */
function valueOf(material: CraftedMaterial | undefined): string {
  if (material === undefined) return '';
  return material.digest === undefined ? (material.value ?? '') : `${material.fileName ?? ''}@${material.digest}`;
}
