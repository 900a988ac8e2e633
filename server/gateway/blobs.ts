import type { Digest } from '../../core/digest.ts';
import { type ChainloopError, isChainloopError } from '../../core/errors.ts';
import { DistributionError } from './errors.ts';
import { digestIn, type Exchange, send, sendBody } from './exchange.ts';

/** HEAD and GET of a blob (distribution specification, "Pulling blobs"), with one byte range. */
export async function answerBlob(exchange: Exchange, digestText: string): Promise<void> {
  const digest = digestIn(digestText);
  const { request, response, storage } = exchange;
  const headers = {
    'docker-content-digest': digest,
    'content-type': 'application/octet-stream',
    'accept-ranges': 'bytes',
    etag: `"${digest}"`,
  };
  if (request.method === 'HEAD') {
    const stat = await storage.stat(digest);
    if (stat === undefined) throw blobUnknown(digest);
    return send(exchange, 200, { ...headers, 'content-length': String(stat.sizeBytes) });
  }
  const range = await rangeOf(exchange, digest);
  const reader = await storage.fetch(digest, range).catch((error: unknown) => {
    throw isChainloopError(error, 'DIGEST_MISMATCH') ? changedInStorage(error) : error;
  });
  if (reader === undefined) throw blobUnknown(digest);
  const length = range?.length ?? reader.sizeBytes;
  if (range === undefined) {
    response.writeHead(200, { ...headers, 'content-length': String(length) });
  } else {
    const last = range.offset + length - 1;
    const contentRange = `bytes ${range.offset}-${last}/${reader.sizeBytes}`;
    response.writeHead(206, { ...headers, 'content-length': String(length), 'content-range': contentRange });
  }
  await sendBody(exchange, reader.body);
}

/** Not the fault of the client, as a wrong digest of what it sends would be. */
function changedInStorage(cause: ChainloopError): DistributionError {
  return new DistributionError('UNKNOWN', cause.message, { detail: { code: cause.code }, failure: cause.code, cause });
}

function blobUnknown(digest: Digest): DistributionError {
  return new DistributionError('BLOB_UNKNOWN', `blob unknown to registry: ${digest}`, { detail: { digest } });
}

/** One range (RFC 9110, "Byte Ranges"); several, or a malformed one, are ignored as the RFC allows. */
async function rangeOf({ request, storage }: Exchange, digest: Digest): Promise<{ offset: number; length: number } | undefined> {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(request.headers.range ?? '');
  if (match === null || match[0] === 'bytes=-') return undefined;
  // RFC 9110, section 13.1.5: a part of something else is of no use.
  if ((request.headers['if-range'] ?? `"${digest}"`) !== `"${digest}"`) return undefined;
  const stat = await storage.stat(digest);
  if (stat === undefined) throw blobUnknown(digest);
  const { sizeBytes } = stat;
  const [, first = '', last = ''] = match;
  const offset = first === '' ? Math.max(0, sizeBytes - Number(last)) : Number(first);
  const end = first === '' || last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1);
  if (end < offset) {
    throw new DistributionError('SIZE_INVALID', `the range is outside of the ${sizeBytes} bytes of ${digest}`, {
      status: 416,
      headers: { 'content-range': `bytes */${sizeBytes}` },
    });
  }
  return { offset, length: end - offset + 1 };
}
