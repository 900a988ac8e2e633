import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { buildBundle, parseBundle } from '../../core/bundle.ts';
import { pae, statementPayloadType } from '../../core/dsse.ts';
import { hashOf, type PublicKey, parsePublicKey } from '../../core/key.ts';
import { parseStatement, type Statement } from '../../core/statement.ts';
import { type TrustedKey, type Verified, verifyBundle } from '../../core/verify.ts';

/** A key pair for tests of signing. */
export type KeyPair = {
  readonly name: string;
  readonly publicKey: PublicKey;
  readonly privateKey: KeyObject;
  readonly trusted: TrustedKey;
};

export function keyPair(name: string, type: 'P-256' | 'Ed25519' = 'P-256'): KeyPair {
  const { privateKey, publicKey } = type === 'P-256' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('ed25519');
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  return { name, publicKey: parsePublicKey(pem), privateKey, trusted: { name, pem } };
}

export const artifact = Buffer.from('what was built\n');

/** A valid statement about one file, as text. */
export function statementText(subjectSha256: string): string {
  return JSON.stringify({
    _type: 'https://in-toto.io/Statement/v1',
    predicateType: 'chainloop.dev/attestation/v0.2',
    subject: [
      {
        name: 'server.tar',
        digest: { sha256: subjectSha256 },
        annotations: { 'chainloop.material.name': 'server', 'chainloop.material.type': 'ARTIFACT' },
      },
    ],
    predicate: {
      buildType: 'chainloop.dev/workflowrun/v0.1',
      builder: { id: 'chainloop.dev/cli/0.1.0@sha256:00' },
      metadata: { name: 'release', initializedAt: '2026-11-23T09:00:00.000Z', finishedAt: '2026-11-23T09:01:00.000Z' },
      env: {},
      runnerAuthenticated: false,
      materials: [],
      annotations: {},
    },
  });
}

/** Signs any bytes under any type, with the hint of the signer or another. */
export function signed(payload: Uint8Array | string, by: KeyPair, options: { payloadType?: string; hint?: string } = {}): string {
  const { payloadType = statementPayloadType, hint = by.publicKey.hint } = options;
  const bytes = new Uint8Array(Buffer.from(payload));
  const signature = new Uint8Array(sign(hashOf(by.publicKey.type), pae(payloadType, bytes), by.privateKey));
  return buildBundle({
    payload: bytes,
    payloadType,
    signature,
    verification: { type: 'publicKey', hint, publicKeyPem: by.publicKey.pem },
  });
}

/** What the control plane does with a bundle before it looks at anything else: canonical form, signature, statement. */
export function ingest(text: string, keys: readonly TrustedKey[]): Verified & { readonly statement: Statement } {
  const verified = verifyBundle(parseBundle(text, { canonical: true }), { type: 'keys', keys });
  return { ...verified, statement: parseStatement(verified.payload) };
}
