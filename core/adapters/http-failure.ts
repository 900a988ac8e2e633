import { systemCode } from '../system-code.ts';
/**
 * No (complete) answer. `address`: the resolved address is not allowed; `unknownHost`, `tls`: another try would not help;
 * `unreachable`: nothing was sent; `broken`: the connection broke, the other side may have done its work; `timeout`: silence.
 */
export class HttpFailure extends Error {
  readonly reason: 'address' | 'unknownHost' | 'tls' | 'unreachable' | 'broken' | 'timeout';

  constructor(reason: HttpFailure['reason'], message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'HttpFailure';
    this.reason = reason;
  }
}

/** A URL as it may stand in a message or log: without userinfo, query and fragment, and without the end of a long path, which may be a key. */
export function redactUrl(url: URL): string {
  const path = url.pathname.length > 80 ? `${url.pathname.slice(0, 60)}…` : url.pathname;
  return `${url.protocol}//${url.host}${path}`;
}

const words: Readonly<Record<string, string>> = {
  ENOTFOUND: 'the host name is unknown',
  EAI_AGAIN: 'the name service does not answer',
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'the connection was reset',
  ETIMEDOUT: 'the host does not answer',
  EPIPE: 'the connection was closed',
  EPROTO: 'it does not speak TLS',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is from an unknown CA',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is from an unknown CA',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is from an unknown CA',
};

/** What an error of a socket means; `connecting` when it never was connected: the same code may come later, when all was sent. */
export function failureOf(error: unknown, what: string, connecting: boolean): HttpFailure {
  const code = systemCode(error) ?? '';
  const isTls = /CERT|SIGNATURE|ERR_TLS|ERR_SSL|SELF_SIGNED|UNABLE_TO|^EPROTO$/.test(code);
  const reason = isTls ? 'tls' : !connecting ? 'broken' : code === 'ENOTFOUND' ? 'unknownHost' : 'unreachable';
  return new HttpFailure(reason, `${what}: ${words[code] ?? (code === '' ? 'the connection broke' : code)}`, error);
}
