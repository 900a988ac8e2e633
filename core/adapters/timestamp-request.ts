import { createHash, randomBytes } from 'node:crypto';

/** A request for an RFC 3161 timestamp over some bytes, and what the answer to it must say. */
export type TimestampRequest = { readonly der: Uint8Array; readonly imprint: Buffer; readonly nonce: Buffer };

/**
 * RFC 3161, section 2.4.1: version 1, SHA-256 without parameters, the imprint, a nonce. Every part has a fixed size, so the structure is a
 * constant. No certificate is asked for: verifiers have it in their trusted root, and in the bundle it would be bytes that nobody signed.
 */
export function timestampRequest(signature: Uint8Array): TimestampRequest {
  const imprint = createHash('sha256').update(signature).digest();
  const nonce = randomBytes(8);
  // A positive INTEGER in its shortest form (X.690, section 8.3.2).
  nonce[0] = ((nonce[0] ?? 0) & 0x3f) | 0x40;
  const header = Buffer.from('303e020101302f300b06096086480165030402010420', 'hex');
  return { der: new Uint8Array(Buffer.concat([header, imprint, Buffer.from([0x02, nonce.length]), nonce])), imprint, nonce };
}

/** False for a response to somebody else's question, which would show only when the bundle is verified: granted, with our imprint and our nonce. */
export function answers(response: Uint8Array, { imprint, nonce }: TimestampRequest): boolean {
  const bytes = Buffer.from(response);
  return bytes.includes(Buffer.from('3003020100', 'hex')) && bytes.includes(imprint) && bytes.includes(nonce);
}
