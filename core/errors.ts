/**
 * Every way an operation can fail, as data. Codes are API: add, never rename. `exit` is the exit status of the CLI,
 * `http` the status on the wire, `meaning` what docs/errors.md says (a test compares the two).
 *
 * Exit statuses: 1 failed, 2 usage or bad input, 3 contract not satisfied, 4 policy gate, 5 authentication, 6 conflict,
 * 75 control plane unreachable (EX_TEMPFAIL of sysexits.h: try again later).
 */
export const errorTable = {
  USAGE: { exit: 2, http: 400, meaning: 'An argument or input is malformed.' },
  LIMIT_EXCEEDED: { exit: 2, http: 413, meaning: 'An input is larger, deeper or longer than its documented limit.' },
  CONTRACT_INVALID: { exit: 2, http: 400, meaning: 'A contract is not valid; every problem is listed with its place.' },
  FILE_NOT_FOUND: { exit: 2, http: 400, meaning: 'A path does not exist.' },
  FILE_UNREADABLE: { exit: 2, http: 400, meaning: 'A path exists but cannot be read, or is not a regular file.' },
  FILE_EMPTY: { exit: 2, http: 400, meaning: 'A file has no content, so it cannot be evidence.' },
  FILE_CHANGED: { exit: 1, http: 400, meaning: 'A file changed while it was read.' },
  FILE_EXISTS: { exit: 6, http: 409, meaning: 'A file would be overwritten.' },
  DISK_FULL: { exit: 1, http: 507, meaning: 'There is no space left to write.' },
  MATERIAL_UNKNOWN: { exit: 3, http: 400, meaning: 'The contract has no material of that name.' },
  MATERIAL_KIND_MISMATCH: { exit: 3, http: 400, meaning: 'The evidence is not of the kind that the contract asks for.' },
  MATERIAL_INVALID: { exit: 3, http: 400, meaning: 'The evidence is of the right kind, but breaks the rules of its own format.' },
  CONTRACT_NOT_SATISFIED: {
    exit: 3,
    http: 412,
    meaning: 'Evidence, annotations or variables that the contract requires are missing or wrong.',
  },
  RUNNER_MISMATCH: { exit: 3, http: 412, meaning: 'The contract asks for another CI runner.' },
  POLICY_NOT_SATISFIED: { exit: 4, http: 412, meaning: 'A policy gate refused the run.' },
  // From here to VSA_INVALID: of the release gate, about an attestation. Short, as the Action loads this table at its start.
  ATTESTATION_NOT_FOUND: { exit: 4, http: 404, meaning: 'There is no attestation of the artifact.' },
  ATTESTATION_INVALID: {
    exit: 4,
    http: 400,
    meaning: 'A bundle was altered, or is none.',
  },
  ATTESTATION_SIGNER: { exit: 4, http: 403, meaning: 'Another signed it than who is trusted.' },
  TRUST_ROOT_MISMATCH: { exit: 4, http: 400, meaning: 'The trusted root does not have its authorities.' },
  ARTIFACT_NOT_ATTESTED: { exit: 4, http: 409, meaning: 'Another artifact was attested.' },
  OTHER_ORGANIZATION: { exit: 4, http: 409, meaning: 'Another organization attested it.' },
  OTHER_WORKFLOW: { exit: 4, http: 409, meaning: 'Another workflow attested it.' },
  OTHER_CONTRACT: { exit: 3, http: 412, meaning: 'It satisfies another contract, or none.' },
  CONTRACT_REVISION: {
    exit: 3,
    http: 412,
    meaning: 'It satisfies another revision of the contract.',
  },
  RUN_NOT_SUCCESSFUL: {
    exit: 3,
    http: 412,
    meaning: 'Its run is no success.',
  },
  VSA_MISSING: { exit: 4, http: 404, meaning: 'It has no verification summary.' },
  VSA_INVALID: { exit: 4, http: 400, meaning: 'Its verification summary does not hold, or says something else.' },
  AUDIT_ALTERED: { exit: 4, http: 409, meaning: 'A row of an audit log was altered, removed or added; the message names it.' },
  UNAUTHENTICATED: { exit: 5, http: 401, meaning: 'No credential was sent, or it is unknown.' },
  TOKEN_EXPIRED: { exit: 5, http: 401, meaning: 'The token has expired.' },
  TOKEN_REVOKED: { exit: 5, http: 401, meaning: 'The token was revoked.' },
  FORBIDDEN: { exit: 5, http: 403, meaning: 'The credential is valid, but may not do this.' },
  LOGIN_UNSUPPORTED: { exit: 5, http: 404, meaning: 'This control plane, or its OpenID provider, has no such login; use a token.' },
  NO_BINDING: {
    exit: 5,
    http: 403,
    meaning: 'No binding lets this job in; what was expected and what was found is listed, claim by claim.',
  },
  NOT_FOUND: { exit: 1, http: 404, meaning: 'There is no such thing, or it belongs to somebody else.' },
  ALREADY_EXISTS: { exit: 6, http: 409, meaning: 'Something of that name exists already.' },
  CONFLICT: { exit: 6, http: 409, meaning: 'The change collides with another one, or with what depends on it.' },
  RUN_ALREADY_FINISHED: { exit: 6, http: 409, meaning: 'The run has ended with another outcome; start a new one.' },
  RUN_EXPIRED: { exit: 6, http: 409, meaning: 'The run was open for too long and has expired; start a new one.' },
  NO_CRAFTING: { exit: 2, http: 400, meaning: 'There is no open attestation here; start one with: chainloop attestation init' },
  CRAFTING_OPEN: { exit: 6, http: 409, meaning: 'An attestation is open here already.' },
  CRAFTING_SEALED: { exit: 6, http: 409, meaning: 'The attestation is signed and may have been delivered; push it again, or reset it.' },
  STATE_CORRUPT: { exit: 1, http: 500, meaning: 'The saved crafting state cannot be read.' },
  BUNDLE_INVALID: { exit: 1, http: 400, meaning: 'A bundle is malformed, too large or not in canonical form.' },
  SIGNATURE_INVALID: { exit: 1, http: 400, meaning: 'A signature does not verify over the payload.' },
  SIGNER_UNTRUSTED: { exit: 1, http: 403, meaning: 'The signer is not one that the verifier trusts.' },
  TIMESTAMP_INVALID: {
    exit: 1,
    http: 400,
    meaning: 'There is no trusted timestamp of a signature, or it lies outside the validity of its certificate.',
  },
  TRANSPARENCY_INVALID: {
    exit: 1,
    http: 400,
    meaning: 'A transparency log entry is missing, does not verify, or is of another signature, key or artifact.',
  },
  TRUST_ROOT_INVALID: { exit: 2, http: 400, meaning: 'A trusted root cannot be read, or leaves open when an authority may be believed.' },
  STATEMENT_INVALID: { exit: 1, http: 400, meaning: 'The payload is not an in-toto Statement v1 with the expected predicate.' },
  STATEMENT_MISMATCH: {
    exit: 1,
    http: 409,
    meaning: 'The statement speaks of another organization, project, workflow, run or contract revision.',
  },
  SUBJECT_MISMATCH: { exit: 1, http: 409, meaning: 'The subjects of the statement are not the expected ones.' },
  EVIDENCE_MISSING: { exit: 1, http: 409, meaning: 'The statement says that evidence is in storage, but it is not there.' },
  ARTIFACT_MISMATCH: { exit: 1, http: 409, meaning: 'The given artifact is not a subject of the attestation.' },
  KEY_INVALID: { exit: 2, http: 400, meaning: 'A key cannot be read, or is of an unsupported type.' },
  KEY_PASSWORD: { exit: 2, http: 400, meaning: 'The password of an encrypted key is missing or wrong.' },
  SIGNING_REFUSED: {
    exit: 1,
    http: 502,
    meaning: 'A service of Sigstore refused what signing needs, or its answer cannot be used.',
  },
  SIGNING_UNAVAILABLE: { exit: 75, http: 503, meaning: 'A service of Sigstore that signing needs cannot be reached, or keeps failing.' },
  DIGEST_MISMATCH: { exit: 1, http: 400, meaning: 'The bytes are not those that the digest or size promised.' },
  IMAGE_NOT_FOUND: { exit: 2, http: 404, meaning: 'The registry has no such image.' },
  REGISTRY_UNAUTHORIZED: { exit: 5, http: 502, meaning: 'The registry or bucket refused the credentials, or wants some.' },
  REGISTRY_ERROR: { exit: 1, http: 502, meaning: 'The registry or bucket refused or failed a request.' },
  REGISTRY_UNAVAILABLE: { exit: 75, http: 503, meaning: 'The registry or bucket cannot be reached, or keeps failing.' },
  STORAGE_UNAVAILABLE: { exit: 75, http: 503, meaning: 'The evidence storage of the organization is not usable now.' },
  RATE_LIMITED: { exit: 75, http: 429, meaning: 'Too many requests; wait as long as the answer says.' },
  CONTROL_PLANE_UNREACHABLE: { exit: 75, http: 503, meaning: 'The control plane cannot be reached, or is stopping.' },
  INTERNAL: { exit: 1, http: 500, meaning: 'A defect; the request id finds it in the log of the server.' },
} as const satisfies Record<string, { exit: number; http: number; meaning: string }>;

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
