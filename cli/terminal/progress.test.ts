import assert from 'node:assert/strict';
import { test } from 'node:test';
import { doneLine, progressLine, startProgress } from './progress.ts';

const digest = 'sha256:5f8371df50a378e63a7f8a56280d3b99f0a1ca511be8ffa64b5cca327416431e';

function screen(isTTY: boolean, columns = 80) {
  let text = '';
  const stream = {
    isTTY,
    columns,
    write: (piece: string | Uint8Array) => {
      text += String(piece);
      return true;
    },
  };
  return { stream, text: () => text };
}

test('a transfer shows share, bar, size, time, estimate, rate and name', () => {
  assert.equal(
    progressLine({ label: `control-plane@${digest}`, doneBytes: 5_243_000, totalBytes: 36_820_000, elapsedMs: 2_611.108 }),
    `14.24% [##................] [5.24MB in 2.611108s; ~ETA: 16s; 2.01MB/s] ... control-plane@${digest}`,
  );
});

test('a transfer that is nearly over shows no estimate', () => {
  assert.equal(
    progressLine({ label: 'a', doneBytes: 36_700_000, totalBytes: 36_820_000, elapsedMs: 20_860.795 }),
    '99.67% [#################.] [36.70MB in 20.860795s; 1.76MB/s] ... a',
  );
});

test('a finished transfer is one line', () => {
  assert.equal(
    doneLine({ label: `control-plane@${digest}`, totalBytes: 36_820_000, elapsedMs: 20_934 }),
    `control-plane@${digest} ... done! [36.82MB in 20.934s; 1.76MB/s]`,
  );
});

test('nothing sent yet and nothing to send divide by nothing', () => {
  assert.equal(
    progressLine({ label: 'a', doneBytes: 0, totalBytes: 10, elapsedMs: 0 }),
    '0.00% [..................] [0B in 0s; 0B/s] ... a',
  );
  assert.match(progressLine({ label: 'a', doneBytes: 0, totalBytes: 0, elapsedMs: 1 }), /^100\.00%/);
});

test('in a pipe only the finished line is written, without control characters', () => {
  const { stream, text } = screen(false);
  const progress = startProgress(stream, { label: 'a', totalBytes: 1000 }, () => 0);
  progress.update(500);
  progress.done('a@sha256:00');
  assert.equal(text(), 'a@sha256:00 ... done! [1.00KB in 0s; 1.00MB/s]\n');
});

test('on a terminal the line is drawn over itself, ten times a second at most and never wider than the terminal', () => {
  const { stream, text } = screen(true, 40);
  let now = 0;
  const progress = startProgress(stream, { label: 'a'.repeat(100), totalBytes: 1000 }, () => now);
  for (now = 0; now < 1000; now += 10) progress.update(now);
  const lines = text().split('\r\x1b[K').slice(1);
  assert.equal(lines.length, 10);
  for (const line of lines) assert.equal(line.length, 39);
});

test('a transfer that was not needed leaves no line', () => {
  const { stream, text } = screen(true);
  const progress = startProgress(stream, { label: 'a', totalBytes: 1000 });
  progress.update(1);
  progress.clear();
  assert.ok(text().endsWith('\r\x1b[K'));
});
