import { goalText, type Row, ratioText, shortfall, text, verdict } from './report.ts';

/** One run of everything that was asked for. */
export type Results = {
  /** `2026-11-23`. */
  readonly date: string;
  readonly quick: boolean;
  readonly minutes: number;
  /** What it ran on, and what was measured beside: a name, and what it is. */
  readonly machine: readonly (readonly [string, string])[];
  readonly groups: readonly { readonly about: string; readonly rows: readonly Row[] }[];
};

/** What is known of why a goal is missed, by the beginning of its rows. Said of rows that are. */
const reasons: readonly (readonly [string, string])[] = [
  [
    'G8 chainloop attestation status',
    'it reads what the job has collected and checks it against its schema: some 60 small files of code are loaded for that, a quarter of the time to find them. Minifying them, or a compile cache, changed less than 7 %.',
  ],
  [
    'G11',
    'the goal is from a time when `select 1` took 0.17 ms, three times which is half a millisecond. Here PostgreSQL has one processor and who asks it another, as on two machines, and it takes 0.1; where the scheduler has both on one, 0.04. Of a page on one connection that nothing disturbs (0.35 to 0.4 ms) 0.1 is `select 1`; 0.04 to ask it in the name of an organization, as row-level security needs it; 0.06 to find the 51 rows; 0.07 for their names in four more tables, each behind its wall; and 0.1 to write, send and read 17 columns of each.',
  ],
  [
    'G13',
    'a connection of the pool, a transaction, a role and an organization take 1.3 times what `select 1` takes without them, before anything is looked up. The session would have to remember its organization to save some of that, and a connection that remembers nobody is the safer one.',
  ],
];

/** docs/performance.md. */
export function document({ date, quick, minutes, machine, groups }: Results): string {
  const rows = groups.flatMap((group) => group.rows);
  const count = (wanted: ReturnType<typeof verdict>): number => rows.filter((row) => verdict(row) === wanted).length;
  const missed = rows.filter((row) => verdict(row) === 'missed');
  return `# Performance

What Chainloop costs, beside what else does the job, in the same run on the same machine. Written by

\`\`\`sh
npm run bench${quick ? ' -- --quick' : ''}   # all of it, and this file: ${minutes} minutes here
npm run bench -- G11 api   # one goal or group, on the terminal alone
\`\`\`

on ${date}, ${quick ? 'with --quick: fewer runs, and smaller sizes than the goals are about, so that a row is an indication' : 'in full'}.

| | |
| --- | --- |
${machine.map((pair) => `| ${pair.map(cell).join(' | ')} |`).join('\n')}

Ours and the reference are measured in turn, A B A B, after one of each that does not count. The ratio is the median of the ratios of these pairs,
with the least and the greatest; ours and the reference are medians of their own. A row is **noisy**, and claims nothing, when the reference
alone spreads more than twofold. Bytes go over loopback, so networks only make differences smaller.

${count('met')} goals are met, ${count('missed')} missed, ${count('noisy')} too noisy to say${count('skipped') + count('failed') === 0 ? '' : `; ${count('skipped')} rows lack a program, ${count('failed')} failed`}.
${missed.length === 0 ? '' : `\nWhere we fall short:\n\n${missed.map((row) => `- ${cell(row.name)}${beside(row)}: ${short(row)}`).join('\n')}\n`}${why(missed)}
${groups.map(({ about, rows }) => `## ${about}\n\n${markdown(rows)}`).join('\n')}`;
}

function markdown(rows: readonly Row[]): string {
  const head = ['What', 'Ours', 'Reference', 'Ratio (least-greatest)', 'Goal', ''];
  return [head, head.map(() => '---'), ...rows.map(cells)].map((line) => `| ${line.map(cell).join(' | ')} |\n`).join('');
}

function cells(row: Row): readonly string[] {
  if (row.type === 'skipped') return [row.name, '', `not installed: ${row.missing.join(', ')}`, '', '', 'not measured'];
  if (row.type === 'failed') return [row.name, '', row.reason, '', '', 'failed'];
  const { name, note, ours, reference, ratio } = row;
  return [
    note === undefined ? name : `${name} (${note})`,
    text(ours.median, ours.unit),
    reference === undefined ? '' : `${text(reference.median, reference.unit)} ${reference.name}`,
    ratioText(ratio),
    goalText(row),
    said(row),
  ];
}

function said(row: Row): string {
  switch (verdict(row)) {
    case 'met':
      return 'met';
    case 'missed':
      return `**${short(row)}**`;
    case 'noisy':
      return 'noisy';
    case 'no goal':
    case 'skipped':
    case 'failed':
      return '';
  }
}

function why(missed: readonly Row[]): string {
  const known = reasons.filter(([goal]) => missed.some((row) => row.name.startsWith(goal)));
  return known.length === 0 ? '' : `\nWhat is known of why:\n\n${known.map(([goal, reason]) => `- ${goal}: ${reason}`).join('\n')}\n`;
}

function beside(row: Row): string {
  return row.type === 'measured' && row.reference !== undefined ? `, beside ${cell(row.reference.name)}` : '';
}

function short(row: Row): string {
  const share = shortfall(row) * 100;
  return `missed by ${share < 10 ? share.toFixed(1) : share.toFixed(0)} %`;
}

/** One line, in which nothing ends a cell. */
function cell(value: string): string {
  return value.trim().replaceAll(/\s+/g, ' ').replaceAll('|', '\\|').replaceAll('<=', '≤').replaceAll('>=', '≥');
}
