import { createHash } from 'node:crypto';
import { HttpFailure } from '../../core/adapters/http-failure.ts';
import { failureError, RegistryError } from '../../core/adapters/oci/errors.ts';
import { createPauses } from '../../core/adapters/retry.ts';
import { type Digest, hexOf } from '../../core/digest.ts';
import type { S3Client } from './s3-client.ts';
import { getObject, type S3Object } from './s3-objects.ts';

/**
 * The bytes of an object from `offset` to before `end`. A connection that breaks is resumed, of the same object alone: one that was replaced
 * meanwhile is CONFLICT.
 */
export async function* readRange(
  client: S3Client,
  key: string,
  object: S3Object,
  { offset = 0, end = object.sizeBytes }: { readonly offset?: number; readonly end?: number } = {},
): AsyncGenerator<Uint8Array> {
  const pauses = createPauses(client.policy);
  let at = offset;
  while (at < end) {
    const found = await getObject(client, key, { offset: at, end, etag: object.etag });
    if (found === undefined) throw changed(client, key, 'it is gone');
    try {
      for await (const piece of found.answer.body) {
        at += piece.byteLength;
        if (at > end) throw changed(client, key, 'it has more bytes than it said');
        pauses.reset();
        yield piece;
      }
      if (at < end) throw changed(client, key, `it ended ${end - at} bytes too early`);
    } catch (error) {
      const failure = failureError(error, { name: client.name, what: `read of ${key}`, advice: '' });
      if (!(error instanceof HttpFailure) || !(await pauses.wait())) throw failure;
    }
  }
}

/** The whole of a blob. Its last piece comes only after the digest was right, else DIGEST_MISMATCH. */
export async function* readVerified(client: S3Client, key: string, object: S3Object, digest: Digest): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  let held: Uint8Array | undefined;
  for await (const piece of readRange(client, key, object)) {
    if (held !== undefined) yield held;
    hash.update(piece);
    held = piece;
  }
  if (hash.digest('hex') !== hexOf(digest)) throw changed(client, key, 'its bytes are not those of the digest');
  if (held !== undefined) yield held;
}

function changed(client: S3Client, key: string, problem: string): RegistryError {
  return new RegistryError('DIGEST_MISMATCH', `${client.name}: read of ${key} failed: ${problem}; upload it again, or restore the bucket`);
}
