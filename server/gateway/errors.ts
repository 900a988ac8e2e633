import { type ChainloopError, type ErrorCode, errorTable, isChainloopError } from '../../core/errors.ts';

/** The codes of the OCI distribution specification 1.1, "Error Codes", and the status that we answer them with. */
const codes = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 416,
  BLOB_UPLOAD_UNKNOWN: 404,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 404,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  SIZE_INVALID: 413,
  UNAUTHORIZED: 401,
  DENIED: 403,
  UNSUPPORTED: 405,
  TOOMANYREQUESTS: 429,
  /** Not in the table of the specification; what distribution itself answers for everything else. */
  UNKNOWN: 500,
  UNAVAILABLE: 503,
} as const;
export type DistributionCode = keyof typeof codes;

/** A refusal in the words of the distribution specification. The message goes to the client: no secret in it. */
export class DistributionError extends Error {
  readonly code: DistributionCode;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly detail: unknown;
  /** Our own code of what failed, in the header x-chainloop-error. */
  readonly failure: ErrorCode | undefined;

  constructor(
    code: DistributionCode,
    message: string,
    options: { status?: number; headers?: Readonly<Record<string, string>>; detail?: unknown; failure?: ErrorCode; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'DistributionError';
    this.code = code;
    this.status = options.status ?? codes[code];
    this.headers = options.headers ?? {};
    this.detail = options.detail;
    this.failure = options.failure;
  }

  /** The body (distribution specification, "Error Codes"). */
  toJSON(): unknown {
    return { errors: [{ code: this.code, message: this.message, ...(this.detail === undefined ? {} : { detail: this.detail }) }] };
  }
}

/** The same answer for an organization that does not exist and for one that is somebody else's. */
export function nameUnknown(): DistributionError {
  return new DistributionError('NAME_UNKNOWN', 'repository name not known to this registry: check the organization in the path');
}

/** Any failure as a refusal. Undefined: it is a defect, and the client gets a request id instead. */
export function distributionErrorOf(error: unknown): DistributionError | undefined {
  if (error instanceof DistributionError) return error;
  if (!isChainloopError(error)) return undefined;
  const code = codeOf(error);
  if (code === undefined) return undefined;
  return new DistributionError(code, error.message, {
    ...answerOf(error),
    detail: { code: error.code },
    failure: error.code,
    cause: error,
  });
}

function answerOf(error: ChainloopError): { status: number; headers?: Readonly<Record<string, string>> } {
  // An upload at another offset: the specification wants 416 here.
  const status = error.code === 'CONFLICT' ? 416 : errorTable[error.code].http;
  return status === 429 || status === 503 ? { status, headers: { 'retry-after': '1' } } : { status };
}

function codeOf(error: ChainloopError): DistributionCode | undefined {
  switch (error.code) {
    case 'UNAUTHENTICATED':
    case 'TOKEN_EXPIRED':
    case 'TOKEN_REVOKED':
      return 'UNAUTHORIZED';
    case 'FORBIDDEN':
      return 'DENIED';
    case 'NOT_FOUND':
      return 'BLOB_UPLOAD_UNKNOWN';
    case 'CONFLICT':
      return 'BLOB_UPLOAD_INVALID';
    case 'DIGEST_MISMATCH':
    case 'USAGE':
      return 'DIGEST_INVALID';
    case 'LIMIT_EXCEEDED':
      return 'SIZE_INVALID';
    case 'RATE_LIMITED':
      return 'TOOMANYREQUESTS';
    case 'DISK_FULL':
    case 'REGISTRY_ERROR':
    case 'REGISTRY_UNAUTHORIZED':
      return 'UNKNOWN';
    case 'REGISTRY_UNAVAILABLE':
    case 'STORAGE_UNAVAILABLE':
    case 'CONTROL_PLANE_UNREACHABLE':
      return 'UNAVAILABLE';
    default:
      return undefined;
  }
}
