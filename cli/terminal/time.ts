const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const;

/** An instant as the tables show it, to the minute, in UTC: `28 Oct 22 21:02 UTC` (RFC 822). An unreadable one comes back as it is. */
export function formatTime(instant: string): string {
  const date = new Date(instant);
  if (Number.isNaN(date.getTime())) return instant;
  const two = (value: number) => String(value).padStart(2, '0');
  const day = `${two(date.getUTCDate())} ${months[date.getUTCMonth()]} ${two(date.getUTCFullYear() % 100)}`;
  return `${day} ${two(date.getUTCHours())}:${two(date.getUTCMinutes())} UTC`;
}

/** A duration with as many decimals of a second as asked for, without trailing zeros: `2.611108s`, `1m16s`, `1h0m3.5s`. */
export function formatDuration(durationMs: number, decimals: number): string {
  const scale = 10 ** decimals;
  const total = Math.round((Math.max(0, durationMs) / 1000) * scale);
  const seconds = total % (60 * scale);
  const minutes = Math.floor(total / (60 * scale));
  const secondsText = `${Number((seconds / scale).toFixed(decimals))}s`;
  if (minutes === 0) return secondsText;
  return minutes < 60 ? `${minutes}m${secondsText}` : `${Math.floor(minutes / 60)}h${minutes % 60}m${secondsText}`;
}

/** A size in decimal units, two decimals: `36.82MB`. Bytes are whole. */
export function formatSize(sizeBytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'] as const;
  let value = sizeBytes;
  let unit = 0;
  // 999.995 would print as 1000.00.
  while (value >= (unit === 0 ? 1000 : 999.995) && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return unit === 0 ? `${Math.round(value)}B` : `${value.toFixed(2)}${units[unit]}`;
}
