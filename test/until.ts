import { setTimeout as delay } from 'node:timers/promises';

/**
 * Waits until something is so, asking again and again. Throws when it is not so in time, with what was waited for: nothing in a test waits for ever.
 * For what cannot say by itself that it has happened; what can is awaited.
 */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  { withinMs = 60_000, everyMs = 5 }: { readonly withinMs?: number; readonly everyMs?: number } = {},
): Promise<void> {
  const endsAt = performance.now() + withinMs;
  while (!(await isSo())) {
    if (performance.now() > endsAt) throw new Error(`waited ${withinMs / 1000} s, and still not: ${what}`);
    await delay(everyMs);
  }
}
