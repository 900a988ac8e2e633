import { createHash } from 'node:crypto';
import { AwsV4Signer } from 'aws4fetch';
import { type BodySource, createHttp, type HttpResponse } from '../../core/adapters/http.ts';
import { failureError, judgeRegistry } from '../../core/adapters/oci/errors.ts';
import type { FetchPolicy } from '../../core/adapters/oci/session.ts';
import { defaultRetryPolicy, retry } from '../../core/adapters/retry.ts';
import { limits } from '../../core/limits.ts';
import { errorOf, s3Error } from './s3-error.ts';
import { textOf } from './s3-xml.ts';

/** Where objects lie, and who asks for them. */
export type S3Place = {
  /** `https://host[:port]`; `http:` is the caller's decision. */
  readonly origin: string;
  readonly bucket: string;
  /** Before every key, without slashes at its ends; empty for the whole bucket. */
  readonly prefix: string;
  readonly region: string;
  /** The bucket is a part of the host's name, and not the first part of the path (Amazon S3 user guide, "Virtual hosting of buckets"). */
  readonly virtualHost: boolean;
  readonly credentials: S3Credentials;
};

/** `sessionToken` belongs to temporary credentials (AWS STS). */
export type S3Credentials = { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string | undefined };

export type S3ClientOptions = S3Place & {
  /** Asked about the resolved address of every connection. */
  readonly allowAddress?: ((address: string) => boolean) | undefined;
  readonly fetchPolicy?: Partial<FetchPolicy> | undefined;
  readonly now?: (() => Date) | undefined;
};

type S3Request = {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  /** Below the prefix; absent for the bucket itself. */
  readonly key?: string | undefined;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: S3Body | undefined;
  /** What is attempted, for messages. */
  readonly what: string;
  /** Statuses that are answers; all others are thrown. */
  readonly accept: readonly number[];
  readonly answerTimeoutMs?: number;
};

/** Bytes in memory: they can be sent again. `sha256` is their digest in hex; computed when absent. */
export type S3Body = { readonly pieces: readonly Uint8Array[]; readonly sizeBytes: number; readonly sha256?: string };

/**
 * Signed requests to one bucket, each repeated while that may help. Errors: REGISTRY_UNAUTHORIZED, REGISTRY_ERROR (another try would not
 * help), REGISTRY_UNAVAILABLE, RATE_LIMITED, DISK_FULL, CONFLICT, NOT_FOUND; `registryCodes` has the code of S3.
 */
export type S3Client = {
  /** `bucket evidence at s3.example.com`, for messages. */
  readonly name: string;
  readonly place: Omit<S3Place, 'credentials'>;
  readonly policy: FetchPolicy;
  /** The key of an object as the whole bucket knows it. */
  fullKey(key: string): string;
  send(request: S3Request): Promise<HttpResponse>;
  /** As `send`, with the whole body, which belongs to what is repeated. LIMIT_EXCEEDED. */
  sendForBytes(request: S3Request, maxSizeBytes: number): Promise<{ readonly status: number; readonly bytes: Buffer }>;
  /** As `send`, with the XML of the answer; an error that comes with status 200 is thrown like others. */
  sendForXml(request: S3Request): Promise<string>;
  close(): void;
};

/** Connects to nothing yet. */
export function createS3Client(options: S3ClientOptions): S3Client {
  const { bucket, prefix, region, virtualHost, credentials, now = () => new Date() } = options;
  const origin = new URL(options.origin);
  const name = `bucket ${bucket} at ${origin.host}`;
  const http = createHttp({ allowAddress: options.allowAddress });
  const policy: FetchPolicy = {
    ...defaultRetryPolicy,
    requestTimeoutMs: limits.requestTimeoutMs,
    idleTimeoutMs: limits.idleTimeoutMs,
    commitTimeoutMs: limits.commitTimeoutMs,
    ...options.fetchPolicy,
  };
  /** The signing keys of a day. */
  const cache = new Map<string, ArrayBuffer>();
  const base = virtualHost ? new URL(`${origin.protocol}//${bucket}.${origin.host}/`) : new URL(`/${bucket}/`, origin);
  const fullKey = (key: string): string => (prefix === '' ? key : `${prefix}/${key}`);

  async function exchange(request: S3Request): Promise<HttpResponse> {
    const { method, key, query = {}, body, what } = request;
    const url = new URL(key === undefined ? '' : fullKey(key), base);
    for (const [field, value] of Object.entries(query)) url.searchParams.set(field, value);
    const at = now();
    const signer = new AwsV4Signer({
      accessKeyId: credentials.accessKeyId,
      secretAccessKey: credentials.secretAccessKey,
      ...(credentials.sessionToken === undefined ? {} : { sessionToken: credentials.sessionToken }),
      ...{ method, url: url.href, region, service: 's3', cache, datetime: amzDate(at) },
      // What arrives is compared with it there: bytes that were changed on the way are refused.
      headers: { ...request.headers, 'x-amz-content-sha256': body === undefined ? emptySha256 : (body.sha256 ?? sha256Of(body.pieces)) },
    });
    const signed = await signer.sign();
    try {
      return await http.request({
        method,
        url: signed.url,
        headers: { ...Object.fromEntries(signed.headers), 'user-agent': 'chainloop' },
        body: body && sourceOf(body),
        answerTimeoutMs: request.answerTimeoutMs ?? policy.requestTimeoutMs,
        idleTimeoutMs: policy.idleTimeoutMs,
      });
    } catch (error) {
      throw failureError(error, { name, what, advice: '' });
    }
  }

  function repeated<T>(request: S3Request, read: (response: HttpResponse) => Promise<T>): Promise<T> {
    const attempt = async (): Promise<T> => {
      const response = await exchange(request);
      if (!request.accept.includes(response.status)) throw await s3Error(response, { name, what: request.what, now: now() });
      return read(response);
    };
    return retry(attempt, judgeRegistry, { policy });
  }

  async function bytesOf(response: HttpResponse, what: string, maxSizeBytes: number): Promise<Buffer> {
    try {
      return await response.bytes(maxSizeBytes);
    } catch (error) {
      throw failureError(error, { name, what, advice: '' });
    }
  }

  return {
    name,
    place: { origin: origin.origin, bucket, prefix, region, virtualHost },
    policy,
    fullKey,
    send: (request) => repeated(request, async (response) => response),
    sendForBytes: (request, maxSizeBytes) =>
      repeated(request, async (response) => ({
        status: response.status,
        bytes: await bytesOf(response, request.what, maxSizeBytes),
      })),
    sendForXml: (request) =>
      repeated(request, async (response) => {
        const { what } = request;
        const xml = (await bytesOf(response, what, limits.manifestSizeBytes)).toString('utf8');
        const failed = /<Error[\s>]/.test(xml) && textOf(xml, 'Code') !== '';
        if (failed) throw errorOf({ ...response, status: 500 }, xml, { name, what, now: now() });
        return xml;
      }),
    close: () => http.close(),
  };
}

const emptySha256 = sha256Of([]);

function sha256Of(pieces: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const piece of pieces) hash.update(piece);
  return hash.digest('hex');
}

function sourceOf({ pieces, sizeBytes }: S3Body): BodySource {
  return {
    sizeBytes,
    async *read() {
      yield* pieces;
    },
  };
}

/** ISO 8601 basic format (AWS general reference, "Elements of a request signature"). */
function amzDate(at: Date): string {
  return at.toISOString().replace(/[-:]|\.\d{3}/g, '');
}
