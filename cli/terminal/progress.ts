import { escapeText } from './escape.ts';
import { formatDuration, formatSize } from './time.ts';
import { cutText } from './width.ts';

const barCells = 18;
/** Not more often than this: a terminal over a slow link is not flooded. */
const redrawMs = 100;

/** How far a transfer is. Sizes in bytes; `elapsedMs` from a monotonic clock. */
export type Transfer = { readonly label: string; readonly doneBytes: number; readonly totalBytes: number; readonly elapsedMs: number };

/** `14.24% [##................] [5.24MB in 2.611108s; ~ETA: 16s; 2.01MB/s] ... name@sha256:…` */
export function progressLine({ label, doneBytes, totalBytes, elapsedMs }: Transfer): string {
  const share = totalBytes === 0 ? 1 : Math.min(1, doneBytes / totalBytes);
  const full = Math.floor(share * barCells);
  const bar = `${'#'.repeat(full)}${'.'.repeat(barCells - full)}`;
  const bytesPerMs = elapsedMs === 0 ? 0 : doneBytes / elapsedMs;
  const left = bytesPerMs === 0 ? '0s' : formatDuration((totalBytes - doneBytes) / bytesPerMs, 0);
  const eta = left === '0s' ? '' : `~ETA: ${left}; `;
  const figures = `${formatSize(doneBytes)} in ${formatDuration(elapsedMs, 6)}; ${eta}${formatSize(bytesPerMs * 1000)}/s`;
  return `${(share * 100).toFixed(2)}% [${bar}] [${figures}] ... ${escapeText(label)}`;
}

/** `name@sha256:… ... done! [36.82MB in 20.934s; 1.74MB/s]` */
export function doneLine({ label, totalBytes, elapsedMs }: Omit<Transfer, 'doneBytes'>): string {
  const rate = elapsedMs === 0 ? totalBytes * 1000 : (totalBytes / elapsedMs) * 1000;
  return `${escapeText(label)} ... done! [${formatSize(totalBytes)} in ${formatDuration(elapsedMs, 3)}; ${formatSize(rate)}/s]`;
}

/** One transfer as it is shown: `update` with what is sent so far, then `done`, or `clear` when it failed or was not needed. */
export type Progress = {
  update(doneBytes: number): void;
  done(label: string): void;
  clear(): void;
};

/**
 * Shows a transfer on the terminal: one line that is drawn over itself. Elsewhere only the last line is written, so that the log of
 * a CI job has one line for each file.
 */
export function startProgress(
  stream: Pick<NodeJS.WriteStream, 'write' | 'isTTY' | 'columns'>,
  transfer: { readonly label: string; readonly totalBytes: number },
  monotonicMs: () => number = () => performance.now(),
): Progress {
  const startedAt = monotonicMs();
  let drawnAt = Number.NEGATIVE_INFINITY;
  let drawn = false;
  const erase = () => {
    if (drawn) stream.write('\r\x1b[K');
    drawn = false;
  };
  return {
    update(doneBytes) {
      const now = monotonicMs();
      if (!stream.isTTY || now - drawnAt < redrawMs) return;
      drawnAt = now;
      const line = progressLine({ ...transfer, doneBytes, elapsedMs: now - startedAt });
      // A line that wraps could not be drawn over.
      stream.write(`\r\x1b[K${cutText(line, (stream.columns ?? 80) - 1)}`);
      drawn = true;
    },
    done(label) {
      erase();
      stream.write(`${doneLine({ label, totalBytes: transfer.totalBytes, elapsedMs: monotonicMs() - startedAt })}\n`);
    },
    clear: erase,
  };
}
