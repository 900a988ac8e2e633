import { limits } from '../../core/limits.ts';
import type { S3Body, S3Client } from './s3-client.ts';
import { isS3 } from './s3-error.ts';
import { headObject, type S3Object } from './s3-objects.ts';
import { elements, encode, textOf } from './s3-xml.ts';

/** A part of an upload that S3 has: `etag` is what it called it. */
export type S3Part = { readonly number: number; readonly etag: string; readonly sizeBytes: number };

/** Opens an upload in parts. Until it is completed there is no object. */
export async function createMultipart(client: S3Client, key: string, contentType = 'application/octet-stream'): Promise<string> {
  const what = 'start of an upload';
  const xml = await client.sendForXml({
    method: 'POST',
    key,
    query: { uploads: '' },
    what,
    accept: [200],
    headers: { 'content-type': contentType },
  });
  return textOf(xml, 'UploadId');
}

/** Sends one part; the same number again replaces it. NOT_FOUND (NoSuchUpload). */
export async function uploadPart(client: S3Client, key: string, uploadId: string, number: number, body: S3Body): Promise<S3Part> {
  const answer = await client.send({
    method: 'PUT',
    key,
    query: { partNumber: String(number), uploadId },
    body,
    what: `part ${number} of an upload`,
    accept: [200],
  });
  answer.discard();
  return { number, etag: answer.header('etag') ?? '', sizeBytes: body.sizeBytes };
}

/** The parts that have arrived, from the first to the one before a gap; undefined when there is no such upload (any more). */
export async function listParts(client: S3Client, key: string, uploadId: string): Promise<S3Part[] | undefined> {
  const found: S3Part[] = [];
  let marker = '';
  for (let page = 0; page < limits.s3ListPages; page++) {
    let xml: string;
    try {
      const query = { uploadId, 'max-parts': '1000', ...(marker === '' ? {} : { 'part-number-marker': marker }) };
      xml = await client.sendForXml({ method: 'GET', key, query, what: 'look-up of an upload', accept: [200] });
    } catch (error) {
      if (isS3(error, 'NoSuchUpload')) return undefined;
      throw error;
    }
    for (const part of elements(xml, 'Part')) {
      const number = Number(textOf(part, 'PartNumber'));
      if (number !== found.length + 1) return found;
      found.push({ number, etag: textOf(part, 'ETag'), sizeBytes: Number(textOf(part, 'Size')) });
    }
    marker = textOf(xml, 'NextPartNumberMarker');
    if (textOf(xml, 'IsTruncated') !== 'true') break;
  }
  return found;
}

/**
 * Makes the parts one object. The answer may be lost, or the work be another server's: then what the object is made of is not known.
 * NOT_FOUND, CONFLICT.
 */
export async function completeMultipart(
  client: S3Client,
  key: string,
  uploadId: string,
  parts: readonly S3Part[],
): Promise<S3Object & { readonly isOurs: boolean }> {
  const list = parts.map(({ number, etag }) => `<Part><PartNumber>${number}</PartNumber><ETag>${encode(etag)}</ETag></Part>`).join('');
  const body = Buffer.from(`<CompleteMultipartUpload>${list}</CompleteMultipartUpload>`);
  try {
    await client.sendForXml({
      method: 'POST',
      key,
      query: { uploadId },
      body: { pieces: [body], sizeBytes: body.byteLength },
      what: 'end of an upload',
      accept: [200],
      answerTimeoutMs: client.policy.commitTimeoutMs,
    });
  } catch (error) {
    const there = isS3(error, 'NoSuchUpload') ? await headObject(client, key) : undefined;
    if (there === undefined) throw error;
    return { ...there, isOurs: false };
  }
  const object = await headObject(client, key);
  if (object === undefined) throw new Error('S3 completed an upload, and its object is not there');
  return { ...object, isOurs: true };
}

/** Forgets an upload and frees its space; one that is not there is fine. */
export async function abortMultipart(client: S3Client, key: string, uploadId: string): Promise<void> {
  const answer = await client.send({ method: 'DELETE', key, query: { uploadId }, what: 'cancel of an upload', accept: [204, 200, 404] });
  answer.discard();
}

/** The uploads whose keys begin so; some stores list them for a whole key only. */
export async function listMultiparts(
  client: S3Client,
  start: string,
): Promise<readonly { readonly key: string; readonly uploadId: string; readonly initiatedAt: Date }[]> {
  const prefix = client.fullKey(start);
  const xml = await client.sendForXml({ method: 'GET', query: { uploads: '', prefix }, what: 'list of uploads', accept: [200] });
  return elements(xml, 'Upload').map((entry) => ({
    key: textOf(entry, 'Key').slice(prefix.length - start.length),
    uploadId: textOf(entry, 'UploadId'),
    initiatedAt: new Date(textOf(entry, 'Initiated')),
  }));
}

/**
 * Copies an object inside the bucket, without its bytes passing here; only while it is the one with that tag, else CONFLICT. Larger ones in
 * parts: S3 copies at most 5 GiB at once, and it takes its time.
 */
export async function copyObject(
  client: S3Client,
  { key, sizeBytes, etag }: S3Object & { readonly key: string },
  target: string,
  partSizeBytes: number = limits.s3CopySizeBytes,
): Promise<void> {
  const answerTimeoutMs = client.policy.commitTimeoutMs;
  const source = { 'x-amz-copy-source': `/${client.place.bucket}/${client.fullKey(key)}`, 'x-amz-copy-source-if-match': etag };
  const what = `copy to ${target}`;
  if (sizeBytes <= partSizeBytes) {
    await client.sendForXml({ method: 'PUT', key: target, headers: source, what, accept: [200], answerTimeoutMs });
    return;
  }
  const uploadId = await createMultipart(client, target);
  try {
    const numbers = Array.from({ length: Math.ceil(sizeBytes / partSizeBytes) }, (_, index) => index + 1);
    const parts: S3Part[] = [];
    const queue = numbers.values();
    const worker = async (): Promise<void> => {
      for (const number of queue) {
        const first = (number - 1) * partSizeBytes;
        const end = Math.min(first + partSizeBytes, sizeBytes);
        const xml = await client.sendForXml({
          method: 'PUT',
          key: target,
          query: { partNumber: String(number), uploadId },
          headers: { ...source, 'x-amz-copy-source-range': `bytes=${first}-${end - 1}` },
          what,
          accept: [200],
          answerTimeoutMs,
        });
        parts.push({ number, etag: textOf(xml, 'ETag'), sizeBytes: end - first });
      }
    };
    await Promise.all(Array.from({ length: limits.uploadConcurrency }, worker));
    await completeMultipart(
      client,
      target,
      uploadId,
      parts.toSorted((one, other) => one.number - other.number),
    );
  } catch (error) {
    await abortMultipart(client, target, uploadId).catch(() => {});
    throw error;
  }
}
