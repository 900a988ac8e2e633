import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { type Digest, parseDigest } from '../../core/digest.ts';
import { call } from '../../test/fakes/http-call.ts';

const MiB = 1024 * 1024;
/** 256 in the long form: CHAINLOOP_TEST_UPLOAD_MIB=256. The limit is the same: memory does not depend on size. */
const sizeMiB = Number(process.env.CHAINLOOP_TEST_UPLOAD_MIB ?? 48);

/** A blob of that many MiB, each piece marked so that no two blobs are the same. */
function* piecesOf(mark: number): Generator<Buffer> {
  const piece = Buffer.alloc(MiB, mark);
  for (let index = 0; index < sizeMiB; index++) {
    piece.writeUInt32BE(index, 0);
    yield Buffer.from(piece);
  }
}

function digestOfPieces(mark: number): Digest {
  const hash = createHash('sha256');
  for (const piece of piecesOf(mark)) hash.update(piece);
  return parseDigest(`sha256:${hash.digest('hex')}`);
}

type Target = { readonly origin: string; readonly token: string };

async function upload({ origin, token }: Target, mark: number): Promise<Digest> {
  const digest = digestOfPieces(mark);
  const begun = await call(origin, 'POST', '/v2/acme/blobs/uploads/', { token });
  const patch = request(new URL(String(begun.headers.location), origin), {
    method: 'PATCH',
    headers: { authorization: `Bearer ${token}` },
  });
  const answered = once(patch, 'response');
  for (const piece of piecesOf(mark)) await new Promise((resolve) => patch.write(piece, resolve));
  patch.end();
  const [response] = await answered;
  response.resume();
  assert.equal(response.statusCode, 202);
  const done = await call(origin, 'PUT', `${begun.headers.location}?digest=${digest}`, { token });
  assert.equal(done.status, 201);
  return digest;
}

async function download({ origin, token }: Target, digest: Digest): Promise<void> {
  const get = request(new URL(`/v2/acme/blobs/${digest}`, origin), { headers: { authorization: `Bearer ${token}` } });
  get.end();
  const [response] = await once(get, 'response');
  const hash = createHash('sha256');
  for await (const piece of response) hash.update(piece);
  assert.equal(`sha256:${hash.digest('hex')}`, digest);
}

test('eight uploads at once, then eight downloads, keep the gateway under 300 MB', { timeout: 600_000 }, async (t) => {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../../test/fakes/gateway-process.ts')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  try {
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const nextLine = async (): Promise<string> => (await lines.next()).value ?? '';
    const [origin = '', token = ''] = (await nextLine()).split(' ');
    const peakBytes = async (): Promise<number> => {
      child.stdin.write('\n');
      return Number(await nextLine());
    };
    const marks = Array.from({ length: 8 }, (_, index) => index + 1);
    const digests = await Promise.all(marks.map((mark) => upload({ origin, token }, mark)));
    const afterUploads = await peakBytes();
    await Promise.all(digests.map((digest) => download({ origin, token }, digest)));
    const afterDownloads = await peakBytes();
    t.diagnostic(
      `8 x ${sizeMiB} MiB: peak ${Math.round(afterUploads / 1e6)} MB after uploads, ${Math.round(afterDownloads / 1e6)} MB after downloads`,
    );
    assert.ok(afterDownloads < 300e6, `peak of ${afterDownloads} bytes`);
  } finally {
    const exited = once(child, 'exit');
    child.stdin.end();
    await exited;
  }
});
