import { and, eq, type Placeholder, type SQL, sql } from 'drizzle-orm';
import { type Digest, hexOf } from '../core/digest.ts';
import type { RunnerType, RunState } from '../core/names.ts';
import { runStates } from '../core/vocabulary.ts';
import { afterPlace, type Page } from './page.ts';
import { projectNamed } from './projects.ts';
import { contractRevisions, contracts, runnerCounts, runnerKind, runs, workflows } from './schema.ts';
import type { Asked } from './statement.ts';

/** What is given narrows the list: all of it must hold. */
export type RunFilter = {
  readonly workflowId?: string | undefined;
  /** Says nothing beside `workflowId`. */
  readonly project?: string | undefined;
  /** Judged by any revision of the contract of this name, or by one whose content has this digest. */
  readonly contract?: { readonly name: string } | { readonly digest: Digest } | undefined;
  readonly state?: RunState | undefined;
  /** The empty text: no CI system was recognised. */
  readonly runner?: RunnerType | '' | undefined;
  /** In hex. */
  readonly commit?: string | undefined;
  /** Opened at this time or later, and before that one (ISO 8601). */
  readonly since?: string | undefined;
  readonly until?: string | undefined;
};

// Names are text here: what drizzle takes to write a page of columns is a tenth of what the page takes.
const newest = sql`order by runs.created_at desc, runs.id desc limit`;

/**
 * The runs of a page. All of the organization, of a workflow or of a commit lie in order in an index, and a page reads a page of it. Other
 * runs lie in several such places, each in order: one for each workflow (of the project or contract), state and CI system that there is. A
 * page can hold runs of those places alone whose newest run is among the newest of all: first these are found, then their runs.
 */
export function pageOfRuns(organizationId: Placeholder, asked: Asked<Placeholder>, few: SQL): SQL {
  const { workflowId, project, state, runner, commit, since, until } = asked;
  const contract = asked.contractName ?? asked.contractDigest;
  const within = all(
    sql`runs.org_id = ${organizationId}`,
    since && sql`runs.created_at >= ${since}::timestamptz`,
    until && sql`runs.created_at < ${until}::timestamptz`,
    afterPlace(runs, asked),
  );
  if (commit !== undefined || [project, contract, state, runner].every((given) => given === undefined)) {
    const some = all(
      within,
      workflowId === undefined || commit !== undefined ? undefined : sql`runs.workflow_id = ${workflowId}`,
      commit && sql`runs.head_commit = ${commit}`,
      // The runs of a commit are looked at one by one; an index could give those of the workflow (`is not distinct from` has none).
      workflowId === undefined || commit === undefined ? undefined : sql`runs.workflow_id is not distinct from ${workflowId}`,
      project === undefined || workflowId !== undefined ? undefined : sql`runs.workflow_id in ${workflowsOf(organizationId, project)}`,
      contract && sql`runs.contract_revision_id in ${revisionsOf(organizationId, asked)}`,
      state && sql`runs.state = ${state}`,
      runner && sql`${runnerKind(runs)} = ${runner}`,
    );
    return sql`select * from runs where ${some} ${newest} ${few}`;
  }
  const byKind = [contract, state, runner].some((given) => given !== undefined);
  const at = (place: SQL): SQL | undefined =>
    all(
      contract && sql`runs.contract_revision_id = ${place}.contract_revision_id`,
      (contract ?? workflowId ?? project) === undefined ? undefined : sql`runs.workflow_id = ${place}.workflow_id`,
    );
  const ofKind = (place: SQL): SQL | undefined =>
    all(at(place), byKind ? sql`runs.state = ${place}.state and ${runnerKind(runs)} = ${place}.runner` : undefined);
  return sql`with recursive ${placesOf(organizationId, asked)}, ${byKind ? kindsOf(organizationId, asked) : sql`kind as (select * from place)`}
    select runs.* from (
      select kind.* from kind, lateral (
        select created_at, id from runs where ${all(within, ofKind(sql`kind`))} ${newest} 1
      ) latest order by latest.created_at desc, latest.id desc limit ${few}
    ) active, lateral (
      select * from runs where ${all(within, ofKind(sql`active`))} ${newest} ${few}
    ) runs ${newest} ${few}`;
}

/** The filter, flat. */
export function asked({ contract, ...given }: Page & RunFilter): Asked<string> & Page {
  if (contract === undefined) return given;
  return 'name' in contract ? { ...given, contractName: contract.name } : { ...given, contractDigest: hexOf(contract.digest) };
}

/** All that is given must hold. */
function all(...conditions: (SQL | undefined)[]): SQL | undefined {
  const given = conditions.filter((condition) => condition !== undefined);
  return given.length === 0 ? undefined : sql.join(given, sql` and `);
}

/** `place`: the workflows that are asked for, and of a contract its revisions, each with the workflows that have runs of it. */
function placesOf(organizationId: Placeholder, asked: Asked<Placeholder>): SQL {
  const { workflowId, project } = asked;
  const workflow = sql`${workflowId ?? null}::uuid as workflow_id`;
  const ofProject = project === undefined ? undefined : workflowsOf(organizationId, project);
  if ((asked.contractName ?? asked.contractDigest) === undefined) {
    if (workflowId !== undefined || ofProject === undefined) return sql`place as (select null::uuid as contract_revision_id, ${workflow})`;
    return sql`place as (select null::uuid as contract_revision_id, workflow_id from ${ofProject} ours)`;
  }
  const revisions = revisionsOf(organizationId, asked);
  if (workflowId !== undefined) return sql`place as (select contract_revision_id, ${workflow} from ${revisions} revision)`;
  const first = (revision: SQL, rest: SQL) =>
    sql`lateral (select workflow_id from ${runs} where ${eq(runs.organizationId, organizationId)}
      and contract_revision_id = ${revision}.contract_revision_id ${rest} order by workflow_id limit 1) first`;
  return sql`pair as (
      select contract_revision_id, first.workflow_id from ${revisions} revision, ${first(sql`revision`, sql``)}
      union all
      select contract_revision_id, first.workflow_id from pair, ${first(sql`pair`, sql`and workflow_id > pair.workflow_id`)}
    ), place as (select * from pair ${ofProject === undefined ? sql`` : sql`where workflow_id in ${ofProject}`})`;
}

/** `kind`: each place with the states, and with the CI systems that it has runs of. */
function kindsOf(
  organizationId: Placeholder,
  { workflowId, project, contractName, contractDigest, state, runner }: Asked<Placeholder>,
): SQL {
  const states = (state === undefined ? runStates : [state]).map((word) => sql`(${word}::text)`);
  const places = sql`place, (values ${sql.join(states, sql`, `)}) wanted (state)`;
  if (runner !== undefined) return sql`kind as (select place.*, wanted.state, ${runner}::text as runner from ${places})`;
  if ((workflowId ?? project ?? contractName ?? contractDigest) !== undefined) {
    const counted = sql`${runnerCounts.organizationId} = ${organizationId} and ${runnerCounts.workflowId} = place.workflow_id`;
    return sql`kind as (select place.*, wanted.state, runner_type as runner from ${places}, ${runnerCounts} where ${counted})`;
  }
  // Of the whole organization: one after the other in the index.
  const first = (there: SQL, rest?: SQL) =>
    sql`lateral (select ${runnerKind(runs)} as runner from ${runs}
      where ${and(eq(runs.organizationId, organizationId), sql`${runs.state} = ${there}`, rest)} order by ${runnerKind(runs)} limit 1) first`;
  return sql`kind as (
      select place.*, wanted.state, first.runner from ${places}, ${first(sql`wanted.state`)}
      union all
      select contract_revision_id, workflow_id, state, first.runner from kind, ${first(sql`kind.state`, sql`${runnerKind(runs)} > kind.runner`)}
    )`;
}

function workflowsOf(organizationId: Placeholder, project: Placeholder): SQL {
  const own = and(eq(workflows.organizationId, organizationId), eq(workflows.projectId, projectNamed(organizationId, project)));
  return sql`(select ${workflows.id} as workflow_id from ${workflows} where ${own})`;
}

function revisionsOf(organizationId: Placeholder, { contractName, contractDigest }: Asked<Placeholder>): SQL {
  const which =
    contractDigest === undefined
      ? sql`${contractRevisions.contractId} in (select id from ${contracts} where org_id = ${organizationId} and name = ${contractName})`
      : sql`${contractRevisions.contentDigest} = decode(${contractDigest}, 'hex')`;
  const own = and(eq(contractRevisions.organizationId, organizationId), which);
  return sql`(select ${contractRevisions.id} as contract_revision_id from ${contractRevisions} where ${own})`;
}
