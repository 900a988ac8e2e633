import type { AuditActor } from '../core/audit.ts';
import { limits } from '../core/limits.ts';
import { type CasBackendRow, currentOf, listCasBackends, recordCheck, takeDueCasBackends } from '../db/cas-backends.ts';
import type { Database } from '../db/client.ts';
import { systemActor } from './audit-actor.ts';
import type { Log } from './log.ts';
import type { Storages } from './storages.ts';

type Deps = { readonly database: Database; readonly log: Log; readonly now: () => Date };

/** Keeps what a check found, and logs when a backend begins or ends to fail, and where new evidence goes then. `by`: who asked for the check. */
export async function keepOutcome(
  { database, log, now }: Deps,
  backend: CasBackendRow,
  problem: string | null,
  by: AuditActor = systemActor('backend-check'),
): Promise<CasBackendRow> {
  const scope = database.scope(backend.organizationId, by);
  const kept = await recordCheck(scope, backend.name, problem, now());
  if (kept.status === backend.status) return kept;
  const current = currentOf(await listCasBackends(scope));
  const fields = { organizationId: backend.organizationId, backend: backend.name, newEvidenceGoesTo: current?.name };
  if (problem === null) log.info(fields, 'storage backend works again');
  else log.warn({ ...fields, problem }, 'storage backend does not work');
  return kept;
}

/** Checks what is due now, so much at a time; other servers check others. Answers how many there were. */
export async function validateDue(
  deps: Deps & { readonly storages: Pick<Storages, 'check'>; readonly signal?: AbortSignal | undefined },
): Promise<number> {
  const { database, storages, log, now, signal } = deps;
  const at = now();
  const due = await takeDueCasBackends(database.system, at, new Date(at.getTime() + limits.backendCheckEveryMs), limits.backendChecks);
  // The same bytes for a day: where nothing may be removed, checks must not pile up.
  const mark = at.toISOString().slice(0, 10);
  await Promise.all(
    due.map(async (backend) => {
      try {
        const problem = await storages.check(backend, mark);
        // A server that stops closes its storages: that is no fault of theirs.
        if (signal?.aborted !== true) await keepOutcome(deps, backend, problem?.message ?? null);
      } catch (error) {
        if (signal?.aborted !== true)
          log.warn({ error, backend: backend.name }, 'a storage backend could not be checked; tried again later');
      }
    }),
  );
  return due.length;
}

/** Checks storage backends when they are due, until it is closed. Jittered, so that several servers do not all come at once. */
export function startValidation(deps: Deps & { readonly storages: Storages }): { close(): void } {
  const closing = new AbortController();
  const { signal } = closing;
  let timer: NodeJS.Timeout;
  const run = async (): Promise<void> => {
    try {
      while ((await validateDue({ ...deps, signal })) === limits.backendChecks && !signal.aborted);
    } catch (error) {
      if (!signal.aborted) deps.log.warn({ error }, 'storage backends could not be checked; tried again later');
    }
    schedule();
  };
  const schedule = (): void => {
    if (!signal.aborted) timer = setTimeout(() => void run(), everyMs * (0.5 + Math.random())).unref();
  };
  schedule();
  return {
    close() {
      closing.abort();
      clearTimeout(timer);
    },
  };
}

/** How often is looked for what is due. */
const everyMs = 15_000;
