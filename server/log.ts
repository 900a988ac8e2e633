import { type DestinationStream, type Logger, pino } from 'pino';

export type Log = Logger;
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

/**
 * The server's log: one JSON object a line. Whatever is logged by mistake, tokens, credentials in URLs, signed query strings and
 * private keys are taken out of the finished line.
 */
export function createLog(level: LogLevel, destination: DestinationStream): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: pino.stdSerializers.errWithCause },
      redact: {
        paths: ['authorization', '*.authorization', '*.*.authorization', 'password', '*.password', 'token', '*.token'],
        censor: '[redacted]',
      },
      hooks: { streamWrite: withoutSecrets },
    },
    destination,
  );
}

// drizzle's errors carry the parameters of the query, and those are the tenant's.
const secrets: readonly (readonly [RegExp, string])[] = [
  [/chl_[a-z]{1,8}_[A-Za-z0-9_-]{20,}/g, '[token]'],
  [/(\b(?:Bearer|Basic) )[A-Za-z0-9._~+/=-]{8,}/gi, '$1[redacted]'],
  [/(:\/\/)[^\s/@"\\]{1,512}@/g, '$1[redacted]@'],
  [/([?&](?=[\w-]*(?:signature|token|credential|password|secret|sig))[\w-]+=)[^&\s"\\]+/gi, '$1[redacted]'],
  [/(\\nparams: )(?:[^"\\]|\\[^n])*/g, '$1[redacted]'],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^-]|-(?!----))*(?:-----END [A-Z ]*PRIVATE KEY-----)?/g, '[private key]'],
];

/** The text without what looks like a secret. Linear in its length. */
export function withoutSecrets(text: string): string {
  return secrets.reduce((rest, [pattern, replacement]) => rest.replace(pattern, replacement), text).replace(/[\w.-]{16,}/g, withoutToken);
}

/** JSON Web Tokens (RFC 7519), as CI systems give them out, begin with `{"` in base64, and have dots. What stands before may be an escape. */
function withoutToken(run: string): string {
  const at = run.indexOf('eyJ');
  return at === -1 || !run.includes('.', at) ? run : `${run.slice(0, at)}[token]`;
}
