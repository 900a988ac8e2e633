import { createPrivateKey, type KeyObject, type ScryptOptions, scrypt } from 'node:crypto';
import { promisify } from 'node:util';
import * as z from 'zod';
import { Base64, fromBase64 } from '../base64.ts';
import { ChainloopError } from '../errors.ts';
import { limits } from '../limits.ts';

/** The PEM labels of an encrypted cosign key: cosign 1, and cosign 2 and later. What is inside is the same. */
export const cosignLabels: readonly string[] = ['ENCRYPTED COSIGN PRIVATE KEY', 'ENCRYPTED SIGSTORE PRIVATE KEY'];

/** What cosign calls its "encrypted" format: scrypt (RFC 7914), then NaCl secretbox, over the PKCS#8 DER of the key. */
const EncryptedKey = z.object({
  kdf: z.object({
    name: z.literal('scrypt'),
    params: z.object({ N: z.int().min(2), r: z.int().min(1), p: z.int().min(1).max(limits.scryptPasses) }),
    salt: Base64,
  }),
  cipher: z.object({ name: z.literal('nacl/secretbox'), nonce: Base64 }),
  ciphertext: Base64,
});

const derive: (password: string, salt: Uint8Array, length: number, options: ScryptOptions) => Promise<Buffer> = promisify(scrypt);

/**
 * Decrypts the body of an encrypted cosign key. KEY_INVALID when it is damaged or asks for more scrypt than
 * `limits.scryptMemoryBytes`; KEY_PASSWORD when the password does not open it.
 */
export async function decryptCosignKey(body: Uint8Array, password: string): Promise<KeyObject> {
  const { kdf, cipher, ciphertext } = parseEncryptedKey(body);
  const { N, r, p } = kdf.params;
  const memory = 128 * N * r;
  if (memory > limits.scryptMemoryBytes || !Number.isInteger(Math.log2(N))) {
    throw invalid(`its scrypt parameters (N=${N}, r=${r}, p=${p}) are not within ${limits.scryptMemoryBytes} bytes of memory`);
  }
  const nonce = fromBase64(cipher.nonce);
  if (nonce.byteLength !== 24) throw invalid('its nonce is not 24 bytes');
  // OpenSSL counts its own tables too, hence the room above 128 N r.
  const boxKey = await derive(password, fromBase64(kdf.salt), 32, { N, r, p, maxmem: memory + 1024 * r * p + 1024 * 1024 });
  const { xsalsa20poly1305 } = await import('@noble/ciphers/salsa.js');
  const der = opened(() => xsalsa20poly1305(boxKey, nonce).decrypt(fromBase64(ciphertext)));
  if (der === undefined) {
    throw new ChainloopError(
      'KEY_PASSWORD',
      'signing key: the password does not open this cosign key; it is wrong, or the file is damaged',
    );
  }
  const key = opened(() => createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' }));
  if (key === undefined) throw invalid('it holds no PKCS#8 key; keys of cosign before 1.0 are not supported');
  return key;
}

function parseEncryptedKey(body: Uint8Array): z.infer<typeof EncryptedKey> {
  const value = opened((): unknown => JSON.parse(Buffer.from(body).toString('utf8')));
  const result = EncryptedKey.safeParse(value);
  // Nothing of the content is repeated, and only which fields are wrong.
  if (!result.success) {
    const fields = result.error.issues.map((issue) => issue.path.join('.') || 'all of it').join(', ');
    throw invalid(`it is damaged, or encrypted in an unknown or too costly way (${fields})`);
  }
  return result.data;
}

/** The value, or undefined when it cannot be had; what the libraries say about it could repeat key material. */
function opened<T>(open: () => T): T | undefined {
  try {
    return open();
  } catch {
    return undefined;
  }
}

function invalid(message: string): ChainloopError {
  return new ChainloopError('KEY_INVALID', `signing key: the encrypted cosign key cannot be used: ${message}`);
}
