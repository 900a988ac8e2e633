import { cutText } from './width.ts';

/** Not more often than this: a terminal over a slow link is not flooded. */
const redrawMs = 100;

/** How far a long step is, on a terminal: one line that is drawn over itself. Elsewhere nothing. */
export type Count = {
  /** `1,234,567 of 2,000,000 rows` */
  update(what: string, count: number, total?: number): void;
  clear(): void;
};

export function startCount(
  stream: Pick<NodeJS.WriteStream, 'write' | 'isTTY' | 'columns'>,
  monotonicMs: () => number = () => performance.now(),
): Count {
  let drawnAt = Number.NEGATIVE_INFINITY;
  const group = (count: number): string => count.toLocaleString('en-US');
  return {
    update(what, count, total) {
      if (!stream.isTTY) return;
      const now = monotonicMs();
      if (now - drawnAt < redrawMs) return;
      drawnAt = now;
      const line = `${group(count)}${total === undefined ? '' : ` of ${group(total)}`} ${what}`;
      stream.write(`\r\x1b[K${cutText(line, (stream.columns ?? 80) - 1)}`);
    },
    clear() {
      if (drawnAt !== Number.NEGATIVE_INFINITY) stream.write('\r\x1b[K');
    },
  };
}
