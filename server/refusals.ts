import { limits } from '../core/limits.ts';
import type { Log } from './log.ts';

/**
 * Writes down a refusal, unless the same (by its key) was written down lately, or there were too many others of `whose` credential it was: an organization, a
 * person, or the owner. Nobody waits for it.
 */
export type Refusals = (whose: string, key: string, write: () => Promise<void>) => void;

/** What somebody whom we know was refused is in the audit log too. Bounded for each: who is refused for ever fills nothing, and hides nobody else. */
export function createRefusals({ log, now }: { readonly log: Log; readonly now: () => Date }): Refusals {
  const writtenBy = new Map<string, Map<string, number>>();
  return (whose, key, write) => {
    const at = now().getTime();
    const written = writtenBy.get(whose) ?? new Map<string, number>();
    writtenBy.set(whose, written);
    // The oldest are first.
    for (const [other, since] of written) {
      if (at - since < limits.refusalEveryMs) break;
      written.delete(other);
    }
    if (written.has(key) || written.size >= limits.refusals) return;
    written.set(key, at);
    write().catch((error: unknown) => log.warn({ error }, 'a refusal could not be written to the audit log'));
  };
}
