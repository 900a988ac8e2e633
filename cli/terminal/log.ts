import { styleText } from 'node:util';
import { escapeText } from './escape.ts';

/** What the program says while it works: lines on stderr, so that stdout is data. */
export type Log = {
  info(message: string, fields?: Readonly<Record<string, string>>): void;
  warn(message: string): void;
  error(message: string): void;
  /** A line that belongs to the one before. */
  detail(message: string): void;
};

/** Tokens of the control plane, and passwords in URLs: whatever message they come in, they do not go out. */
const secrets = /chl_[a-z]+_[A-Za-z0-9_-]+|(?<=:\/\/)[^/\s@]+(?=@)/g;

/** The text without what looks like a credential. The last of several nets: no message should carry one. Linear in its length. */
export function withoutSecrets(text: string): string {
  return text.replace(secrets, '[redacted]').replace(/[\w.-]{12,}/g, withoutToken);
}

/** Tokens of CI systems (JWT, RFC 7519) begin with `{"` in base64, and have dots. */
function withoutToken(run: string): string {
  const at = run.indexOf('eyJ');
  return at === -1 || !run.includes('.', at) ? run : `${run.slice(0, at)}[redacted]`;
}

/** Lines `INF …`, `WRN …`, `ERR …` with `name=value` fields after the message. Coloured on a terminal, unless NO_COLOR is set. */
export function createLog(stream: NodeJS.WriteStream): Log {
  const coloured = stream.isTTY === true;
  const paint = (colour: 'green' | 'yellow' | 'red', text: string) => (coloured ? styleText(colour, text, { stream }) : text);
  const line = (level: string, message: string) => stream.write(`${level} ${escapeText(withoutSecrets(message))}\n`);
  return {
    info(message, fields = {}) {
      const pairs = Object.entries(fields).map(([name, value]) => ` ${name}=${/[\s"=]/.test(value) ? JSON.stringify(value) : value}`);
      line(paint('green', 'INF'), message + pairs.join(''));
    },
    warn: (message) => line(paint('yellow', 'WRN'), message),
    error: (message) => line(paint('red', 'ERR'), message),
    detail: (message) => line('   ', message),
  };
}
