import * as z from 'zod';
import { Base64 } from './base64.ts';

/** What an in-toto statement is called inside an envelope (in-toto Attestation Framework v1, "Envelope layer"). */
export const statementPayloadType = 'application/vnd.in-toto+json';

/**
 * A DSSE envelope in its recommended JSON form (DSSE v1, envelope.md), with exactly one signature: a Sigstore bundle has no room for
 * a second one, because its verification material speaks of one signer. The keys stand in the order of their protobuf fields.
 */
export const Envelope = z.strictObject({
  payload: Base64,
  payloadType: z
    .string()
    .min(1, 'is empty')
    .max(256)
    .refine((text) => text.isWellFormed(), 'is not valid Unicode'),
  signatures: z
    .array(z.strictObject({ sig: Base64, keyid: z.string().max(256).optional() }))
    .min(1, 'has no signature; exactly one is expected')
    .max(1, 'has several signatures; exactly one is expected'),
});
export type Envelope = z.infer<typeof Envelope>;

/**
 * The bytes that a signature covers: the pre-authentication encoding (DSSE v1, protocol.md, "Signature Definition").
 * PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body; lengths are of bytes, in ASCII decimal.
 */
export function pae(payloadType: string, payload: Uint8Array): Uint8Array {
  const header = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.byteLength} `;
  return new Uint8Array(Buffer.concat([Buffer.from(header), payload]));
}

/** What `pae` was made of: its lengths leave one reading. Throws for bytes that it did not make. */
export function readPae(bytes: Uint8Array): { readonly payloadType: string; readonly payload: Uint8Array } {
  // Byte for byte one character: lengths are of bytes.
  const text = Buffer.from(bytes).toString('latin1');
  const [header, typeLength] = /^DSSEv1 (\d+) /.exec(text) ?? [];
  const typeEnd = (header?.length ?? 0) + Number(typeLength);
  const [lengths] = /^ (\d+) /.exec(text.slice(typeEnd, typeEnd + 20)) ?? [];
  const payload = bytes.subarray(typeEnd + (lengths?.length ?? 0));
  const payloadType = Buffer.from(bytes.subarray(header?.length ?? 0, typeEnd)).toString('utf8');
  if (!Buffer.from(pae(payloadType, payload)).equals(bytes)) throw new Error('the bytes are no pre-authentication encoding');
  return { payloadType, payload };
}
