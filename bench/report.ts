import type { Pairs, Spread } from './measure.ts';

/** Some measured values of one thing. */
export type Figure = Spread & { readonly unit: 's' | 'ms' | 'B' | '/s' };

/** What has to hold for the median of the ratios, or for our own figure. */
export type Goal = { readonly of: 'ratio' | 'ours'; readonly atMost: number } | { readonly of: 'ratio' | 'ours'; readonly atLeast: number };

export type Row =
  | {
      readonly type: 'measured';
      readonly name: string;
      readonly ours: Figure;
      readonly reference?: (Figure & { readonly name: string }) | undefined;
      /** Ours / reference, pair by pair. */
      readonly ratio?: Spread | undefined;
      readonly goal?: Goal | undefined;
      readonly note?: string | undefined;
    }
  | { readonly type: 'skipped'; readonly name: string; readonly missing: readonly string[] }
  /** What broke off before it had a figure. */
  | { readonly type: 'failed'; readonly name: string; readonly reason: string };

export type Verdict = 'met' | 'missed' | 'noisy' | 'no goal' | 'skipped' | 'failed';

/** A row from pairs of one unit. */
export function compared(
  name: string,
  { ours, reference, ratio }: Pairs,
  rest: { readonly unit: Figure['unit']; readonly reference: string; readonly goal?: Goal | undefined; readonly note?: string | undefined },
): Row {
  const { unit, goal, note } = rest;
  return {
    type: 'measured',
    name,
    ours: { ...ours, unit },
    reference: { ...reference, unit, name: rest.reference },
    ratio,
    goal,
    note,
  };
}

/** Whether the goal was met. A reference that alone spreads more than 2x says nothing about us. */
export function verdict(row: Row): Verdict {
  if (row.type !== 'measured') return row.type;
  if (row.reference !== undefined && row.reference.max > 2 * row.reference.min) return 'noisy';
  if (row.goal === undefined) return 'no goal';
  return shortfall(row) <= 0 ? 'met' : 'missed';
}

/** By which share of its goal a row falls short: 0.2 is a fifth too slow or too large. Not above 0 where the goal is met. */
export function shortfall(row: Row): number {
  if (row.type !== 'measured' || row.goal === undefined) return Number.NaN;
  const { goal, ours, ratio } = row;
  const value = goal.of === 'ours' ? ours.median : (ratio?.median ?? Number.NaN);
  return 'atMost' in goal ? value / goal.atMost - 1 : 1 - value / goal.atLeast;
}

const widths = { what: 38, ours: 10, reference: 21, ratio: 17, goal: 8 } as const;

/** The rows as text of at most 100 columns. */
export function table(rows: readonly Row[]): string {
  return [
    line('WHAT', 'OURS', 'REFERENCE', 'RATIO (MIN-MAX)', 'GOAL', ''),
    ...rows.map((row) => {
      if (row.type === 'skipped') return line(row.name, 'SKIPPED', `not installed: ${row.missing.join(', ')}`, '', '', '');
      if (row.type === 'failed') return line(row.name, 'FAILED', row.reason, '', '', '');
      const { name, ours, reference, ratio, goal, note } = row;
      return line(
        note === undefined ? name : `${name} (${note})`,
        text(ours.median, ours.unit),
        reference === undefined ? '' : `${text(reference.median, reference.unit)} ${reference.name}`,
        ratioText(ratio),
        goalText(row),
        goal === undefined && verdict(row) !== 'noisy' ? '' : verdict(row),
      );
    }),
  ].join('');
}

/** `<= 1.30`, or nothing. */
export function goalText(row: Row): string {
  if (row.type !== 'measured' || row.goal === undefined) return '';
  const { goal, ours } = row;
  const [sign, value] = 'atMost' in goal ? ['<=', goal.atMost] : ['>=', goal.atLeast];
  return `${sign} ${goal.of === 'ours' ? text(value, ours.unit) : short(value)}`;
}

/** `1.20 (1.10-1.40)`, or nothing. */
export function ratioText(ratio: Spread | undefined): string {
  return ratio === undefined ? '' : `${short(ratio.median)} (${short(ratio.min)}-${short(ratio.max)})`;
}

/** One row, its cells wrapped at words. */
function line(what: string, ours: string, reference: string, ratio: string, goal: string, met: string): string {
  const cells = [
    wrapped(what, widths.what),
    wrapped(ours, widths.ours),
    wrapped(reference, widths.reference),
    wrapped(ratio, widths.ratio),
    wrapped(goal, widths.goal),
    [met],
  ];
  const columns = [...Object.values(widths), 0];
  const height = Math.max(...cells.map((cell) => cell.length));
  return Array.from(
    { length: height },
    (_, index) =>
      `${cells
        .map((cell, column) => (cell[index] ?? '').padEnd(columns[column] ?? 0))
        .join(' ')
        .trimEnd()}\n`,
  ).join('');
}

function wrapped(value: string, width: number): string[] {
  const lines = [''];
  for (const word of value.split(' ')) {
    const last = lines.at(-1) ?? '';
    if (last !== '' && last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`;
  }
  return lines;
}

/** A value with its unit, as people say it. */
export function text(value: number, unit: Figure['unit']): string {
  switch (unit) {
    case 's':
      return value < 1 ? `${(value * 1000).toFixed(0)} ms` : `${value.toFixed(2)} s`;
    case 'ms':
      return value < 10 ? `${value.toFixed(2)} ms` : `${value.toFixed(0)} ms`;
    case 'B':
      return value < 1024 ** 2 ? `${(value / 1024).toFixed(0)} KiB` : `${(value / 1024 ** 2).toFixed(0)} MiB`;
    case '/s':
      return `${value.toFixed(0)} /s`;
  }
}

function short(value: number): string {
  return value < 0.095 ? value.toPrecision(2) : value < 100 ? value.toFixed(2) : value.toFixed(0);
}
