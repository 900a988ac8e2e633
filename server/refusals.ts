import { limits } from '../core/limits.ts';
import type { Log } from './log.ts';

/** Writes down a refusal, unless the same (by its key) was written down lately, or there were too many others. Nobody waits for it. */
export type Refusals = (key: string, write: () => Promise<void>) => void;

/** What somebody whom we know was refused is in the audit log too. Bounded: whoever is refused for ever fills nothing. */
export function createRefusals({ log, now }: { readonly log: Log; readonly now: () => Date }): Refusals {
  const written = new Map<string, number>();
  return (key, write) => {
    const at = now().getTime();
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
