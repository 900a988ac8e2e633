import { blobSizeHeader, sizeKnownHeader } from '../../core/adapters/oci/upload-session.ts';
import { isDigest } from '../../core/digest.ts';
import { type ChainloopError, isChainloopError } from '../../core/errors.ts';
import type { Upload } from '../storage/storage.ts';
import { DistributionError } from './errors.ts';
import { digestIn, type Exchange, receive, send } from './exchange.ts';

/** POST: opens an upload, or does it at once with `?digest=`, or finds the blob there with `?mount=` ("Pushing blobs"). */
export async function startUpload(exchange: Exchange): Promise<void> {
  const { query, storage, organization } = exchange;
  const mount = query.get('mount');
  if (mount !== null) {
    // Only from the organization itself. Elsewhere, whether it is there or not, the client is asked for the bytes.
    const isOwn = (query.get('from') ?? organization.name) === organization.name;
    if (isOwn && isDigest(mount) && (await storage.stat(mount)) !== undefined) return sendCreated(exchange, mount);
  }
  const digest = query.get('digest') === null ? undefined : digestIn(query.get('digest'));
  const upload = await storage.beginUpload();
  if (digest === undefined) {
    const sizeBytes = Number(exchange.request.headers[blobSizeHeader]);
    const isKnown = Number.isSafeInteger(sizeBytes) && (await exchange.hasSize(sizeBytes));
    return send(exchange, 202, {
      ...uploadHeaders(exchange, upload),
      ...(upload.minChunkSizeBytes === undefined ? {} : { 'oci-chunk-min-length': String(upload.minChunkSizeBytes) }),
      ...(isKnown ? { [sizeKnownHeader]: 'true' } : {}),
    });
  }
  try {
    const { sizeBytes } = await storage.finish(upload.session, digest, { offset: 0, body: receive(exchange) });
    await exchange.record({ digest, sizeBytes });
  } catch (error) {
    // The client was never told the session, so nobody could resume it.
    await storage.cancelUpload(upload.session).catch(() => {});
    throw error;
  }
  sendCreated(exchange, digest);
}

/** GET, PATCH, PUT and DELETE of an open upload. */
export async function continueUpload(exchange: Exchange, session: string): Promise<void> {
  const { request, storage } = exchange;
  switch (request.method) {
    case 'GET':
      return sendUpload(exchange, 204, await storage.uploadStatus(session));
    case 'DELETE':
      await storage.cancelUpload(session);
      return send(exchange, 204, {});
    case 'PATCH': {
      const upload = await atOffset(exchange, session);
      try {
        return sendUpload(exchange, 202, await storage.append(upload.session, upload.offset, receive(exchange)));
      } catch (error) {
        throw isChainloopError(error, 'CONFLICT') ? takenOver(error) : error;
      }
    }
    default:
      return finishUpload(exchange, session);
  }
}

async function finishUpload(exchange: Exchange, session: string): Promise<void> {
  const { request, storage, query } = exchange;
  const digest = digestIn(query.get('digest'));
  try {
    const last = hasBody(exchange) ? { ...(await atOffset(exchange, session)), body: receive(exchange) } : undefined;
    const { sizeBytes } = await storage.finish(last?.session ?? session, digest, last);
    await exchange.record({ digest, sizeBytes });
  } catch (error) {
    if (isChainloopError(error, 'CONFLICT')) throw takenOver(error);
    // The answer of a finish that was done may have been lost: the same request again gets the same answer.
    const stat = isChainloopError(error, 'NOT_FOUND') ? await storage.stat(digest) : undefined;
    if (stat === undefined) throw error;
    await exchange.record({ digest, sizeBytes: stat.sizeBytes });
  }
  request.resume();
  sendCreated(exchange, digest);
}

/**
 * Where the body of this request goes: at the end of what is there. A `Content-Range` must say the same, and fit `Content-Length`
 * ("Pushing a blob in chunks": out of order is 416).
 */
async function atOffset(exchange: Exchange, session: string): Promise<Upload> {
  const upload = await exchange.storage.uploadStatus(session);
  const header = exchange.request.headers['content-range'];
  if (header === undefined) return upload;
  const match = /^(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:\/(?:\d+|\*))?$/.exec(header);
  const length = exchange.request.headers['content-length'];
  const first = Number(match?.[1]);
  const fits = length === undefined || Number(match?.[2]) - first + 1 === Number(length);
  if (match === null || first !== upload.offset || !fits) throw outOfOrder(exchange, upload);
  return upload;
}

function outOfOrder(exchange: Exchange, upload: Upload): DistributionError {
  return new DistributionError('BLOB_UPLOAD_INVALID', `the upload is at offset ${upload.offset}: send the bytes from there`, {
    status: 416,
    headers: uploadHeaders(exchange, upload),
  });
}

/** Another request writes to the upload by now. Where it stands is that one's to know. */
function takenOver(cause: ChainloopError): DistributionError {
  return new DistributionError('BLOB_UPLOAD_INVALID', cause.message, { status: 416, cause });
}

function hasBody({ request }: Exchange): boolean {
  return request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0;
}

function sendUpload(exchange: Exchange, status: number, upload: Upload): void {
  send(exchange, status, uploadHeaders(exchange, upload));
}

function uploadHeaders({ organization }: Exchange, { session, offset }: Upload): Record<string, string> {
  return {
    location: `/v2/${organization.name}/blobs/uploads/${session}`,
    // The end is inclusive, so an empty upload cannot be said; distribution says it so.
    range: `0-${Math.max(0, offset - 1)}`,
    'docker-upload-uuid': session,
  };
}

function sendCreated(exchange: Exchange, digest: string): void {
  send(exchange, 201, { location: `/v2/${exchange.organization.name}/blobs/${digest}`, 'docker-content-digest': digest });
}
