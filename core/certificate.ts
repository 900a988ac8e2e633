import { X509Certificate } from 'node:crypto';
import { type Der, derTag, membersOf, oidOf, onlyDer, sameBytes } from './der.ts';

/** What a certificate says (RFC 5280), as far as a verifier of attestations asks. Nothing of it is verified. */
export type Certificate = {
  readonly der: Uint8Array;
  readonly x509: X509Certificate;
  /** Names and serial number as they stand, in DER: how others refer to it. */
  readonly issuerName: Uint8Array;
  readonly subjectName: Uint8Array;
  readonly serialNumber: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** What its basic constraints say; false when there are none. */
  readonly isAuthority: boolean;
  /** Undefined when the extension is absent: then it may do anything. */
  readonly keyUsage: number | undefined;
  /** In dots. */
  readonly extendedKeyUsages: readonly string[];
  /** The one subject alternative name, a URI or an e-mail address. Undefined when there is none, several, or another kind. */
  readonly identity: string | undefined;
  /** Who vouched for the identity: Fulcio's extension 1.3.6.1.4.1.57264.1.8, or the older 1.3.6.1.4.1.57264.1.1. */
  readonly identityIssuer: string | undefined;
  /** Fulcio's extension 1.3.6.1.4.1.57264.1.12: the repository that was built, a URI. Undefined when the CI system did not say. */
  readonly sourceRepository: string | undefined;
};

/** Extended key usages (RFC 5280, section 4.2.1.12). */
export const usage = { codeSigning: '1.3.6.1.5.5.7.3.3', timeStamping: '1.3.6.1.5.5.7.3.8' } as const;

const extension = {
  keyUsage: '2.5.29.15',
  subjectAlternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  extendedKeyUsage: '2.5.29.37',
  issuerV1: '1.3.6.1.4.1.57264.1.1',
  issuerV2: '1.3.6.1.4.1.57264.1.8',
  sourceRepository: '1.3.6.1.4.1.57264.1.12',
} as const;
/** The extensions that are looked at here. Another one that is critical must be refused (RFC 5280, section 4.2). */
const understood: readonly string[] = [
  extension.keyUsage,
  extension.subjectAlternativeName,
  extension.basicConstraints,
  extension.extendedKeyUsage,
];

type Extension = { readonly oid: string; readonly critical: boolean; readonly value: Uint8Array };

/**
 * Reads an X.509 v3 certificate in strict DER. A text otherwise: why it is refused. What a lenient reader passes over is refused here,
 * so that a certificate has one spelling: the two algorithm identifiers differ, bits are left over, an extension is there twice.
 */
export function readCertificate(der: Uint8Array): Certificate | string {
  const [body, algorithm, signature, ...others] = membersOf(onlyDer(der, derTag.sequence), derTag.sequence) ?? [];
  const fields = membersOf(body, derTag.sequence);
  if (body === undefined || fields === undefined || signature?.tag !== derTag.bitString || others.length > 0)
    return 'it is not a certificate in DER';
  const [version, serial, innerAlgorithm, issuer, , subject] = fields;
  if (version === undefined || !sameBytes(version.bytes, v3)) return 'it is not X.509 version 3';
  if (!sameBytes(algorithm?.bytes, innerAlgorithm?.bytes)) return 'its two signature algorithms differ (RFC 5280, section 4.1.1.2)';
  if (signature.content[0] !== 0) return 'its signature is not whole bytes';
  const extensions = readExtensions(fields.find(({ tag }) => tag === derTag.context(3)));
  if (extensions === undefined || serial === undefined || issuer === undefined || subject === undefined)
    return 'it is not a certificate in DER';
  if (new Set(extensions.map(({ oid }) => oid)).size < extensions.length) return 'an extension is there twice (RFC 5280, section 4.2)';
  const unknown = extensions.find(({ oid, critical }) => critical && !understood.includes(oid));
  if (unknown !== undefined) return `its extension ${unknown.oid} is critical and not understood here`;
  const x509 = decode(der);
  if (x509 === undefined) return 'it cannot be decoded';

  const value = (oid: string): Uint8Array | undefined => extensions.find((candidate) => candidate.oid === oid)?.value;
  return {
    der,
    x509,
    issuerName: issuer.bytes,
    subjectName: subject.bytes,
    serialNumber: serial.bytes,
    notBefore: x509.validFromDate,
    notAfter: x509.validToDate,
    isAuthority: x509.ca || saysAuthority(value(extension.basicConstraints)),
    keyUsage: keyUsage(value(extension.keyUsage)),
    extendedKeyUsages: usages(value(extension.extendedKeyUsage)),
    identity: identity(value(extension.subjectAlternativeName)),
    identityIssuer: identityIssuer(value(extension.issuerV2), value(extension.issuerV1)),
    sourceRepository: utf8Text(value(extension.sourceRepository)),
  };
}

/** True when the key of `issuer` signed this certificate, and its name is the one that the certificate gives. */
export function isIssuedBy(certificate: Certificate, issuer: Certificate): boolean {
  return sameBytes(certificate.issuerName, issuer.subjectName) && certificate.x509.verify(issuer.x509.publicKey);
}

const v3 = new Uint8Array([0xa0, 0x03, 0x02, 0x01, 0x02]);

function decode(der: Uint8Array): X509Certificate | undefined {
  try {
    const x509 = new X509Certificate(der);
    return sameBytes(new Uint8Array(x509.raw), der) && x509.publicKey !== undefined ? x509 : undefined;
  } catch {
    return undefined;
  }
}

function readExtensions(element: Der | undefined): readonly Extension[] | undefined {
  if (element === undefined) return [];
  const list = membersOf(onlyDer(element.content, derTag.sequence), derTag.sequence);
  const extensions = (list ?? []).flatMap((member) => readExtension(member) ?? []);
  return extensions.length === list?.length ? extensions : undefined;
}

function readExtension(element: Der): Extension | undefined {
  const members = membersOf(element, derTag.sequence) ?? [];
  const [name, critical, value] = members.length === 2 ? [members[0], undefined, members[1]] : members;
  const oid = oidOf(name);
  // DEFAULT FALSE is left out in DER, and TRUE is 0xff (X.690, section 11).
  const marked = critical === undefined || sameBytes(critical.bytes, new Uint8Array([derTag.boolean, 1, 0xff]));
  if (oid === undefined || value?.tag !== derTag.octetString || !marked || members.length > 3) return undefined;
  return { oid, critical: critical !== undefined, value: value.content };
}

/** OpenSSL calls nothing an authority whose key may not sign certificates; here, who says so is one (RFC 5280, section 4.2.1.9). */
function saysAuthority(value: Uint8Array | undefined): boolean {
  // An empty SEQUENCE says no: FALSE is the default, and left out in DER.
  return value !== undefined && !sameBytes(value, new Uint8Array([derTag.sequence, 0]));
}

/** The first byte of the bits: 0x80 is digitalSignature, 0x04 keyCertSign (RFC 5280, section 4.2.1.3). */
function keyUsage(value: Uint8Array | undefined): number | undefined {
  return value === undefined ? undefined : (onlyDer(value, derTag.bitString)?.content[1] ?? 0);
}

function usages(value: Uint8Array | undefined): readonly string[] {
  const list = value === undefined ? [] : membersOf(onlyDer(value, derTag.sequence), derTag.sequence);
  return (list ?? []).map((element) => oidOf(element) ?? '');
}

/** GeneralNames of exactly one name, [1] rfc822Name or [6] uniformResourceIdentifier, both IA5String (RFC 5280, section 4.2.1.6). */
function identity(value: Uint8Array | undefined): string | undefined {
  const names = value === undefined ? undefined : membersOf(onlyDer(value, derTag.sequence), derTag.sequence);
  const [name, ...others] = names ?? [];
  if (name === undefined || others.length > 0 || (name.tag !== 0x81 && name.tag !== 0x86)) return undefined;
  const text = Buffer.from(name.content).toString('latin1');
  return /^[\x21-\x7e]{1,2048}$/.test(text) ? text : undefined;
}

/** One UTF8String, of characters that are seen. */
function utf8Text(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : printable(onlyDer(value, derTag.utf8String)?.content);
}

/** The newer extension is a UTF8String, the older one the bare text. Both at once must say the same. */
function identityIssuer(newer: Uint8Array | undefined, older: Uint8Array | undefined): string | undefined {
  const text = utf8Text(newer);
  const bare = printable(older);
  if (newer === undefined) return bare;
  return older === undefined || bare === text ? text : undefined;
}

function printable(bytes: Uint8Array | undefined): string | undefined {
  const text = bytes === undefined ? '' : Buffer.from(bytes).toString('latin1');
  return /^[\x21-\x7e]{1,2048}$/.test(text) ? text : undefined;
}
