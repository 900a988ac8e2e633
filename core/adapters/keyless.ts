import { generateKeyPair as generate, type KeyObject, sign, X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';
import { ChainloopError } from '../errors.ts';
import type { Signer } from '../ports.ts';
import { answers, timestampRequest } from './timestamp-request.ts';

/** What a signer without a key of its own asks of a control plane. Errors are ChainloopError; implementations retry what is worth it. */
export type KeylessPorts = {
  /** The SAN that this job is certified with: what is asked for, never what is chosen. */
  identity(): Promise<string>;
  /**
   * A certificate for an SPKI (DER); `proof` is a signature by its key over the UTF-8 bytes of the SAN. PEM, the certificate first, then
   * those between it and the root.
   */
  certificate(publicKey: Uint8Array, proof: Uint8Array): Promise<readonly string[]>;
  /** Answers a TimeStampReq with a TimeStampResp, both DER (RFC 3161). */
  timestamp(request: Uint8Array): Promise<Uint8Array>;
};

const generateKeys = promisify(generate);

/**
 * A signer with a new P-256 key for every signature: the key never leaves the memory of this process and is forgotten with the signature;
 * the certificate says whose it was, the timestamp when. SIGNATURE_INVALID when the control plane answers for another key, identity or
 * signature, and its own codes.
 */
export function createKeylessSigner(ports: KeylessPorts): Signer {
  return {
    async sign(pae) {
      const identity = await ports.identity();
      const { publicKey, privateKey } = await generateKeys('ec', { namedCurve: 'P-256' });
      const proof = sign('sha256', Buffer.from(identity), privateKey);
      const certificatesPem = await ports.certificate(
        new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })),
        new Uint8Array(proof),
      );
      assertOurs(certificatesPem[0] ?? '', publicKey, identity);
      const signature = new Uint8Array(sign('sha256', pae, privateKey));
      const request = timestampRequest(signature);
      const response = await ports.timestamp(request.der);
      if (!answers(response, request)) {
        throw new ChainloopError(
          'SIGNATURE_INVALID',
          'timestamp: the control plane did not stamp this signature; try again, or sign with --key',
        );
      }
      return { signature, verification: { type: 'certificate', certificatesPem }, timestamps: [response] };
    },
  };
}

function assertOurs(pem: string, publicKey: KeyObject, identity: string): void {
  const certificate = parse(pem);
  const spki = { type: 'spki', format: 'der' } as const;
  const sameKey = certificate?.publicKey.export(spki).equals(publicKey.export(spki)) === true;
  if (!sameKey || certificate?.subjectAltName !== `URI:${identity}`) {
    throw new ChainloopError('SIGNATURE_INVALID', `certificate: the control plane certified another key or identity than '${identity}'`);
  }
}

function parse(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}
