import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startCount } from './count.ts';

function terminal(isTTY: boolean) {
  const written: string[] = [];
  return { written, stream: { isTTY, columns: 40, write: (text: string) => written.push(text) > 0 } };
}

test('on a terminal the count is drawn over itself, not more often than ten times a second, and is gone at the end', () => {
  const { written, stream } = terminal(true);
  let now = 0;
  const count = startCount(stream, () => now);
  count.update('rows', 1, 2_000_000);
  now = 50;
  count.update('rows', 2, 2_000_000);
  now = 150;
  count.update('files of evidence', 1_234_567);
  count.clear();
  assert.deepEqual(written, ['\r\x1b[K1 of 2,000,000 rows', '\r\x1b[K1,234,567 files of evidence', '\r\x1b[K']);
});

test('elsewhere nothing is written', () => {
  const { written, stream } = terminal(false);
  const count = startCount(stream);
  count.update('rows', 1);
  count.clear();
  assert.deepEqual(written, []);
});
