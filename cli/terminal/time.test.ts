import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDuration, formatSize, formatTime } from './time.ts';

test('an instant is shown to the minute in UTC', () => {
  assert.equal(formatTime('2022-10-28T21:02:59.999Z'), '28 Oct 22 21:02 UTC');
  assert.equal(formatTime('2022-11-03T01:24:00+02:00'), '02 Nov 22 23:24 UTC');
});

test('what is no instant is shown as it is', () => assert.equal(formatTime('never'), 'never'));

for (const [durationMs, decimals, text] of [
  [0, 3, '0s'],
  [20_934, 3, '20.934s'],
  [2_611.108, 6, '2.611108s'],
  [16_400, 0, '16s'],
  [76_000, 0, '1m16s'],
  [59_999.9, 0, '1m0s'],
  [3_603_500, 3, '1h0m3.5s'],
  [-5, 0, '0s'],
] as const) {
  test(`${durationMs} ms with ${decimals} decimals is ${text}`, () => assert.equal(formatDuration(durationMs, decimals), text));
}

for (const [sizeBytes, text] of [
  [0, '0B'],
  [999, '999B'],
  [1000, '1.00KB'],
  [36_820_000, '36.82MB'],
  [999_999, '1.00MB'],
  [1_073_741_824, '1.07GB'],
] as const) {
  test(`${sizeBytes} bytes are ${text}`, () => assert.equal(formatSize(sizeBytes), text));
}
