import type { Digest } from '../../digest.ts';
import type { BodySource, HttpResponse } from '../http.ts';
import { RegistryError } from './errors.ts';
import type { Session } from './session.ts';

/**
 * An upload that the registry has begun. `location` is where the next step goes; every answer may change it. It may be kept and
 * used by another client of the same registry and account later.
 */
export type Upload = { readonly location: URL; readonly offset: number };

/**
 * `isSizeKnown`: the other side has a blob of exactly that size, so that it is worth asking for this one by its digest. `minChunkSizeBytes`:
 * whoever sends several pieces must send no smaller ones, but for the last.
 */
type OpenedUpload = Upload & { readonly isSizeKnown: boolean; readonly minChunkSizeBytes: number | undefined };

/**
 * What our client and our gateway tell each other beyond the specification when an upload is opened: how large the blob will be, and
 * whether one of that size is there.
 */
export const blobSizeHeader = 'chainloop-blob-size';
export const sizeKnownHeader = 'chainloop-blob-size-known';

/**
 * The steps of an upload (distribution specification, "Pushing blobs"). Small steps (`open`, `status`, `commit`, `cancel`) are
 * repeated where that is safe; `append` is one try, because only the caller can bring the bytes again.
 */
export type UploadSteps = {
  /** `sizeBytes` is what the other side is told of the blob before anything is sent; a registry that is not ours does not listen. */
  open(options?: StepOptions & { readonly sizeBytes?: number | undefined }): Promise<OpenedUpload>;
  /** Sends bytes from `upload.offset` on. `sizeBytes` of the body may be unknown. The answer's `offset` is what the registry has. */
  append(upload: Upload, body: BodySource, options?: StepOptions): Promise<Upload>;
  /** Where the upload stands, or undefined when the registry has lost it, or cannot say. */
  status(upload: Upload, options?: StepOptions): Promise<Upload | undefined>;
  /** Ends the upload: the blob can be read when this returns. DIGEST_MISMATCH when the bytes are others. `body` is the last piece. */
  commit(upload: Upload, digest: Digest, options?: StepOptions & { readonly body?: Uint8Array }): Promise<void>;
  /** Gives the upload up; never throws, for registries clean up on their own. */
  cancel(upload: Upload): Promise<void>;
};

type StepOptions = { readonly signal?: AbortSignal | undefined; readonly what?: string };

const octets = { 'content-type': 'application/octet-stream' };

export function createUploadSteps(session: Session): UploadSteps {
  const named = (options: StepOptions) => options.what ?? 'upload';

  return {
    async open(options = {}) {
      const what = named(options);
      const url = session.url('blobs/uploads/');
      // A repeated POST opens another session; the registry drops the first one after a while.
      const answer = await session.send({
        method: 'POST',
        url,
        access: 'push',
        what,
        accept: [202],
        headers: { 'content-length': '0', ...(options.sizeBytes === undefined ? {} : { [blobSizeHeader]: String(options.sizeBytes) }) },
        signal: options.signal,
      });
      answer.discard();
      const location = session.sameOrigin(answer.header('location'), url, what);
      const minChunk = answer.header('oci-chunk-min-length');
      return {
        location,
        offset: 0,
        isSizeKnown: answer.header(sizeKnownHeader) === 'true',
        minChunkSizeBytes: minChunk !== undefined && /^\d{1,12}$/.test(minChunk) ? Number(minChunk) : undefined,
      };
    },

    async append(upload, body, options = {}) {
      const what = named(options);
      const { location, offset } = upload;
      let sentBytes = 0;
      const counted: BodySource = {
        sizeBytes: body.sizeBytes,
        async *read() {
          sentBytes = 0;
          for await (const piece of body.read()) {
            sentBytes += piece.byteLength;
            yield piece;
          }
        },
      };
      const range =
        body.sizeBytes === undefined || body.sizeBytes === 0 ? {} : { 'content-range': `${offset}-${offset + body.sizeBytes - 1}` };
      // "202 Accepted" by the specification; some answer 201 or 204.
      const answer = await session.sendOnce({
        method: 'PATCH',
        url: location,
        access: 'push',
        what,
        accept: [201, 202, 204],
        headers: { ...octets, ...range },
        body: counted,
        answerTimeoutMs: session.policy.commitTimeoutMs,
        signal: options.signal,
      });
      answer.discard();
      return { location: nextLocation(answer, location, what), offset: received(answer) ?? offset + sentBytes };
    },

    async status(upload, options = {}) {
      const what = named(options);
      try {
        const answer = await session.send({
          method: 'GET',
          url: upload.location,
          access: 'push',
          what,
          accept: [204, 202, 200],
          signal: options.signal,
        });
        answer.discard();
        const offset = received(answer);
        return offset === undefined ? undefined : { location: nextLocation(answer, upload.location, what), offset };
      } catch (error) {
        // docker-registry 2.8 loses a session that was cut inside a PATCH: 404 BLOB_UPLOAD_INVALID. Others do not implement this request.
        if (error instanceof RegistryError && [400, 404, 405, 410, 416].includes(error.status ?? 0)) return undefined;
        throw error;
      }
    },

    async commit(upload, digest, options = {}) {
      const what = named(options);
      const url = new URL(upload.location);
      url.searchParams.set('digest', digest);
      const answer = await session.sendOnce({
        method: 'PUT',
        url,
        access: 'push',
        what,
        accept: [201, 204],
        headers: octets,
        body: options.body ?? new Uint8Array(0),
        answerTimeoutMs: session.policy.commitTimeoutMs,
        signal: options.signal,
      });
      answer.discard();
      const stored = answer.header('docker-content-digest');
      if (stored === undefined || stored === digest) return;
      throw new RegistryError('DIGEST_MISMATCH', `${session.name}: ${what} failed: it stored other bytes than were sent (${digest})`);
    },

    async cancel(upload) {
      try {
        const answer = await session.sendOnce({
          method: 'DELETE',
          url: upload.location,
          access: 'push',
          what: 'cancel an upload',
          accept: [204, 202, 200, 404, 405],
        });
        answer.discard();
      } catch (error) {
        if (!(error instanceof RegistryError)) throw error;
      }
    },
  };

  function nextLocation(answer: HttpResponse, current: URL, what: string): URL {
    const next = answer.header('location');
    return next === undefined ? current : session.sameOrigin(next, current, what);
  }
}

/**
 * Bytes that the registry has, from `Range: 0-<last byte>`. `0-0` says nothing: it is one byte by the specification, and none in
 * docker-registry.
 */
function received(answer: HttpResponse): number | undefined {
  const last = /^(?:bytes=)?0-(\d{1,15})$/.exec(answer.header('range') ?? '')?.[1];
  return last === undefined || last === '0' ? undefined : Number(last) + 1;
}
