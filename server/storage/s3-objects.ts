import type { HttpResponse } from '../../core/adapters/http.ts';
import { isChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import type { S3Body, S3Client } from './s3-client.ts';
import { elements, textOf } from './s3-xml.ts';

/** An object, as S3 tells of it. `etag` changes whenever it is written. */
export type S3Object = { readonly sizeBytes: number; readonly etag: string };
type ListedObject = { readonly key: string; readonly modifiedAt: Date };

/** Undefined when there is no such object. */
export async function headObject(client: S3Client, key: string): Promise<S3Object | undefined> {
  const answer = await client.send({ method: 'HEAD', key, what: `look-up of ${key}`, accept: [200, 404] });
  answer.discard();
  return answer.status === 404 ? undefined : objectOf(answer);
}

function objectOf(answer: HttpResponse): S3Object {
  return { sizeBytes: Number(answer.header('content-length') ?? 0), etag: answer.header('etag') ?? '' };
}

/** Opens an object, or a part of it, for reading; only while it is the one with that tag, when one is given (else CONFLICT). */
export async function getObject(
  client: S3Client,
  key: string,
  { offset = 0, end, etag }: { readonly offset?: number; readonly end?: number; readonly etag?: string } = {},
): Promise<(S3Object & { readonly answer: HttpResponse }) | undefined> {
  const isPart = offset !== 0 || end !== undefined;
  const answer = await client.send({
    method: 'GET',
    key,
    what: `read of ${key}`,
    accept: isPart ? [206, 404] : [200, 404],
    headers: {
      'accept-encoding': 'identity',
      ...(isPart ? { range: `bytes=${offset}-${end === undefined ? '' : end - 1}` } : {}),
      ...(etag === undefined ? {} : { 'if-match': etag }),
    },
  });
  if (answer.status !== 404) return { ...objectOf(answer), answer };
  answer.discard();
  return undefined;
}

/** The whole of a small object, or undefined: there is none, or it is larger. */
export async function readObject(client: S3Client, key: string, maxSizeBytes: number): Promise<Buffer | undefined> {
  try {
    const request = { method: 'GET', key, what: `read of ${key}`, accept: [200, 404] } as const;
    const { status, bytes } = await client.sendForBytes(request, maxSizeBytes);
    return status === 404 ? undefined : bytes;
  } catch (error) {
    if (isChainloopError(error, 'LIMIT_EXCEEDED')) return undefined;
    throw error;
  }
}

/** Writes an object as a whole: it is there with all its bytes, or not at all, and others may write others at the same time. */
export async function putObject(client: S3Client, key: string, body: S3Body, contentType = 'application/octet-stream'): Promise<void> {
  const answer = await client.send({
    method: 'PUT',
    key,
    body,
    what: `write of ${key}`,
    accept: [200],
    headers: { 'content-type': contentType },
    answerTimeoutMs: client.policy.commitTimeoutMs,
  });
  answer.discard();
}

/** Removes an object; one that is not there is fine. */
export async function removeObject(client: S3Client, key: string): Promise<void> {
  const answer = await client.send({ method: 'DELETE', key, what: `removal of ${key}`, accept: [200, 204, 404] });
  answer.discard();
}

/** The objects whose keys begin so, a page at a time, in the order of their keys' bytes, after `after`. */
export async function* listObjects(
  client: S3Client,
  start: string,
  { after, pageSize = 1000 }: { readonly after?: string | undefined; readonly pageSize?: number } = {},
): AsyncGenerator<readonly ListedObject[]> {
  const prefix = client.fullKey(start);
  let continuation: string | undefined;
  for (let page = 0; page < limits.s3ListPages; page++) {
    const xml = await client.sendForXml({
      method: 'GET',
      what: `list of ${start}`,
      accept: [200],
      query: {
        'list-type': '2',
        'max-keys': String(pageSize),
        prefix,
        ...(after === undefined ? {} : { 'start-after': client.fullKey(after) }),
        ...(continuation === undefined ? {} : { 'continuation-token': continuation }),
      },
    });
    const skip = prefix.length - start.length;
    yield elements(xml, 'Contents').map((entry) => ({
      key: textOf(entry, 'Key').slice(skip),
      modifiedAt: new Date(textOf(entry, 'LastModified')),
    }));
    continuation = textOf(xml, 'NextContinuationToken');
    if (textOf(xml, 'IsTruncated') !== 'true' || continuation === '') return;
  }
}
