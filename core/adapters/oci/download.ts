import { createHash } from 'node:crypto';
import type { Digest } from '../../digest.ts';
import { ChainloopError } from '../../errors.ts';
import type { HttpResponse } from '../http.ts';
import { HttpFailure } from '../http-failure.ts';
import { createPauses } from '../retry.ts';
import { failureError, RegistryError } from './errors.ts';
import type { Session } from './session.ts';

export type Download = {
  /** Of the whole blob. */
  readonly sizeBytes: number;
  /**
   * The bytes, once. Ends only when size and digest are right, else throws DIGEST_MISMATCH after the last byte: nothing of it may be
   * shown before. Broken connections are resumed. From an offset only the size can be checked.
   */
  readonly body: AsyncIterable<Uint8Array>;
};

export type DownloadOptions = { readonly offset?: number; readonly signal?: AbortSignal | undefined };

/** Opens a blob for reading. NOT_FOUND when the registry does not have it. The body must be read or its iterator returned. */
export async function fetchBlob(session: Session, digest: Digest, options: DownloadOptions = {}): Promise<Download> {
  const start = options.offset ?? 0;
  const what = `download of ${digest}`;
  const subject = { name: session.name, what, advice: '' };
  const broken = (problem: string) =>
    new RegistryError('DIGEST_MISMATCH', `${session.name}: ${what} failed: ${problem}; what was read is not used`);

  async function open(offset: number): Promise<HttpResponse> {
    const answer = await session.send({
      method: 'GET',
      url: session.url(`blobs/${digest}`),
      access: 'pull',
      what,
      accept: [200, 206, 404],
      headers: { 'accept-encoding': 'identity', ...(offset === 0 ? {} : { range: `bytes=${offset}-` }) },
      signal: options.signal,
    });
    if (answer.status !== 404) return answer;
    answer.discard();
    throw new ChainloopError('NOT_FOUND', `${session.name}: it has no blob ${digest}`);
  }

  const first = await open(start);
  const announced = totalSize(first);
  if (announced === undefined) {
    first.discard();
    throw new RegistryError('REGISTRY_ERROR', `${session.name}: ${what} failed: it does not say how large the blob is`);
  }

  const sizeBytes = announced;

  async function* read(): AsyncGenerator<Uint8Array> {
    const hash = start === 0 ? createHash('sha256') : undefined;
    const pauses = createPauses(session.policy, options.signal);
    let answer = first;
    let offset = start;
    for (;;) {
      // A registry that ignores Range begins at zero again.
      let skipBytes = offset - firstByte(answer);
      if (skipBytes < 0) throw broken('it answers with another range than was asked for');
      try {
        for await (const whole of answer.body) {
          const piece = skipBytes === 0 ? whole : whole.subarray(Math.min(skipBytes, whole.byteLength));
          skipBytes -= whole.byteLength - piece.byteLength;
          if (piece.byteLength === 0) continue;
          offset += piece.byteLength;
          if (offset > sizeBytes) throw broken(`it is larger than ${sizeBytes} bytes`);
          hash?.update(piece);
          pauses.reset();
          yield piece;
        }
        break;
      } catch (error) {
        const failure = failureError(error, subject);
        if (!(error instanceof HttpFailure) || !(failure instanceof RegistryError) || !failure.temporary) throw failure;
        if (offset === sizeBytes) break;
        if (!(await pauses.wait())) throw failure;
        answer = await open(offset);
      }
    }
    if (offset !== sizeBytes) throw broken(`it ended after ${offset} of ${sizeBytes} bytes`);
    if (hash !== undefined && `sha256:${hash.digest('hex')}` !== digest) throw broken('its bytes are not those of the digest');
  }
  return { sizeBytes, body: read() };
}

const contentRange = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15})$/;

function firstByte(answer: HttpResponse): number {
  return answer.status === 206 ? Number(contentRange.exec(answer.header('content-range') ?? '')?.[1] ?? Number.POSITIVE_INFINITY) : 0;
}

function totalSize(answer: HttpResponse): number | undefined {
  const text = answer.status === 206 ? contentRange.exec(answer.header('content-range') ?? '')?.[2] : answer.header('content-length');
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
