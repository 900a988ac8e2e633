import { type KeyObject, sign, X509Certificate } from 'node:crypto';
import * as z from 'zod';
import { ChainloopError } from '../../errors.ts';
import { jsonValue } from '../../json-value.ts';
import { limits } from '../../limits.ts';
import { type Services, unusable } from './service.ts';

const Chain = z.looseObject({
  chain: z.looseObject({ certificates: z.array(z.string().min(1).max(limits.certificateSizeBytes)).min(1).max(16) }),
});
/** fulcio.proto, SigningCertificate. A detached SCT has no place in a bundle, so the embedded one is all that helps. */
const SigningCertificate = z.union([
  z.looseObject({ signedCertificateEmbeddedSct: Chain }).transform((answer) => answer.signedCertificateEmbeddedSct.chain.certificates),
  z.looseObject({ signedCertificateDetachedSct: Chain }).transform((answer) => answer.signedCertificateDetachedSct.chain.certificates),
]);

type EphemeralKey = { readonly publicKey: KeyObject; readonly privateKey: KeyObject };

/**
 * A certificate of Fulcio (fulcio.proto, CreateSigningCertificate) for a key, to whom the token names. PEM, its own first. The proof of
 * possession is a signature over the subject of the token. SIGNING_REFUSED also when it certifies another key; UNAUTHENTICATED when the token names nobody.
 */
export async function requestCertificate(services: Services, authority: URL, token: string, key: EphemeralKey): Promise<readonly string[]> {
  const { publicKey, privateKey } = key;
  const url = new URL(`${authority.pathname.replace(/\/$/, '')}/api/v2/signingCert`, authority);
  const request = {
    credentials: { oidcIdentityToken: token },
    publicKeyRequest: {
      publicKey: { algorithm: 'ECDSA', content: publicKey.export({ type: 'spki', format: 'pem' }) },
      proofOfPossession: sign('sha256', Buffer.from(subjectOf(token)), privateKey).toString('base64'),
    },
  };
  const body = { type: 'application/json', bytes: new Uint8Array(Buffer.from(JSON.stringify(request))) };
  const { bytes } = await services({ service: 'Fulcio', url, accept: 'application/json', body });
  const certificates = SigningCertificate.safeParse(jsonValue(bytes)).data;
  if (certificates === undefined) throw unusable('Fulcio', url, 'sent no certificate');
  const spki = { type: 'spki', format: 'der' } as const;
  if (
    decode(certificates[0] ?? '')
      ?.publicKey.export(spki)
      .equals(publicKey.export(spki)) !== true
  )
    throw unusable('Fulcio', url, 'certified another key than the one that was sent');
  return certificates;
}

/**
 * Whom Fulcio takes the token to name (fulcio, docs/oidc.md): a verified e-mail address, else the subject. Nothing of the token is believed
 * here, and nothing of it stands in a message.
 */
function subjectOf(token: string): string {
  const claims = jsonValue(Buffer.from(token.split('.')[1] ?? '', 'base64url'));
  const { email, email_verified: verified, sub } = Claims.safeParse(claims).data ?? {};
  if (email !== undefined && verified === false) {
    throw new ChainloopError('UNAUTHENTICATED', 'Fulcio: the token of this job names an e-mail address that its issuer has not verified');
  }
  const subject = email ?? sub;
  if (subject !== undefined) return subject;
  throw new ChainloopError('UNAUTHENTICATED', 'Fulcio: the token of this job names nobody (OpenID Connect Core 1.0, section 2: sub)');
}

const Claims = z.looseObject({
  sub: z.string().min(1).optional(),
  email: z.string().min(1).optional(),
  email_verified: z.union([z.boolean(), z.stringbool()]).optional(),
});

function decode(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}
