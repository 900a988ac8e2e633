import { derTag, membersOf, oidOf, onlyDer, sameBytes } from './der.ts';

/** What an RFC 3161 timestamp response says. Nothing of it is verified. */
export type Timestamp = {
  readonly time: Date;
  /** The certificate that it names as its signer: name of the issuer and serial number, in DER. */
  readonly issuerName: Uint8Array;
  readonly serialNumber: Uint8Array;
  /** Certificates that it carries. They help nobody: the verifier has the authority's own. */
  readonly certificates: readonly Uint8Array[];
  /** True when it has nothing but what is signed, what is compared with the authority's certificate, and what has one spelling. */
  readonly bare: boolean;
};

const signedData = '1.2.840.113549.1.7.2';
const tstInfo = '1.2.840.113549.1.9.16.1.4';
/** SHA-256, SHA-384, SHA-512, and ECDSA with each. */
const digests = ['2.16.840.1.101.3.4.2.1', '2.16.840.1.101.3.4.2.2', '2.16.840.1.101.3.4.2.3'];
const signatures = ['1.2.840.10045.4.3.2', '1.2.840.10045.4.3.3', '1.2.840.10045.4.3.4'];
const granted = new Uint8Array([0x30, 0x03, 0x02, 0x01, 0x00]);
const algorithmNull = new Uint8Array([0x05, 0x00]);

/**
 * Reads a TimeStampResp (RFC 3161, section 2.4.2) that was granted, with one signer, in strict DER. A text otherwise: why it is refused.
 */
export function readTimestamp(der: Uint8Array): Timestamp | string {
  const malformed = 'it is not a timestamp response in DER';
  const [status, token, ...afterToken] = membersOf(onlyDer(der, derTag.sequence), derTag.sequence) ?? [];
  const [code] = membersOf(status, derTag.sequence) ?? [];
  if (status === undefined || code?.tag !== derTag.integer || afterToken.length > 0) return malformed;
  // granted (0) or grantedWithMods (1)
  if (code.content.byteLength !== 1 || (code.content[0] ?? 2) > 1) return 'it says that no timestamp was granted';

  // ContentInfo and SignedData (RFC 5652, sections 3 and 5.1)
  const [contentType, content, ...afterContent] = membersOf(token, derTag.sequence) ?? [];
  const data = content?.tag === derTag.context(0) ? onlyDer(content.content, derTag.sequence) : undefined;
  const [version, algorithms, encapsulated, ...rest] = membersOf(data, derTag.sequence) ?? [];
  if (oidOf(contentType) !== signedData || afterContent.length > 0 || version === undefined) return malformed;
  const signers = membersOf(rest.at(-1), derTag.set);
  const optional = rest.slice(0, -1);
  const certificates = optional.find(({ tag }) => tag === derTag.context(0));
  const carried = certificates === undefined ? [] : membersOf(certificates, derTag.context(0));
  const [signer, ...others] = signers ?? [];
  if (signer === undefined || others.length > 0 || carried === undefined) return malformed;

  // TSTInfo (RFC 3161, section 2.4.2)
  const [innerType, wrapped] = membersOf(encapsulated, derTag.sequence) ?? [];
  const octets = wrapped?.tag === derTag.context(0) ? onlyDer(wrapped.content, derTag.octetString) : undefined;
  const info = octets === undefined ? undefined : membersOf(onlyDer(octets.content, derTag.sequence), derTag.sequence);
  const time = timeOf(info?.find(({ tag }) => tag === derTag.generalizedTime)?.content);
  if (oidOf(innerType) !== tstInfo || time === undefined) return malformed;

  // SignerInfo (RFC 5652, section 5.3)
  const [signerVersion, sid, digest, attributes, algorithm, signature, ...unsigned] = membersOf(signer, derTag.sequence) ?? [];
  const [issuer, serial] = membersOf(sid, derTag.sequence) ?? [];
  if (issuer === undefined || serial === undefined || attributes?.tag !== derTag.context(0) || signature?.tag !== derTag.octetString)
    return malformed;
  const [digestOid = '', digestParameter] = algorithmOf(digest);
  const [algorithmOid = '', algorithmParameter] = algorithmOf(algorithm);
  if (!digests.includes(digestOid) || !signatures.includes(algorithmOid)) return 'its algorithms are not supported; use ECDSA with SHA-2';

  const bare =
    sameBytes(status.bytes, granted) &&
    isNumber(version.bytes, 3) &&
    isNumber(signerVersion?.bytes, 1) &&
    optional.length === (certificates === undefined ? 0 : 1) &&
    sameBytes(algorithms?.content, digest?.bytes) &&
    algorithms?.tag === derTag.set &&
    (digestParameter === undefined || sameBytes(digestParameter, algorithmNull)) &&
    algorithmParameter === undefined &&
    unsigned.length === 0;
  return {
    time,
    issuerName: issuer.bytes,
    serialNumber: serial.bytes,
    certificates: carried.map(({ bytes }) => bytes),
    bare,
  };
}

function isNumber(bytes: Uint8Array | undefined, value: number): boolean {
  return sameBytes(bytes, new Uint8Array([derTag.integer, 1, value]));
}

function algorithmOf(element: Parameters<typeof membersOf>[0]): readonly [string | undefined, Uint8Array | undefined] {
  const [oid, parameter, ...others] = membersOf(element, derTag.sequence) ?? [];
  return others.length > 0 ? [undefined, undefined] : [oidOf(oid), parameter?.bytes];
}

/** GeneralizedTime in DER: UTC, seconds, a fraction without trailing zeros (X.690, section 11.7). */
function timeOf(content: Uint8Array | undefined): Date | undefined {
  const text = content === undefined ? '' : Buffer.from(content).toString('latin1');
  const parts = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\.\d{0,8}[1-9])?Z$/.exec(text);
  if (parts === null) return undefined;
  const [, year, month, day, hour, minute, second, fraction = ''] = parts;
  const time = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}${fraction.slice(0, 4)}Z`);
  return Number.isNaN(time.getTime()) ? undefined : time;
}
