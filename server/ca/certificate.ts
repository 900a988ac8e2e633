import { createHash, createPublicKey, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto';
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate,
  DirectoryString,
  ExtendedKeyUsage,
  Extension,
  Extensions,
  GeneralName,
  id_ce_authorityKeyIdentifier,
  id_ce_basicConstraints,
  id_ce_extKeyUsage,
  id_ce_keyUsage,
  id_ce_subjectAltName,
  id_ce_subjectKeyIdentifier,
  id_kp_codeSigning,
  id_kp_timeStamping,
  KeyIdentifier,
  KeyUsage,
  KeyUsageFlags,
  Name,
  RelativeDistinguishedName,
  SubjectAlternativeName,
  SubjectKeyIdentifier,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
} from '@peculiar/asn1-x509';
import { pemText } from '../../core/pem.ts';

/** A certificate and its private key: P-256 or P-384. */
export type CertifiedKey = { readonly certificate: X509Certificate; readonly key: KeyObject };

/** From and until when, both included (RFC 5280, section 4.1.2.5). Whole seconds. */
export type Period = { readonly notBefore: Date; readonly notAfter: Date };

/** The arc of Sigstore's extensions; the value of each that we write is a DER UTF8String (Fulcio, oid-info.md, .8 and later). */
const fulcioArc = '1.3.6.1.4.1.57264.1';

/** A self-signed root, for one authority beneath it. */
export function rootCertificate(key: KeyObject, name: string, period: Period): X509Certificate {
  const subject = nameOf(name);
  return issue({
    issuer: { name: subject, keyId: keyIdOf(key), key },
    subject,
    publicKey: createPublicKey(key),
    period,
    extensions: [constraints(1), usage(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign)],
  });
}

/** An authority that issues signing certificates, and nothing else. */
export function issuingCertificate(root: CertifiedKey, publicKey: KeyObject, name: string, period: Period): X509Certificate {
  const extensions = [constraints(0), usage(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign), extendedUsage(id_kp_codeSigning, false)];
  return issue({ issuer: issuerOf(root), subject: nameOf(name), publicKey, period, extensions });
}

/** Of a time-stamping authority: its one purpose is critical (RFC 3161, section 2.3). */
export function timestampingCertificate(root: CertifiedKey, publicKey: KeyObject, name: string, period: Period): X509Certificate {
  const extensions = [usage(KeyUsageFlags.digitalSignature), extendedUsage(id_kp_timeStamping, true)];
  return issue({ issuer: issuerOf(root), subject: nameOf(name), publicKey, period, extensions });
}

/**
 * The certificate of an ephemeral key, in the profile of Fulcio (certificate-specification.md): no subject name, the identity as the one
 * SAN, a URI, critical; what is known of the job as extensions, by the last number of each OID.
 */
export function signingCertificate(
  issuer: CertifiedKey,
  publicKey: KeyObject,
  identity: { readonly san: string; readonly extensions: Readonly<Record<string, string>> },
  period: Period,
): X509Certificate {
  const san = new SubjectAlternativeName([new GeneralName({ uniformResourceIdentifier: identity.san })]);
  const extensions = [
    usage(KeyUsageFlags.digitalSignature),
    extendedUsage(id_kp_codeSigning, false),
    extension(id_ce_subjectAltName, san, true),
    ...Object.entries(identity.extensions).map(([number, text]) =>
      extension(`${fulcioArc}.${number}`, new DirectoryString({ utf8String: text }), false),
    ),
  ];
  return issue({ issuer: issuerOf(issuer), subject: new Name(), publicKey, period, extensions });
}

/** The strict PEM text of a certificate. */
export function certificatePem(certificate: X509Certificate): string {
  return pemText('CERTIFICATE', certificate.raw);
}

/** SHA-256 goes with P-256, SHA-384 with P-384 (RFC 5758, section 3.2). */
export function ecdsa(key: KeyObject): { readonly hash: 'sha256' | 'sha384'; readonly algorithm: AlgorithmIdentifier } {
  switch (key.asymmetricKeyDetails?.namedCurve) {
    case 'prime256v1':
      return { hash: 'sha256', algorithm: new AlgorithmIdentifier({ algorithm: '1.2.840.10045.4.3.2' }) };
    case 'secp384r1':
      return { hash: 'sha384', algorithm: new AlgorithmIdentifier({ algorithm: '1.2.840.10045.4.3.3' }) };
    default:
      throw new Error(`an authority has a key that is neither P-256 nor P-384: ${key.asymmetricKeyType}`);
  }
}

/** A positive number that nobody guesses, and that no two certificates share (RFC 5280, section 4.1.2.2: at most 20 bytes). */
export function serialNumber(): ArrayBuffer {
  const bytes = new Uint8Array(randomBytes(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.buffer;
}

/** A copy of the bytes alone: a Buffer is a window on a larger one. */
export function arrayBuffer(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

type Issuer = { readonly name: Name; readonly keyId: ArrayBuffer; readonly key: KeyObject };

function issuerOf({ certificate, key }: CertifiedKey): Issuer {
  const { subject, extensions } = AsnConvert.parse(certificate.raw, Certificate).tbsCertificate;
  const keyId = extensions?.find(({ extnID }) => extnID === id_ce_subjectKeyIdentifier);
  return {
    name: subject,
    keyId: keyId === undefined ? keyIdOf(key) : AsnConvert.parse(keyId.extnValue.buffer, SubjectKeyIdentifier).buffer,
    key,
  };
}

function issue(parts: {
  readonly issuer: Issuer;
  readonly subject: Name;
  readonly publicKey: KeyObject;
  readonly period: Period;
  readonly extensions: readonly Extension[];
}): X509Certificate {
  const { issuer, subject, publicKey, period, extensions } = parts;
  const { hash, algorithm } = ecdsa(issuer.key);
  const tbsCertificate = new TBSCertificate({
    version: Version.v3,
    serialNumber: serialNumber(),
    signature: algorithm,
    issuer: issuer.name,
    validity: new Validity(period),
    subject,
    subjectPublicKeyInfo: AsnConvert.parse(publicKey.export({ type: 'spki', format: 'der' }), SubjectPublicKeyInfo),
    extensions: new Extensions([
      ...extensions,
      extension(id_ce_subjectKeyIdentifier, new SubjectKeyIdentifier(keyIdOf(publicKey)), false),
      extension(id_ce_authorityKeyIdentifier, new AuthorityKeyIdentifier({ keyIdentifier: new KeyIdentifier(issuer.keyId) }), false),
    ]),
  });
  const signature = sign(hash, Buffer.from(AsnConvert.serialize(tbsCertificate)), issuer.key);
  const certificate = new Certificate({ tbsCertificate, signatureAlgorithm: algorithm, signatureValue: arrayBuffer(signature) });
  return new X509Certificate(Buffer.from(AsnConvert.serialize(certificate)));
}

function extension(extnID: string, value: unknown, critical: boolean): Extension {
  return new Extension({ extnID, critical, extnValue: new OctetString(AsnConvert.serialize(value)) });
}

function constraints(pathLenConstraint: number): Extension {
  return extension(id_ce_basicConstraints, new BasicConstraints({ cA: true, pathLenConstraint }), true);
}

function usage(flags: number): Extension {
  return extension(id_ce_keyUsage, new KeyUsage(flags), true);
}

function extendedUsage(purpose: string, critical: boolean): Extension {
  return extension(id_ce_extKeyUsage, new ExtendedKeyUsage([purpose]), critical);
}

/** RFC 7093, section 2, method 1: the first 160 bits of the SHA-256 of the public key's bit string. */
function keyIdOf(key: KeyObject): ArrayBuffer {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  const { subjectPublicKey } = AsnConvert.parse(publicKey.export({ type: 'spki', format: 'der' }), SubjectPublicKeyInfo);
  return arrayBuffer(createHash('sha256').update(Buffer.from(subjectPublicKey)).digest().subarray(0, 20));
}

function nameOf(commonName: string): Name {
  return new Name([attribute('2.5.4.10', 'Chainloop'), attribute('2.5.4.3', commonName)]);
}

function attribute(type: string, utf8String: string): RelativeDistinguishedName {
  return new RelativeDistinguishedName([new AttributeTypeAndValue({ type, value: new AttributeValue({ utf8String }) })]);
}
