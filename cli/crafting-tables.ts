import type { Status } from '../core/attestation.ts';
import type { Table } from './terminal/table.ts';
import { formatTime } from './terminal/time.ts';

/** The boxes of `attestation init` and `attestation status`; with `full` also what was recorded for each material. */
export function craftingTables(
  { start, checklist, materials, sealed, unsigned }: Status,
  { full }: { readonly full: boolean },
): readonly Table[] {
  const { identity, contract, env } = start;
  const shared = checklist.some(({ job }) => job !== undefined);
  // What the CI system says of itself is recorded too, and shown with the run; here is what the contract asks for.
  const variables = contract.envAllowList.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]]));
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
        ...(contract.signing === undefined ? [] : [['Signing', contract.signing.join(' or ')]]),
        ...(sealed ? [['Signed', 'Yes']] : unsigned ? [['Signed', 'No: it is sealed, and waits for that']] : []),
      ],
    },
    {
      title: 'Materials',
      header: ['NAME', 'TYPE', 'SET', 'REQUIRED', 'IS OUTPUT', ...(full ? ['VALUE'] : []), ...(shared ? ['ADDED BY JOB'] : [])],
      rows: checklist.map(({ name, type, set, required, group, output, value, job }) => {
        const need = group === undefined ? yesNo(required) : `One of ${group}`;
        return [name, type, yesNo(set), need, output ? 'x' : '', ...(full ? [value ?? ''] : []), ...(shared ? [job ?? ''] : [])];
      }),
    },
    ...(variables.length === 0 ? [] : [{ title: 'Env Variables', rows: variables }]),
    ...(full && annotations.length > 0 ? [{ title: 'Annotations', header: ['MATERIAL', 'NAME', 'VALUE'], rows: annotations }] : []),
  ];
}

/** The same for scripts. */
export function craftingJson({ start, checklist, problems, sealed, unsigned }: Status): unknown {
  const { identity, contract, runner, env, annotations, initializedAt, dryRun, head } = start;
  return {
    ...identity,
    initializedAt,
    dryRun,
    runner,
    env,
    annotations,
    commit: head?.commit ?? null,
    materials: checklist,
    problems,
    signing: contract.signing ?? ['key', 'keyless', 'sigstore'],
    sealed,
    unsigned,
  };
}

function yesNo(value: boolean): string {
  return value ? 'Yes' : 'No';
}
