import type { JobClaims } from '../../core/claims.ts';
import type { BindingRow } from '../../db/bindings.ts';

/** One thing that a binding asks for, and what the token says. */
export type Condition = { readonly claim: string; readonly expected: string; readonly found: string; readonly holds: boolean };

/** All that this binding asks of a job, condition by condition; it lets the job in when every one holds. */
export function conditionsOf(binding: BindingRow, claims: JobClaims): readonly Condition[] {
  const conditions: Condition[] = [];
  const ask = (
    claim: string,
    expected: readonly string[],
    found: string | undefined,
    holds: (expected: string, found: string) => boolean,
  ) =>
    void conditions.push({
      claim,
      expected: expected.join(', '),
      found: found ?? 'absent',
      holds: found !== undefined && expected.some((one) => holds(one, found)),
    });

  if (binding.repositoryId === null || binding.ownerId === null) {
    // Pending: by name, until the first match fixes the ids. GitHub and GitLab do not tell letter case apart in names.
    ask('repository', [binding.repository], claims.repository, (a, b) => a.toLowerCase() === b.toLowerCase());
  } else {
    // Names are not looked at any more: a renamed repository is the same, and one that takes an old name is another.
    ask(words.repositoryId[claims.kind], [binding.repositoryId], claims.repositoryId, equal);
    ask(words.ownerId[claims.kind], [binding.ownerId], claims.ownerId, equal);
  }
  ask(words.ref[claims.kind], binding.refs, claims.ref, startsAs);
  ask(words.event[claims.kind], binding.events, claims.event, equal);
  if (binding.environment !== null) ask('environment', [binding.environment], claims.environment, equal);
  // Two conditions: a caller does not prove what it calls, and a reusable workflow does not prove who calls it.
  if (binding.workflowRef !== null)
    ask(words.workflow[claims.kind], [binding.workflowRef], claims.workflowPath ?? claims.workflowRef, equal);
  if (binding.jobWorkflowRef !== null) ask('job_workflow_ref', [binding.jobWorkflowRef], claims.jobWorkflowRef, startsAs);
  if (binding.runnerEnvironment !== null) ask('runner_environment', [binding.runnerEnvironment], claims.runnerEnvironment, equal);
  return conditions;
}

/** The claims as each kind of issuer calls them. */
const words = {
  repositoryId: { github: 'repository_id', gitlab: 'project_id' },
  ownerId: { github: 'repository_owner_id', gitlab: 'namespace_id' },
  ref: { github: 'ref', gitlab: 'ref_path' },
  event: { github: 'event_name', gitlab: 'pipeline_source' },
  workflow: { github: 'workflow_ref', gitlab: 'ci_config_ref_uri' },
} as const;

function equal(expected: string, found: string): boolean {
  return expected === found;
}

/** Only a `*` at the end means anything. */
function startsAs(expected: string, found: string): boolean {
  return expected.endsWith('*') ? found.startsWith(expected.slice(0, -1)) : expected === found;
}
