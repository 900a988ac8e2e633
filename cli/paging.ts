import { limits } from '../core/limits.ts';
import type { Paged } from '../core/wire.ts';
import { count, text } from './command.ts';
import type { Context } from './context.ts';

const defaultLimit = 50;

/** Options of every list. */
export const pageFlags = {
  limit: count('<n>', `at most so many (default ${defaultLimit})`),
  cursor: text('<cursor>', 'go on where the list before ended'),
};

/** As many items as were asked for, page by page. Says so when there are more. */
export async function collect<T>(
  context: Context,
  { limit = defaultLimit, cursor }: { readonly limit: number | undefined; readonly cursor: string | undefined },
  list: (page: { limit: number; cursor?: string }) => Promise<Paged<T>>,
): Promise<Paged<T>> {
  const items: T[] = [];
  let next = cursor;
  do {
    const page: Paged<T> = await list({
      limit: Math.min(limits.pageSize, limit - items.length),
      ...(next === undefined ? {} : { cursor: next }),
    });
    items.push(...page.items);
    next = page.nextCursor;
  } while (next !== undefined && items.length < limit);
  if (next !== undefined) context.log.info(`there are more; go on with --cursor ${next}, or ask for more with --limit`);
  return { items, nextCursor: next };
}
