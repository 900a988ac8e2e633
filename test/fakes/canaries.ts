import { randomBytes } from 'node:crypto';

/** Secrets that were planted, and a search for them in everything that is written. */
export type Canaries = {
  /** A new secret, under the name that a finding is reported by. */
  plant(name: string): string;
  /** A secret that was made elsewhere: a token, a key. */
  watch(name: string, secret: string | Uint8Array): void;
  /** The names of those that are in there, in any of the forms of `formsOf`. `allowed` may be. Counts the bytes. */
  findIn(output: string | Uint8Array, ...allowed: readonly string[]): readonly string[];
  readonly planted: number;
  readonly scannedBytes: number;
};

export function createCanaries(): Canaries {
  const secrets = new Map<string, readonly Buffer[]>();
  let scannedBytes = 0;
  const watch = (name: string, secret: string | Uint8Array): void => {
    secrets.set(name, formsOf(secret));
  };
  return {
    plant(name) {
      // Letters and digits alone, so that no escaping hides it.
      const secret = `canary${randomBytes(12).toString('hex')}`;
      watch(name, secret);
      return secret;
    },
    watch,
    findIn(output, ...allowed) {
      const bytes = Buffer.from(output);
      scannedBytes += bytes.byteLength;
      return [...secrets].flatMap(([name, forms]) => (!allowed.includes(name) && forms.some((form) => bytes.includes(form)) ? [name] : []));
    },
    get planted() {
      return secrets.size;
    },
    get scannedBytes() {
      return scannedBytes;
    },
  };
}

/** As it is, in hex, in UTF-16, and in base64 and base64url wherever it begins in a longer text. */
function formsOf(secret: string | Uint8Array): readonly Buffer[] {
  const bytes = Buffer.from(secret);
  const base64 = [0, 1, 2].flatMap((shift) => {
    const whole = Buffer.concat([Buffer.alloc(shift), bytes]);
    // The letters at the edges mix with what stands beside.
    const text = whole
      .toString('base64')
      .replace(/=+$/, '')
      .slice(shift === 0 ? 0 : shift + 1, -2);
    return [text, text.replaceAll('+', '-').replaceAll('/', '_')];
  });
  const wide = Buffer.from(bytes.toString('latin1'), 'utf16le');
  return [bytes, Buffer.from(bytes.toString('hex')), ...base64.map((form) => Buffer.from(form)), wide];
}
