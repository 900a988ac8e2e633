import { desc, eq, isNull, sql } from 'drizzle-orm';
import type { RunnerType } from '../core/names.ts';
import type { SystemScope } from './client.ts';
import { organizations, projects, runnerCounts, workflows } from './schema.ts';

/** The runs of one workflow, by state. */
export type WorkflowCounts = {
  readonly organization: string;
  readonly project: string;
  readonly workflow: string;
  readonly initialized: number;
  readonly success: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly expired: number;
};

/** Run counts of the workflows with most runs, at most `limit` of them: a scrape has bounded size. Counters, never a count of rows. */
export function countRuns(system: SystemScope, limit: number): Promise<WorkflowCounts[]> {
  return system.read((tx) =>
    tx
      .select({
        organization: sql<string>`${organizations.name}`.as('organization'),
        project: sql<string>`${projects.name}`.as('project'),
        workflow: workflows.name,
        initialized: workflows.runsInitialized,
        success: workflows.runsSuccess,
        failed: workflows.runsFailed,
        cancelled: workflows.runsCancelled,
        expired: workflows.runsExpired,
      })
      .from(workflows)
      .innerJoin(projects, eq(projects.id, workflows.projectId))
      .innerJoin(organizations, eq(organizations.id, workflows.organizationId))
      .where(isNull(workflows.deletedAt))
      .orderBy(desc(workflows.runsCount))
      .limit(limit),
  );
}

/** Run counts by runner, per organization, at most `limit` of them: those with most runs. An unrecognised runner is the empty text. */
export function countRunners(
  system: SystemScope,
  limit: number,
): Promise<{ readonly organization: string; readonly runnerType: RunnerType | ''; readonly runs: number }[]> {
  return system.read((tx) =>
    tx
      .select({
        organization: organizations.name,
        runnerType: runnerCounts.runnerType,
        runs: sql<number>`sum(${runnerCounts.runs})::int`,
      })
      .from(runnerCounts)
      .innerJoin(organizations, eq(organizations.id, runnerCounts.organizationId))
      .groupBy(organizations.name, runnerCounts.runnerType)
      .orderBy(sql`sum(${runnerCounts.runs}) desc`)
      .limit(limit),
  );
}
