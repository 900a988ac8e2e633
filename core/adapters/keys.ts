import { createPrivateKey, createPublicKey, generateKeyPair as generate, type KeyObject, sign } from 'node:crypto';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { ChainloopError, type ErrorCode, isChainloopError } from '../errors.ts';
import { hashOf, hintOf, keyType, type PublicKey, parsePublicKey } from '../key.ts';
import { limits } from '../limits.ts';
import { type PemBlock, pemBlocks, pemBytes } from '../pem.ts';
import type { Signer } from '../ports.ts';
import { cosignLabels, decryptCosignKey } from './cosign-key.ts';
import { readLimited } from './files.ts';

/** The environment, as process.env has it. */
export type Env = Readonly<Record<string, string | undefined>>;

const generateKeys = promisify(generate);

/**
 * A new ECDSA P-256 key pair: SPKI and PKCS#8 PEM. With a password the private key is encrypted (PBES2, AES-256-CBC, and OpenSSL's
 * PBKDF2, whose 2,048 rounds ask for a long password). KEY_PASSWORD when the password is empty.
 */
export async function generateKeyPair(
  options: { readonly password?: string | undefined } = {},
): Promise<{ readonly privateKeyPem: string; readonly publicKeyPem: string }> {
  const { password } = options;
  if (password === '') throw new ChainloopError('KEY_PASSWORD', 'key: the password is empty; give one, or none at all');
  const { privateKey, publicKey } = await generateKeys('ec', { namedCurve: 'P-256' });
  const encryption = password === undefined ? {} : { cipher: 'aes-256-cbc', passphrase: password };
  return {
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem', ...encryption }).toString(),
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
}

/**
 * A signer with the private key at `reference`: a path, or `env://VAR`. `password` is such a reference too, never the password itself;
 * it is read only when the key is encrypted. PKCS#8 (encrypted or not), SEC1 EC, and encrypted cosign keys; P-256 and Ed25519.
 * KEY_INVALID, KEY_PASSWORD, FILE_NOT_FOUND, FILE_UNREADABLE, LIMIT_EXCEEDED. No message repeats a key, a password, or what may be one.
 */
export async function loadSigner(
  reference: string,
  options: { readonly env: Env; readonly password?: string | undefined },
): Promise<Signer> {
  const text = await readSecret(reference, 'signing key', options.env);
  const key = await named(reference, async () => decodePrivateKey(privateKeyBlock(text), () => passwordFor(options)));
  const type = keyType(key);
  const publicKey = createPublicKey(key);
  const publicKeyPem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const verification = { type: 'publicKey', hint: hintOf(publicKey), publicKeyPem } as const;
  return {
    async sign(pae) {
      return { signature: new Uint8Array(sign(hashOf(type), pae, key)), verification };
    },
  };
}

/** A public key from a PEM file, normalised (core/key.ts). KEY_INVALID, FILE_NOT_FOUND, FILE_UNREADABLE, LIMIT_EXCEEDED. */
export async function readPublicKey(path: string): Promise<PublicKey> {
  const text = Buffer.from(await readLimited(path, limits.keySizeBytes)).toString('utf8');
  return named(path, async () => parsePublicKey(text));
}

/** Says which of several keys an error is about. What could be read is a path or the name of a variable, and no secret. */
async function named<T>(reference: string, decode: () => Promise<T>): Promise<T> {
  try {
    return await decode();
  } catch (error) {
    if (!isChainloopError(error)) throw error;
    throw new ChainloopError(error.code, `${reference}: ${error.message}`, { cause: error });
  }
}

/** The password at a reference: a path (one line break at its end is not part of it) or `env://VAR`. Codes as `loadSigner`. */
export async function readPassword(reference: string, env: Env): Promise<string> {
  const text = await readSecret(reference, 'signing password', env);
  return reference.startsWith(environment) ? text : text.replace(/\r?\n$/, '');
}

const environment = 'env://';

async function readSecret(reference: string, what: string, env: Env): Promise<string> {
  if (!reference.startsWith(environment)) return readSecretFile(reference, what);
  const variable = reference.slice(environment.length);
  const value = Object.hasOwn(env, variable) ? env[variable] : undefined;
  if (value === undefined) {
    // In capitals it is the name of a variable, and not the secret itself.
    const absent = /^[A-Z][A-Z0-9_]{0,63}$/.test(variable) ? `, and ${variable} is not` : '';
    throw new ChainloopError('USAGE', `${what}: env:// must name an environment variable that is set${absent}`);
  }
  return value;
}

/**
 * Reads from any file that can be read to its end, pipes included: `--key <(vault read …)`. A path is repeated only when it is there, or ends
 * like the name of a key file: whoever mistakes the option may have given the secret itself.
 */
async function readSecretFile(path: string, what: string): Promise<string> {
  if (path.includes('-----BEGIN')) throw new ChainloopError('USAGE', `${what}: this is the key itself; give a path, or env://VARIABLE`);
  try {
    return Buffer.from(await readLimited(path, limits.keySizeBytes)).toString('utf8');
  } catch (error) {
    if (!isChainloopError(error)) throw error;
    const shown = existsSync(path) || /^[\w./\\: -]{1,200}\.(key|pem)$/.test(path);
    const place = shown ? `'${path}'` : 'the path that was given (not repeated: it may be the secret itself)';
    const reasons: Partial<Record<ErrorCode, string>> = {
      FILE_NOT_FOUND: 'there is no such file',
      LIMIT_EXCEEDED: `it has more than ${limits.keySizeBytes} bytes`,
    };
    throw new ChainloopError(
      error.code,
      `${what}: ${place}: ${reasons[error.code] ?? 'it cannot be read'}. Give a path, or env://VARIABLE`,
    );
  }
}

async function passwordFor(options: { readonly env: Env; readonly password?: string | undefined }): Promise<string> {
  if (options.password !== undefined) return readPassword(options.password, options.env);
  throw new ChainloopError('KEY_PASSWORD', 'signing key: it is encrypted and no password was given; set CHAINLOOP_SIGNING_PASSWORD');
}

/** The one private key of a file. `openssl ecparam -genkey` writes the curve before it, in a block of its own. */
function privateKeyBlock(text: string): PemBlock {
  const blocks = pemBlocks(text).filter((block) => block.label !== 'EC PARAMETERS');
  const [block, ...others] = blocks;
  if (block === undefined) throw invalid('no PEM block was found; a private key begins with -----BEGIN PRIVATE KEY----- or the like');
  if (others.length > 0) throw invalid(`the file has ${blocks.length} PEM blocks; give one private key`);
  return block;
}

async function decodePrivateKey(block: PemBlock, password: () => Promise<string>): Promise<KeyObject> {
  if (cosignLabels.includes(block.label)) return decryptCosignKey(pemBytes(block), await password());
  switch (block.label) {
    case 'ENCRYPTED PRIVATE KEY':
      return decryptKey(block.text, await password());
    case 'EC PRIVATE KEY':
    case 'PRIVATE KEY':
      // RFC 1421 headers: how OpenSSL encrypted a SEC1 key before PKCS#8.
      return block.text.includes('Proc-Type: 4,ENCRYPTED') ? decryptKey(block.text, await password()) : readKey(block.text);
    case 'PUBLIC KEY':
      throw invalid('this is a public key; give the private one');
    case 'CERTIFICATE':
      throw invalid('this is a certificate; give the private key');
    default:
      throw invalid(`'${block.label}' is not supported; use PKCS#8 (openssl pkcs8 -topk8), SEC1 EC, or a cosign key`);
  }
}

function readKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    throw invalid('the private key is damaged and cannot be decoded');
  }
}

function decryptKey(pem: string, passphrase: string): KeyObject {
  try {
    return createPrivateKey({ key: pem, passphrase });
  } catch {
    // A wrong password shows as bad padding or, now and then, as bytes that are no key: OpenSSL cannot tell it from damage.
    throw new ChainloopError('KEY_PASSWORD', 'signing key: the password does not open the key; it is wrong, or the file is damaged');
  }
}

function invalid(message: string): ChainloopError {
  return new ChainloopError('KEY_INVALID', `signing key: ${message}`);
}
