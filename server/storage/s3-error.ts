import type { HttpResponse } from '../../core/adapters/http.ts';
import { RegistryError } from '../../core/adapters/oci/errors.ts';
import { retryAfterMs } from '../../core/adapters/retry.ts';
import type { ErrorCode } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { textOf } from './s3-xml.ts';

/** Whom an error speaks of: `what` was attempted at `name` (`bucket evidence at s3.example.com`). */
export type S3Subject = { readonly name: string; readonly what: string; readonly now: Date };

type Meaning = { readonly code: ErrorCode; readonly advice: string; readonly temporary?: boolean };

/** What the account must be allowed to do, for messages and docs/storage.md. */
const permissions =
  's3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload, s3:ListMultipartUploadParts, s3:ListBucket, s3:ListBucketMultipartUploads';
const newCredentials =
  'set others with: chainloop cas-backend update --name <name> --access-key-id <id>, and the secret in CHAINLOOP_S3_SECRET_ACCESS_KEY';

/** Codes of S3 (Amazon S3 API reference, "Error responses", "List of error codes") by which somebody would act in another way. */
const meanings: Readonly<Record<string, Meaning>> = {
  AccessDenied: { code: 'REGISTRY_UNAUTHORIZED', advice: `the account may not do this; it needs ${permissions}` },
  AllAccessDisabled: { code: 'REGISTRY_UNAUTHORIZED', advice: 'the bucket is closed for everybody: ask its owner' },
  InvalidAccessKeyId: { code: 'REGISTRY_UNAUTHORIZED', advice: `the access key is unknown there; ${newCredentials}` },
  SignatureDoesNotMatch: {
    code: 'REGISTRY_UNAUTHORIZED',
    advice: `the secret access key is not that of the access key; ${newCredentials}`,
  },
  InvalidToken: { code: 'REGISTRY_UNAUTHORIZED', advice: `the session token is not valid; ${newCredentials}` },
  ExpiredToken: { code: 'REGISTRY_UNAUTHORIZED', advice: `the session token has expired; ${newCredentials}` },
  NoSuchBucket: { code: 'REGISTRY_ERROR', advice: 'there is no such bucket: make it, or check --bucket and --endpoint' },
  EntityTooLarge: {
    code: 'REGISTRY_ERROR',
    advice: 'the store, or a proxy before it, limits the size of a request: it has to take 8 MiB',
  },
  EntityTooSmall: { code: 'CONFLICT', advice: 'another server has written to this upload: start it anew' },
  InvalidPart: { code: 'CONFLICT', advice: 'another server has written to this upload: start it anew' },
  InvalidPartOrder: { code: 'CONFLICT', advice: 'another server has written to this upload: start it anew' },
  NoSuchUpload: { code: 'NOT_FOUND', advice: 'there is no such upload (any more); start a new one' },
  NoSuchKey: { code: 'NOT_FOUND', advice: 'the object is gone' },
  PreconditionFailed: { code: 'CONFLICT', advice: 'the object was replaced meanwhile: try again' },
  NotImplemented: { code: 'REGISTRY_ERROR', advice: 'the store lacks a part of the S3 API that evidence needs: docs/storage.md lists it' },
  SlowDown: { code: 'RATE_LIMITED', advice: 'too many requests: try again later', temporary: true },
  // The bytes were changed on their way: nothing was kept of them.
  BadDigest: { code: 'REGISTRY_UNAVAILABLE', advice: 'the bytes were changed on the way: try again', temporary: true },
  XAmzContentSHA256Mismatch: { code: 'REGISTRY_UNAVAILABLE', advice: 'the bytes were changed on the way: try again', temporary: true },
  // Answered with status 400.
  RequestTimeout: { code: 'REGISTRY_UNAVAILABLE', advice: 'it waited too long for our bytes: try again', temporary: true },
  QuotaExceeded: { code: 'DISK_FULL', advice: 'it has no space left: make room there and try again' },
  XMinioStorageFull: { code: 'DISK_FULL', advice: 'it has no space left: make room there and try again' },
};

/** Codes that speak of the region that the bucket is in. */
const regional = new Set(['AuthorizationHeaderMalformed', 'PermanentRedirect', 'TemporaryRedirect', 'IllegalLocationConstraintException']);

/** An error of S3 as ours: `registryCodes` has its code (NoSuchBucket, SlowDown). Reads the beginning of the body. */
export async function s3Error(response: HttpResponse, subject: S3Subject): Promise<RegistryError> {
  return errorOf(response, await response.excerpt(limits.errorBodySizeBytes), subject);
}

/** The same of a body that was read already: a copy, and the end of an upload in parts, may answer 200 and then fail. */
export function errorOf(response: HttpResponse, body: string, { name, what, now }: S3Subject): RegistryError {
  const { status } = response;
  const found = textOf(body, 'Code');
  const s3Code = /^[A-Za-z0-9]{1,64}$/.test(found) ? found : '';
  const { code, advice, temporary = false } = meaningOf(response, s3Code, body, now);
  return new RegistryError(code, `${name}: ${what} failed (${s3Code === '' ? status : `${status} ${s3Code}`}); ${advice}`, {
    status,
    registryCodes: s3Code === '' ? [] : [s3Code],
    temporary,
    afterMs: retryAfterMs(response.header('retry-after')),
  });
}

function meaningOf(response: HttpResponse, s3Code: string, body: string, now: Date): Meaning {
  const { status } = response;
  const region = response.header('x-amz-bucket-region') ?? textOf(body, 'Region');
  if (regional.has(s3Code) || (status >= 300 && status < 400)) {
    const where = /^[a-z0-9-]{1,40}$/.test(region)
      ? `the bucket is in region ${region}`
      : 'the bucket is in another region, or at another endpoint';
    return { code: 'REGISTRY_ERROR', advice: `${where}: add the backend with that --region and --endpoint` };
  }
  if (s3Code === 'RequestTimeTooSkewed') return { code: 'REGISTRY_ERROR', advice: skewAdvice(response, body, now) };
  const known = meanings[s3Code];
  if (known !== undefined) return known;
  if (status === 507) return { code: 'DISK_FULL', advice: 'it has no space left: make room there and try again' };
  if (status === 413)
    return { code: 'REGISTRY_ERROR', advice: 'the store, or a proxy before it, limits the size of a request: it has to take 8 MiB' };
  if (status === 429) return { code: 'RATE_LIMITED', advice: 'too many requests: try again later', temporary: true };
  // An answer to HEAD says no more than that.
  if (status === 401 || status === 403) {
    return { code: 'REGISTRY_UNAUTHORIZED', advice: `check the credentials, and that the account has ${permissions}` };
  }
  if (status === 404) return { code: 'REGISTRY_ERROR', advice: 'check --bucket, --endpoint and the access key' };
  if (status >= 500) return { code: 'REGISTRY_UNAVAILABLE', advice: 'it is in trouble: try again later', temporary: true };
  return { code: 'REGISTRY_ERROR', advice: 'its log says more' };
}

function skewAdvice(response: HttpResponse, body: string, now: Date): string {
  const theirs = [textOf(body, 'ServerTime'), response.header('date') ?? ''].map(Date.parse).find((time) => !Number.isNaN(time));
  const skew =
    theirs === undefined ? 'differs too much from that of the store' : `is ${skewText(now.getTime() - theirs)} that of the store`;
  return `the clock of this server ${skew}: synchronise both (NTP)`;
}

/** How one clock stands to another: `905 s ahead of`. */
export function skewText(skewMs: number): string {
  return `${Math.round(Math.abs(skewMs) / 1000)} s ${skewMs < 0 ? 'behind' : 'ahead of'}`;
}

/** True for an error of S3 with that code. */
export function isS3(error: unknown, s3Code: string): error is RegistryError {
  return error instanceof RegistryError && error.registryCodes.includes(s3Code);
}
