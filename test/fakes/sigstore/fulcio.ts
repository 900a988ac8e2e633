import { createHash, createPublicKey, type KeyObject, sign, verify, type X509Certificate } from 'node:crypto';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import * as z from 'zod';
import { derTag, membersOf, onlyDer } from '../../../core/der.ts';
import { pemText } from '../../../core/pem.ts';
import { type CertifiedKey, signingCertificate } from '../../../server/ca/certificate.ts';
import { der, reissued } from '../authority.ts';
import type { Answer } from './server.ts';

const Request = z.object({
  credentials: z.object({ oidcIdentityToken: z.string() }),
  publicKeyRequest: z.object({
    publicKey: z.object({ algorithm: z.string(), content: z.string() }),
    proofOfPossession: z.string(),
  }),
});

export type CtLog = { readonly key: KeyObject; readonly keyId: Buffer };

/**
 * Fulcio: verifies the token with the keys of its issuer and the proof of possession, and certifies what the claims say, with the promise of a
 * certificate transparency log inside.
 */
export async function certify(
  body: unknown,
  {
    issuing,
    root,
    ctLog,
    sct,
  }: { readonly issuing: CertifiedKey; readonly root: X509Certificate; readonly ctLog: CtLog; readonly sct: boolean },
): Promise<Answer> {
  const { credentials, publicKeyRequest } = Request.parse(body);
  const token = credentials.oidcIdentityToken;
  let claims: Readonly<Record<string, unknown>>;
  try {
    const { iss }: { readonly iss: string } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    const verified = await jwtVerify(token, createRemoteJWKSet(new URL(`${iss}/jwks`)), { audience: 'sigstore', issuer: iss });
    claims = verified.payload;
  } catch {
    return { status: 401, body: { code: 16, message: `There was an error processing the identity token ${token}`, details: [] } };
  }
  const publicKey = createPublicKey(publicKeyRequest.publicKey.content);
  const subject = String(claims.email ?? claims.sub);
  if (!verify('sha256', Buffer.from(subject), publicKey, Buffer.from(publicKeyRequest.proofOfPossession, 'base64')))
    return { status: 400, body: { code: 3, message: 'The signature supplied in the request could not be verified', details: [] } };

  const at = Date.now();
  const period = { notBefore: new Date(at - 1000), notAfter: new Date(at + 600_000) };
  const plain = signingCertificate(issuing, publicKey, { san: sanOf(claims), extensions: extensionsOf(claims) }, period);
  const certificate = sct ? promised(plain, issuing, ctLog, at) : new Uint8Array(plain.raw);
  const certificates = [certificate, issuing.certificate.raw, root.raw].map((raw) => pemText('CERTIFICATE', raw));
  return { status: 200, body: { signedCertificateEmbeddedSct: { chain: { certificates } } } };
}

/** docs/oidc.md of Fulcio: GitHub by the workflow that is called, GitLab by its configuration, others by their subject. */
function sanOf({ job_workflow_ref: workflow, ci_config_ref_uri: config, email, sub }: Readonly<Record<string, unknown>>): string {
  if (workflow !== undefined) return `https://github.com/${workflow}`;
  return config === undefined ? String(email ?? sub) : `https://${config}`;
}

function extensionsOf({ iss, repository, project_path: project }: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> {
  const source =
    repository === undefined ? (project === undefined ? undefined : `https://gitlab.com/${project}`) : `https://github.com/${repository}`;
  return { 8: String(iss), ...(source !== undefined && { 12: source }) };
}

/** The same certificate with a signed certificate timestamp (RFC 6962, sections 3.2 and 3.3). */
function promised(certificate: X509Certificate, issuing: CertifiedKey, { key, keyId }: CtLog, at: number): Uint8Array {
  const [body] = membersOf(onlyDer(certificate.raw, derTag.sequence), derTag.sequence) ?? [];
  const tbs = Buffer.from(body?.bytes ?? []);
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(BigInt(at));
  const issuerKeyHash = createHash('sha256')
    .update(issuing.certificate.publicKey.export({ type: 'spki', format: 'der' }))
    .digest();
  const signed = Buffer.concat([Buffer.from([0, 0]), time, Buffer.from([0, 1]), issuerKeyHash, sized(tbs, 3), Buffer.from([0, 0])]);
  const signature = sized(sign('sha256', signed, key), 2);
  const sct = Buffer.concat([Buffer.from([0]), keyId, time, Buffer.from([0, 0, 4, 3]), signature]);
  const list = sized(sized(sct, 2), 2);
  const oid = der(0x06, Buffer.from('2b06010401d679020402', 'hex'));
  const extension = der(derTag.sequence, oid, der(derTag.octetString, der(derTag.octetString, list)));
  return reissued(issuing, certificate.raw, (extensions) => [...extensions, extension]);
}

function sized(bytes: Buffer, lengthSizeBytes: number): Buffer {
  const length = Buffer.alloc(lengthSizeBytes);
  length.writeUIntBE(bytes.length, 0, lengthSizeBytes);
  return Buffer.concat([length, bytes]);
}
