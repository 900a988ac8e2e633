import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { ChainloopError } from './errors.ts';
import { pemBlocks, pemBytes, pemText } from './pem.ts';

/** The two key types that every Sigstore tool verifies alike. P-384 and RSA are not among them: tools disagree on the hash. */
export type KeyType = 'ecdsa-p256' | 'ed25519';

/** A public key that was read and checked. */
export type PublicKey = {
  readonly type: KeyType;
  /** Base64 of the SHA-256 of the SPKI DER: what cosign and sigstore-js write as the hint of a bundle. */
  readonly hint: string;
  /** SPKI PEM, normalised: the same key has the same text. */
  readonly pem: string;
  readonly key: KeyObject;
};

/** Keys that were read, by their text: to read one takes as long as to verify a signature with it. Bounded, and so are the texts. */
const known = new Map<string, PublicKey>();
const knownAtMost = 256;
const knownTextLength = 1024;

/** The public key of a PEM text: one `PUBLIC KEY` block (SPKI, RFC 5280), P-256 or Ed25519. Anything else is KEY_INVALID. */
export function parsePublicKey(text: string): PublicKey {
  const before = known.get(text);
  if (before !== undefined) return before;
  const key = readPublicKey(text);
  if (known.size >= knownAtMost) known.clear();
  if (text.length <= knownTextLength) known.set(text, key);
  return key;
}

function readPublicKey(text: string): PublicKey {
  const blocks = pemBlocks(text);
  const [block, ...others] = blocks;
  if (block === undefined) throw invalid(withoutBlock(text));
  if (others.length > 0)
    throw invalid(`the file has ${blocks.length} PEM blocks (${blocks.map((b) => b.label).join(', ')}); give one public key`);
  if (block.label !== 'PUBLIC KEY') throw invalid(wrongLabel(block.label));
  const der = pemBytes(block);
  const key = readKey(der);
  const type = keyType(key);
  // OpenSSL ignores what follows the structure, and keeps a compressed point: one key would then have several hints.
  if (der.byteLength !== encodings[type].sizeBytes || !Buffer.from(der).toString('hex').startsWith(encodings[type].header)) {
    throw invalid('the key is not in its canonical encoding; convert it: openssl pkey -pubin -in FILE -ec_conv_form uncompressed');
  }
  return { type, hint: digest(der), pem: pemText('PUBLIC KEY', der), key };
}

/** The hint of the public key in a PEM text: base64 of the SHA-256 of its SPKI DER. KEY_INVALID as `parsePublicKey`. */
export function keyHint(text: string): string {
  return parsePublicKey(text).hint;
}

/** The hint of a public key object. */
export function hintOf(publicKey: KeyObject): string {
  return digest(publicKey.export({ type: 'spki', format: 'der' }));
}

/** The type of a public or private key. KEY_INVALID when it is neither P-256 nor Ed25519. */
export function keyType(key: KeyObject): KeyType {
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (key.asymmetricKeyType === 'ed25519') return 'ed25519';
  if (key.asymmetricKeyType === 'ec' && curve === 'prime256v1') return 'ecdsa-p256';
  const found = key.asymmetricKeyType === 'ec' ? `EC ${curve ?? 'with explicit parameters'}` : (key.asymmetricKeyType ?? 'unknown');
  throw invalid(`${found} keys are not supported; use ECDSA P-256 or Ed25519: chainloop key generate --output-key-prefix NAME`);
}

/** The name of the hash that goes with a key; null where the algorithm has its own (Ed25519, RFC 8032). */
export function hashOf(type: KeyType): 'sha256' | null {
  switch (type) {
    case 'ecdsa-p256':
      return 'sha256';
    case 'ed25519':
      return null;
  }
}

/** How each SPKI begins, in hex, and its size. P-256: RFC 5480, with an uncompressed point (04). Ed25519: RFC 8410, section 4. */
const encodings: Record<KeyType, { readonly header: string; readonly sizeBytes: number }> = {
  'ecdsa-p256': { header: '3059301306072a8648ce3d020106082a8648ce3d03010703420004', sizeBytes: 91 },
  ed25519: { header: '302a300506032b6570032100', sizeBytes: 44 },
};

function digest(der: Uint8Array): string {
  return createHash('sha256').update(der).digest('base64');
}

function readKey(der: Uint8Array): KeyObject {
  try {
    return createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' });
  } catch (cause) {
    throw invalid('the public key is damaged: it cannot be decoded, or is not a point of its curve', cause);
  }
}

function withoutBlock(text: string): string {
  if (/^(ssh-|ecdsa-sha2-)/m.test(text)) return 'this is an SSH public key; convert it: ssh-keygen -e -m PKCS8 -f FILE';
  return 'no PEM block was found; a public key begins with -----BEGIN PUBLIC KEY-----';
}

function wrongLabel(label: string): string {
  if (label.endsWith('PRIVATE KEY')) return 'this is a private key; give the public one (the .pub file), and keep this one secret';
  if (label === 'CERTIFICATE') return 'this is a certificate; take its key: openssl x509 -in FILE -noout -pubkey';
  return `'${label}' is not supported; a public key begins with -----BEGIN PUBLIC KEY-----`;
}

function invalid(message: string, cause?: unknown): ChainloopError {
  return new ChainloopError('KEY_INVALID', `key: ${message}`, { cause });
}
