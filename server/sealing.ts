import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { ChainloopError } from '../core/errors.ts';
import type { Secrets } from './secrets.ts';

/** Sealed: `v1.<key id>.<nonce>.<ciphertext and tag>`; the key id tells which key is missing when it does not open. */
export function createSecrets(key: Buffer): Secrets {
  const keyId = createHash('sha256').update('chainloop key id').update(key).digest('hex').slice(0, 8);
  const associated = (context: string): Buffer => Buffer.from(`v1.${keyId}.${context}`);
  return {
    keyId,
    seal(secret, context) {
      const nonce = randomBytes(12);
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(associated(context));
      const sealed = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final(), cipher.getAuthTag()]);
      return `v1.${keyId}.${nonce.toString('base64url')}.${sealed.toString('base64url')}`;
    },
    open(sealed, context) {
      const [version, id, nonce = '', text = ''] = sealed.split('.');
      if (version !== 'v1' || id !== keyId) {
        throw unreadable(`it was encrypted with master key ${id}, and this server has ${keyId}; start the server with the former`);
      }
      const bytes = Buffer.from(text, 'base64url');
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(nonce, 'base64url'), { authTagLength: 16 });
        decipher.setAAD(associated(context)).setAuthTag(bytes.subarray(-16));
        return Buffer.concat([decipher.update(bytes.subarray(0, -16)), decipher.final()]).toString('utf8');
      } catch (cause) {
        throw unreadable('it was changed or moved; set the credential again', cause);
      }
    },
  };
}

function unreadable(what: string, cause?: unknown): ChainloopError {
  return new ChainloopError('STORAGE_UNAVAILABLE', `stored credential: it cannot be decrypted: ${what}`, { cause });
}
