import { ChainloopError } from './errors.ts';
import { limits } from './limits.ts';

/** One encapsulated text of a PEM file (RFC 7468): its label, and the whole block with both boundary lines. */
export type PemBlock = { readonly label: string; readonly text: string };

const boundary = /-----BEGIN ([A-Z0-9][A-Z0-9 ]{0,62})-----/g;

/** The blocks of a PEM text, in order; text around them is explanation and ignored (RFC 7468, section 2). LIMIT_EXCEEDED for large texts. */
export function pemBlocks(text: string): readonly PemBlock[] {
  if (Buffer.byteLength(text) > limits.keySizeBytes) {
    throw new ChainloopError('LIMIT_EXCEEDED', `key: the file is larger than ${limits.keySizeBytes} bytes; it is not a key`);
  }
  const blocks: PemBlock[] = [];
  let from = 0;
  for (const match of text.matchAll(boundary)) {
    const label = match[1];
    if (label === undefined || match.index < from) continue;
    const end = `-----END ${label}-----`;
    const endsAt = text.indexOf(end, match.index);
    if (endsAt === -1) break;
    from = endsAt + end.length;
    blocks.push({ label, text: `${text.slice(match.index, from)}\n` });
  }
  return blocks;
}

/** The bytes between the boundary lines. */
export function pemBytes(block: PemBlock): Uint8Array {
  const body = block.text.slice(`-----BEGIN ${block.label}-----`.length, block.text.lastIndexOf('-----END '));
  return new Uint8Array(Buffer.from(body, 'base64'));
}

/** A block of bytes, in lines of 64 characters (RFC 7468, section 3: the strict form). */
export function pemText(label: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
