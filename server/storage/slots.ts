import { ChainloopError } from '../../core/errors.ts';

/** So many at once; others wait in turn. */
export type Slots = {
  /** Takes a slot; what it answers gives it back. RATE_LIMITED when none was free for too long. */
  take(): Promise<() => void>;
};

export function createSlots(count: number, waitMs: number): Slots {
  let free = count;
  const waiting = new Set<() => void>();
  const release = (): void => {
    const [next] = waiting;
    if (next === undefined) free++;
    else {
      waiting.delete(next);
      next();
    }
  };
  return {
    async take() {
      if (free > 0) free--;
      else {
        await new Promise<void>((resolve, reject) => {
          const timer = setTimeout(() => {
            waiting.delete(enter);
            reject(new ChainloopError('RATE_LIMITED', `upload: ${count} others are under way on this server; try again later`));
          }, waitMs);
          const enter = (): void => {
            clearTimeout(timer);
            resolve();
          };
          waiting.add(enter);
        });
      }
      return release;
    },
  };
}
