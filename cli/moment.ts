import { ChainloopError } from '../core/errors.ts';
import { type Flag, text } from './command.ts';

const unitMs: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
const ago = /^([1-9]\d{0,5})([mhdw])$/;
/** RFC 3339, section 5.6: a date, alone or with a time and its offset. */
const instant = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d))?$/i;

/** A time: RFC 3339, a date (its beginning in UTC), or how long ago it was: `30m`, `24h`, `7d`, `2w`. ISO 8601 in UTC. */
export function moment(about: string): Flag<string | undefined> {
  const given = text('<time>', `${about}: 24h, 7d, or 2026-11-23T10:00:00Z`);
  const read = (value: unknown, long: string): string | undefined => {
    const word = given.read(value, long);
    if (word === undefined) return undefined;
    const [, count, unit = ''] = ago.exec(word) ?? [];
    const at = count === undefined ? Date.parse(instant.test(word) ? word : '') : Date.now() - Number(count) * (unitMs[unit] ?? 0);
    if (!Number.isNaN(at)) return new Date(at).toISOString();
    throw new ChainloopError(
      'USAGE',
      `--${long}: '${word.slice(0, 50)}' is no time; write how long ago (30m, 24h, 7d, 2w), a date (2026-11-23), or 2026-11-23T10:00:00Z`,
    );
  };
  return { ...given, read };
}
