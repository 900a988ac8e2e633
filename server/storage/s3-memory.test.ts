import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { startS3 } from '../../test/fakes/s3.ts';

/** 1024 in the long form: CHAINLOOP_TEST_UPLOAD_MIB=1024. The limit is the same: memory does not depend on size. */
const sizeMiB = Number(process.env.CHAINLOOP_TEST_UPLOAD_MIB ?? 64);

test('a blob that goes into a bucket and out again keeps the server under 250 MB', { timeout: 600_000 }, async (t) => {
  await using s3 = await startS3();
  const { origin, bucket, region, credentials } = s3;
  const client = JSON.stringify({ origin, bucket, prefix: '', region, virtualHost: false, credentials });
  const program = join(import.meta.dirname, '../../test/fakes/s3-process.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [program, client, String(sizeMiB)]);
  const [inMs = 0, outMs = 0, peakBytes = 0] = stdout.split(' ').map(Number);
  const rate = (ms: number) => `${Math.round(sizeMiB / (ms / 1000))} MiB/s`;
  t.diagnostic(`${sizeMiB} MiB: ${rate(inMs)} in, ${rate(outMs)} out, peak ${Math.round(peakBytes / 1e6)} MB`);
  assert.ok(peakBytes < 250e6, `peak of ${peakBytes} bytes`);
});
