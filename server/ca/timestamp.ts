import { createHash, sign } from 'node:crypto';
import {
  Attribute,
  CertificateChoices,
  CertificateSet,
  DigestAlgorithmIdentifiers,
  EncapsulatedContent,
  EncapsulatedContentInfo,
  IssuerAndSerialNumber,
  id_signedData,
  SignedData,
  SignerIdentifier,
  SignerInfo,
  SignerInfos,
} from '@peculiar/asn1-cms';
import { AsnConvert, AsnObjectIdentifierConverter, OctetString } from '@peculiar/asn1-schema';
import {
  id_ct_tstInfo,
  PKIFailureInfo,
  PKIFreeText,
  PKIStatus,
  PKIStatusInfo,
  TimeStampReq,
  TimeStampReqVersion,
  TimeStampResp,
  TimeStampToken,
  TSTInfo,
} from '@peculiar/asn1-tsp';
import { AlgorithmIdentifier, Certificate } from '@peculiar/asn1-x509';
import { arrayBuffer, type CertifiedKey, ecdsa, serialNumber } from './certificate.ts';

/**
 * What our timestamps promise, as docs/trust.md says it: the policy of Sigstore's timestamp authority, which others run as well. Not one of the
 * UUID arc: Go reads no number above 2^31 there, so neither cosign nor gh could read the timestamp.
 */
export const timestampPolicy = '1.3.6.1.4.1.57264.2';

/** NIST, Computer Security Objects Register. */
const hashes = { sha256: '2.16.840.1.101.3.4.2.1', sha384: '2.16.840.1.101.3.4.2.2' };
const attributes = {
  contentType: '1.2.840.113549.1.9.3',
  messageDigest: '1.2.840.113549.1.9.4',
  signingCertificateV2: '1.2.840.113549.1.9.16.2.47',
};
/** RFC 5035, section 3: SigningCertificateV2 { certs { ESSCertIDv2 { certHash } } }, with the default hash, SHA-256, before its 32 bytes. */
const signingCertificateHeader = Buffer.from('3026302430220420', 'hex');
/** An INTEGER that is echoed: as many bytes as a SHA-512. */
const nonceSizeBytes = 64;

/**
 * Answers a TimeStampReq with a TimeStampResp, both DER (RFC 3161, section 2.4). Whatever cannot be granted, malformed requests included,
 * gets a response with the status `rejection` and the reason: that is the protocol's way to say no. SHA-256 alone.
 */
export function answerTimestamp(
  request: Uint8Array,
  authority: { readonly signer: CertifiedKey; readonly intermediates: readonly Uint8Array[]; readonly now: Date },
): Uint8Array {
  const query = readRequest(request);
  if (query.type === 'refused') return respond(refusal(query.failure, query.reason));
  const { messageImprint, nonce, certReq } = query.request;
  const { signer, intermediates, now } = authority;
  const genTime = new Date(now);
  genTime.setUTCMilliseconds(0);
  const content = AsnConvert.serialize(
    new TSTInfo({
      policy: timestampPolicy,
      messageImprint,
      serialNumber: serialNumber(),
      genTime,
      ...(nonce !== undefined && { nonce }),
    }),
  );
  const certificates = certReq ? [signer.certificate.raw, ...intermediates] : [];
  const timeStampToken = new TimeStampToken({ contentType: id_signedData, content: signedData(content, signer, certificates) });
  return respond(new TimeStampResp({ status: new PKIStatusInfo({ status: PKIStatus.granted }), timeStampToken }));
}

/** RFC 3161, section 2.4.2: which bit says what. */
const failures = { badAlg: 0, badRequest: 2, badDataFormat: 5, unacceptedPolicy: 15, unacceptedExtension: 16 } as const;
type Failure = keyof typeof failures;

type Query =
  | { readonly type: 'asked'; readonly request: TimeStampReq }
  | { readonly type: 'refused'; readonly failure: Failure; readonly reason: string };

function readRequest(bytes: Uint8Array): Query {
  let request: TimeStampReq;
  try {
    request = AsnConvert.parse(bytes, TimeStampReq);
    // BER has many spellings, and bytes after the structure would be ignored: what we answer is what was asked, to the byte.
    if (!Buffer.from(AsnConvert.serialize(request)).equals(bytes)) throw new Error('not DER');
  } catch {
    return { type: 'refused', failure: 'badDataFormat', reason: 'the request is not a TimeStampReq in DER' };
  }
  const { version, messageImprint, reqPolicy, nonce, extensions } = request;
  const refuse = (failure: Failure, reason: string): Query => ({ type: 'refused', failure, reason });
  if (version !== TimeStampReqVersion.v1) return refuse('badRequest', 'the version is not 1');
  const { hashAlgorithm, hashedMessage } = messageImprint;
  const plain = hashAlgorithm.parameters === undefined || hashAlgorithm.parameters === null;
  if (hashAlgorithm.algorithm !== hashes.sha256 || !plain) return refuse('badAlg', 'the hash must be SHA-256');
  if (hashedMessage.byteLength !== 32) return refuse('badDataFormat', 'a SHA-256 has 32 bytes');
  if (reqPolicy !== undefined && reqPolicy !== timestampPolicy)
    return refuse('unacceptedPolicy', `the policy is ${timestampPolicy}, and no other`);
  if (nonce !== undefined && nonce.byteLength > nonceSizeBytes)
    return refuse('badRequest', `the nonce has more than ${nonceSizeBytes} bytes`);
  if (extensions !== undefined) return refuse('unacceptedExtension', 'no extension is known here');
  return { type: 'asked', request };
}

function refusal(failure: Failure, reason: string): TimeStampResp {
  const status = new PKIStatusInfo({
    status: PKIStatus.rejection,
    statusString: new PKIFreeText([reason]),
    failInfo: new PKIFailureInfo(2 ** failures[failure]),
  });
  return new TimeStampResp({ status });
}

function respond(response: TimeStampResp): Uint8Array {
  return new Uint8Array(AsnConvert.serialize(response));
}

/** CMS, RFC 5652, section 5, with the attributes that RFC 3161, section 2.4.2, and RFC 5816 ask for. */
function signedData(content: ArrayBuffer, signer: CertifiedKey, certificates: readonly Uint8Array[]): ArrayBuffer {
  const { issuer, serialNumber } = AsnConvert.parse(signer.certificate.raw, Certificate).tbsCertificate;
  const { hash, algorithm } = ecdsa(signer.key);
  // The same hash for the content as for the signature (RFC 5753, section 2.1.1).
  const digestAlgorithm = new AlgorithmIdentifier({ algorithm: hashes[hash] });
  const signedAttrs = [
    attribute(attributes.contentType, AsnObjectIdentifierConverter.toASN(id_ct_tstInfo).toBER()),
    attribute(attributes.messageDigest, AsnConvert.serialize(new OctetString(arrayBuffer(digest(hash, new Uint8Array(content)))))),
    attribute(
      attributes.signingCertificateV2,
      arrayBuffer(Buffer.concat([signingCertificateHeader, digest('sha256', signer.certificate.raw)])),
    ),
  ].toSorted((a, b) => Buffer.compare(der(a), der(b)));
  const info = new SignerInfo({
    version: 1,
    sid: new SignerIdentifier({ issuerAndSerialNumber: new IssuerAndSerialNumber({ issuer, serialNumber }) }),
    digestAlgorithm,
    signedAttrs,
    signatureAlgorithm: algorithm,
    signature: new OctetString(sign(hash, setOf(signedAttrs), signer.key)),
  });
  const data = new SignedData({
    version: 3,
    digestAlgorithms: new DigestAlgorithmIdentifiers([digestAlgorithm]),
    encapContentInfo: new EncapsulatedContentInfo({
      eContentType: id_ct_tstInfo,
      eContent: new EncapsulatedContent({ single: new OctetString(content) }),
    }),
    signerInfos: new SignerInfos([info]),
  });
  if (certificates.length > 0) {
    data.certificates = new CertificateSet(
      certificates.map((raw) => new CertificateChoices({ certificate: AsnConvert.parse(raw, Certificate) })),
    );
  }
  return AsnConvert.serialize(data);
}

/** What is signed: the attributes as a SET OF, though they stand in the structure with the tag [0] (RFC 5652, section 5.4). */
function setOf(elements: readonly Attribute[]): Uint8Array {
  const content = Buffer.concat(elements.map(der));
  // Three attributes of fixed sizes: DER writes the length of so much in two bytes (X.690, section 10.1).
  if (content.length < 0x80 || content.length > 0xff) throw new Error(`signed attributes of ${content.length} bytes`);
  return Buffer.concat([Buffer.from([0x31, 0x81, content.length]), content]);
}

function attribute(attrType: string, value: ArrayBuffer): Attribute {
  return new Attribute({ attrType, attrValues: [value] });
}

function der(value: unknown): Uint8Array {
  return new Uint8Array(AsnConvert.serialize(value));
}

function digest(hash: 'sha256' | 'sha384', bytes: Uint8Array): Buffer {
  return createHash(hash).update(bytes).digest();
}
