/**
 * Every way an operation can fail, as data. Codes are API: add, never rename. `exit` is the exit status of the CLI,
 * `http` the status on the wire; docs/errors.md says what each means (a test compares the two).
 *
 * Exit statuses: 1 failed, 2 usage or bad input, 3 contract not satisfied, 4 policy gate, 5 authentication, 6 conflict,
 * 75 control plane unreachable (EX_TEMPFAIL of sysexits.h: try again later).
 */
export const errorTable = {
  USAGE: { exit: 2, http: 400 },
  LIMIT_EXCEEDED: { exit: 2, http: 413 },
  CONTRACT_INVALID: { exit: 2, http: 400 },
  FILE_NOT_FOUND: { exit: 2, http: 400 },
  FILE_UNREADABLE: { exit: 2, http: 400 },
  FILE_EMPTY: { exit: 2, http: 400 },
  FILE_CHANGED: { exit: 1, http: 400 },
  FILE_EXISTS: { exit: 6, http: 409 },
  DISK_FULL: { exit: 1, http: 507 },
  MATERIAL_UNKNOWN: { exit: 3, http: 400 },
  MATERIAL_KIND_MISMATCH: { exit: 3, http: 400 },
  MATERIAL_INVALID: { exit: 3, http: 400 },
  CONTRACT_NOT_SATISFIED: { exit: 3, http: 412 },
  RUNNER_MISMATCH: { exit: 3, http: 412 },
  POLICY_NOT_SATISFIED: { exit: 4, http: 412 },
  // From here to VSA_INVALID: of the release gate, about an attestation.
  ATTESTATION_NOT_FOUND: { exit: 4, http: 404 },
  ATTESTATION_INVALID: { exit: 4, http: 400 },
  ATTESTATION_SIGNER: { exit: 4, http: 403 },
  TRUST_ROOT_MISMATCH: { exit: 4, http: 400 },
  ARTIFACT_NOT_ATTESTED: { exit: 4, http: 409 },
  OTHER_ORGANIZATION: { exit: 4, http: 409 },
  OTHER_WORKFLOW: { exit: 4, http: 409 },
  OTHER_CONTRACT: { exit: 3, http: 412 },
  CONTRACT_REVISION: { exit: 3, http: 412 },
  RUN_NOT_SUCCESSFUL: { exit: 3, http: 412 },
  VSA_MISSING: { exit: 4, http: 404 },
  VSA_INVALID: { exit: 4, http: 400 },
  AUDIT_ALTERED: { exit: 4, http: 409 },
  UNAUTHENTICATED: { exit: 5, http: 401 },
  TOKEN_EXPIRED: { exit: 5, http: 401 },
  TOKEN_REVOKED: { exit: 5, http: 401 },
  FORBIDDEN: { exit: 5, http: 403 },
  LOGIN_UNSUPPORTED: { exit: 5, http: 404 },
  NO_BINDING: { exit: 5, http: 403 },
  NOT_FOUND: { exit: 1, http: 404 },
  ALREADY_EXISTS: { exit: 6, http: 409 },
  CONFLICT: { exit: 6, http: 409 },
  RUN_ALREADY_FINISHED: { exit: 6, http: 409 },
  RUN_EXPIRED: { exit: 6, http: 409 },
  NO_CRAFTING: { exit: 2, http: 400 },
  CRAFTING_OPEN: { exit: 6, http: 409 },
  CRAFTING_SEALED: { exit: 6, http: 409 },
  STATE_CORRUPT: { exit: 1, http: 500 },
  BUNDLE_INVALID: { exit: 1, http: 400 },
  SIGNATURE_INVALID: { exit: 1, http: 400 },
  SIGNER_UNTRUSTED: { exit: 1, http: 403 },
  TIMESTAMP_INVALID: { exit: 1, http: 400 },
  TRANSPARENCY_INVALID: { exit: 1, http: 400 },
  TRUST_ROOT_INVALID: { exit: 2, http: 400 },
  STATEMENT_INVALID: { exit: 1, http: 400 },
  STATEMENT_MISMATCH: { exit: 1, http: 409 },
  SUBJECT_MISMATCH: { exit: 1, http: 409 },
  EVIDENCE_MISSING: { exit: 1, http: 409 },
  ARTIFACT_MISMATCH: { exit: 1, http: 409 },
  KEY_INVALID: { exit: 2, http: 400 },
  KEY_PASSWORD: { exit: 2, http: 400 },
  SIGNING_REFUSED: { exit: 1, http: 502 },
  SIGNING_UNAVAILABLE: { exit: 75, http: 503 },
  DIGEST_MISMATCH: { exit: 1, http: 400 },
  IMAGE_NOT_FOUND: { exit: 2, http: 404 },
  REGISTRY_UNAUTHORIZED: { exit: 5, http: 502 },
  REGISTRY_ERROR: { exit: 1, http: 502 },
  REGISTRY_UNAVAILABLE: { exit: 75, http: 503 },
  STORAGE_UNAVAILABLE: { exit: 75, http: 503 },
  RATE_LIMITED: { exit: 75, http: 429 },
  CONTROL_PLANE_UNREACHABLE: { exit: 75, http: 503 },
  INTERNAL: { exit: 1, http: 500 },
} as const satisfies Record<string, { exit: number; http: number }>;

export type ErrorCode = keyof typeof errorTable;

/** One thing that is wrong with an input, and where. `line` and `column` count from 1; `path` is `materials[2].name`. */
export type Problem = {
  readonly message: string;
  /** The file that line and column are of, where a caller knows it. */
  readonly file?: string | undefined;
  readonly path?: string | undefined;
  readonly line?: number | undefined;
  readonly column?: number | undefined;
  /** Of a claim that keeps a job out (`path`): which binding asks for what, and what the token says. */
  readonly claim?: { readonly binding: string; readonly expected: string; readonly found: string } | undefined;
};

/**
 * An operating error: expected, with a code that a caller acts on and a message that says what failed, on what, and what to do.
 * The message and the problems may be shown to anybody: no secret, token, query string or file content in them.
 */
export class ChainloopError extends Error {
  readonly code: ErrorCode;
  readonly problems: readonly Problem[];

  constructor(code: ErrorCode, message: string, options: { problems?: readonly Problem[]; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'ChainloopError';
    this.code = code;
    this.problems = options.problems ?? [];
  }
}

/** True for our own errors, of that code when one is given. */
export function isChainloopError(error: unknown, code?: ErrorCode): error is ChainloopError {
  return error instanceof ChainloopError && (code === undefined || error.code === code);
}

/** True when trying again later is all that helps: some service does not answer. */
export function isOutage(error: unknown): error is ChainloopError {
  return error instanceof ChainloopError && errorTable[error.code].exit === 75;
}

/** The codes as a type guard, for errors that arrive over the wire. */
export function isErrorCode(text: unknown): text is ErrorCode {
  return typeof text === 'string' && Object.hasOwn(errorTable, text);
}
