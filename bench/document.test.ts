import assert from 'node:assert/strict';
import { test } from 'node:test';
import { document } from './document.ts';
import { groups } from './groups.ts';
import type { Row } from './report.ts';

const figure = (median: number) => ({ median, min: median, max: median, unit: 'ms' }) as const;
const rowsOf = (ratio: number, greatest = 10): readonly Row[] => [
  {
    ...{ type: 'measured', name: 'G99 a | b', ours: figure(ratio * 10), ratio: { median: ratio, min: ratio, max: ratio } },
    ...{ reference: { ...figure(10), max: greatest, name: 'peer' }, goal: { of: 'ratio', atMost: 2 } },
  },
];
const text = (rows: readonly Row[]): string =>
  document({ date: '2026-01-01', quick: false, minutes: 20, machine: [['memory', '1 GiB']], groups: [{ about: 'A group', rows }] });

test('every goal has its rows', () => {
  const goals = groups.flatMap((group) => group.goals);
  assert.deepEqual(
    goals.toSorted((a, b) => Number(a.slice(1)) - Number(b.slice(1))),
    Array.from({ length: 15 }, (_, index) => `G${index + 1}`),
  );
});

test('the document says what was met, and by how much the rest was missed', () => {
  assert.match(text(rowsOf(1.5)), /^\| G99 a \\\| b \| 15 ms \| 10 ms peer \| 1\.50 \(1\.50-1\.50\) \| ≤ 2\.00 \| met \|$/m);
  assert.match(text(rowsOf(1.5)), /1 goals are met, 0 missed/);
  assert.match(text(rowsOf(2.5)), /\| \*\*missed by 25 %\*\* \|/);
  assert.match(text(rowsOf(2.5)), /^- G99 a \\\| b, beside peer: missed by 25 %$/m);
});

test('a row whose reference alone spreads more than twofold claims nothing', () => {
  assert.match(text(rowsOf(0.1, 21)), /\| noisy \|$/m);
});

test('what is not installed, and what broke off, are rows too', () => {
  const rows: readonly Row[] = [
    { type: 'skipped', name: 'one', missing: ['gh'] },
    { type: 'failed', name: 'two', reason: 'no answer' },
  ];
  assert.match(text(rows), /^\| one \| {2}\| not installed: gh \| {2}\| {2}\| not measured \|$/m);
  assert.match(text(rows), /^\| two \| {2}\| no answer \| {2}\| {2}\| failed \|$/m);
});
