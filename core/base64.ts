import * as z from 'zod';

/**
 * Bytes in JSON: standard base64 with padding (RFC 4648, section 4), in its one spelling. ProtoJSON and DSSE let a reader take the
 * URL-safe alphabet, missing padding or white space too; then one envelope has many texts, and a digest of the text means nothing.
 */
export const Base64 = z
  .string()
  .min(1, 'is empty')
  .superRefine((text, context) => {
    const problem = base64Problem(text);
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
  });

/** The same for no more bytes than that; a longer text is not decoded. */
export const base64Within = (sizeBytes: number) =>
  z
    .string()
    .max(Math.ceil(sizeBytes / 3) * 4, { error: `is larger than ${sizeBytes} bytes`, abort: true })
    .pipe(Base64);

/** The bytes of a text that `Base64` has accepted. */
export function fromBase64(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64'));
}

/** Standard base64 with padding. */
export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

function base64Problem(text: string): string | undefined {
  if (Buffer.from(text, 'base64').toString('base64') === text) return undefined;
  if (/\s/.test(text)) return 'has white space inside its base64';
  if (/[-_]/.test(text)) return 'is URL-safe base64; it must be standard base64 (RFC 4648, section 4)';
  return 'is not standard base64 with padding (RFC 4648, section 4)';
}
