import { bundleFromJSON } from '@sigstore/bundle';
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { toSignedEntity, toTrustMaterial, VerificationError, Verifier } from '@sigstore/verify';
import { fromBase64, toBase64 } from './base64.ts';
import { formatEnvelope, formatMaterial, type SignedMaterial } from './bundle.ts';
import { type Certificate, isIssuedBy, readCertificate, usage } from './certificate.ts';
import { sameBytes } from './der.ts';
import { ChainloopError, type ErrorCode } from './errors.ts';
import { readTimestamp } from './timestamp.ts';
import { type EntrySigner, entryProblem, type Log } from './transparency.ts';
import { type JudgeOptions, type SignedContent, type TrustRoot, type TrustRootText, unknownAuthority } from './trust-root.ts';

/** Some authority of a trusted root: its certificates, its own first, and when it is believed. */
type Authority = { readonly chain: readonly Certificate[]; readonly start: Date; readonly end: Date | undefined };

/**
 * How a trusted root judges. @sigstore/verify does the cryptography of chains, timestamps and logs; what it leaves open is closed here:
 * the roles of certificates, their one spelling, whom a log entry is of, when each authority is believed, and what is counted twice.
 * This file loads the library: only core/trust-root.ts asks for it, when there is a trusted root.
 */
export function createJudge(root: TrustRootText): TrustRoot['judge'] {
  const material = createMaterial(root);
  const issuers = root.certificateAuthorities.map(authorityOf);
  const timestampers = root.timestampAuthorities.map(authorityOf);
  const logs = root.tlogs.map(logOf);

  return (content, { thresholds, strict, key }) => {
    const { bundle } = content;
    const certificate = bundle.signer.type === 'certificate' ? signerCertificate(bundle.signer.der) : undefined;
    const times = timesOf(bundle, timestampers, strict);
    const needed = certificate === undefined ? thresholds.timestamps : Math.max(1, thresholds.timestamps);
    const authorities = new Set(times.map(({ authority }) => authority)).size;
    if (authorities < needed) {
      throw refuse('TIMESTAMP_INVALID', `it has trusted times of ${authorities} authorities, and ${needed} are needed`);
    }
    const instants = times.map(({ time }) => time);
    if (certificate !== undefined) checkCertificate(certificate, instants, issuers);
    checkEntries(bundle, { signer: entrySigner(certificate, key), times: instants, logs, strict }, thresholds.logEntries);

    const verifier = new Verifier(
      { ...material, publicKey: () => ({ publicKey: keyOf(key), validFor: () => true }) },
      {
        tlogThreshold: thresholds.logEntries,
        timestampThreshold: needed,
        ctlogThreshold: certificate === undefined ? 0 : thresholds.certificateTimestamps,
      },
    );
    try {
      const entity = entityOf(content);
      if (entity.key.$case === 'certificate') encodeOnce(entity.key.certificate.root);
      verifier.verify(entity);
    } catch (error) {
      throw translated(error);
    }
    return { times: instants, certificate };
  };
}

/** A certificate as the library has it, or a part of one. */
type Encoding = { readonly subs: readonly Encoding[]; toDER(): Buffer };

/** The library encodes a certificate again each time that it compares it, 24 times in one verification: three quarters of the time. */
function encodeOnce(encoding: Encoding): void {
  for (const part of encoding.subs) encodeOnce(part);
  const der = encoding.toDER();
  encoding.toDER = () => der;
}

function createMaterial(root: TrustRootText) {
  try {
    const material = toTrustMaterial(TrustedRoot.fromJSON(root));
    for (const { certChain } of [...material.certificateAuthorities, ...material.timestampAuthorities])
      for (const certificate of certChain) encodeOnce(certificate.root);
    return material;
  } catch (cause) {
    throw new ChainloopError('TRUST_ROOT_INVALID', 'trusted root: a certificate or key in it cannot be decoded', { cause });
  }
}

/** The certificate of the signer, if it is one that may sign code and names one identity (Fulcio's certificate specification). */
function signerCertificate(der: Uint8Array): Certificate {
  const read = readCertificate(der);
  if (typeof read === 'string') throw refuse('BUNDLE_INVALID', `its certificate is refused: ${read}`);
  if (read.isAuthority) throw refuse('SIGNER_UNTRUSTED', 'its certificate is of an authority, which does not sign attestations');
  const maySign = read.keyUsage === undefined || (read.keyUsage & 0x80) !== 0;
  if (!maySign || !read.extendedKeyUsages.includes(usage.codeSigning)) {
    throw refuse('SIGNER_UNTRUSTED', 'its certificate is not for signing code (RFC 5280, extended key usage codeSigning)');
  }
  return read;
}

/** Some authority that was believed at each of the times signed it; the library proves the rest of the path. */
function checkCertificate(certificate: Certificate, times: readonly Date[], issuers: readonly Authority[]): void {
  for (const time of times) {
    if (time < certificate.notBefore || time > certificate.notAfter) {
      throw refuse(
        'TIMESTAMP_INVALID',
        `it was signed at ${time.toISOString()}, outside the validity of its certificate (${certificate.notBefore.toISOString()} to ${certificate.notAfter.toISOString()})`,
      );
    }
    if (!issuers.some((authority) => isBelieved(authority, time) && authority.chain.some((issuer) => isIssuedBy(certificate, issuer)))) {
      throw refuse('SIGNER_UNTRUSTED', `its certificate is ${unknownAuthority} at ${time.toISOString()}`);
    }
  }
}

type TrustedTime = { readonly time: Date; readonly authority: string };

/** The times that a bundle claims, of authorities that the trusted root has. The library proves that they are over this signature. */
function timesOf(bundle: SignedMaterial, authorities: readonly Authority[], strict: boolean): readonly TrustedTime[] {
  const stamped = bundle.timestamps.map((der): TrustedTime => {
    const stamp = readTimestamp(der);
    if (typeof stamp === 'string') throw refuse('TIMESTAMP_INVALID', `its timestamp is refused: ${stamp}`);
    const { time, issuerName, serialNumber } = stamp;
    const authority = authorities.find((candidate) => {
      const [own] = candidate.chain;
      return isBelieved(candidate, time) && sameBytes(own?.issuerName, issuerName) && sameBytes(own?.serialNumber, serialNumber);
    });
    const [own] = authority?.chain ?? [];
    if (authority === undefined || own === undefined) {
      throw refuse('TIMESTAMP_INVALID', `its timestamp is ${unknownAuthority} at ${time.toISOString()}`);
    }
    if (!own.extendedKeyUsages.includes(usage.timeStamping)) {
      throw refuse('TIMESTAMP_INVALID', 'its timestamp is by a certificate that is not for time-stamping (RFC 3161, section 2.3)');
    }
    const known = stamp.certificates.every((carried) => authority.chain.some(({ der }) => sameBytes(der, carried)));
    if (strict && (!known || !stamp.bare)) throw refuse('TIMESTAMP_INVALID', 'its timestamp carries more than its authority signed');
    return { time, authority: `${toBase64(issuerName)} ${toBase64(serialNumber)}` };
  });
  // An entry's time is proven by the log's promise alone; without one anybody may have written it.
  const logged = bundle.transparencyLogEntries.flatMap(({ inclusionPromise, integratedTime, logId }): TrustedTime[] =>
    inclusionPromise === undefined ? [] : [{ time: new Date(Number(integratedTime ?? '0') * 1000), authority: logId.keyId }],
  );
  return [...stamped, ...logged];
}

function checkEntries({ transparencyLogEntries }: SignedMaterial, expected: Parameters<typeof entryProblem>[1], needed: number): void {
  for (const entry of transparencyLogEntries) {
    const problem = entryProblem(entry, expected);
    if (problem !== undefined) throw refuse('TRANSPARENCY_INVALID', `its transparency log entry is refused: ${problem}`);
  }
  const logs = new Set(transparencyLogEntries.map(({ logId }) => logId.keyId)).size;
  if (logs < needed) throw refuse('TRANSPARENCY_INVALID', `it has entries in ${logs} transparency logs, and ${needed} are needed`);
}

function entrySigner(certificate: Certificate | undefined, key: JudgeOptions['key']): EntrySigner {
  if (certificate !== undefined) return { type: 'certificate', der: certificate.der };
  return { type: 'publicKey', der: new Uint8Array(keyOf(key).export({ type: 'spki', format: 'der' })) };
}

function keyOf(key: JudgeOptions['key']) {
  if (key === undefined) throw new Error('a bundle that names a key is judged with that key');
  return key.key;
}

function entityOf(content: SignedContent) {
  const { bundle } = content;
  const { mediaType, verificationMaterial } = formatMaterial(bundle);
  const tlogEntries = bundle.transparencyLogEntries.map(({ inclusionProof, ...entry }) => ({
    ...entry,
    // Without a checkpoint a proof proves nothing; v0.1 has the promise.
    ...(inclusionProof?.checkpoint === undefined ? {} : { inclusionProof }),
  }));
  const value = {
    mediaType: bundle.version === '0.1' ? 'application/vnd.dev.sigstore.bundle+json;version=0.1' : mediaType,
    verificationMaterial: { ...verificationMaterial, tlogEntries },
  };
  switch (content.type) {
    case 'envelope':
      return toSignedEntity(bundleFromJSON({ ...value, dsseEnvelope: formatEnvelope(content.bundle) }));
    case 'message': {
      const { digest, signature } = content.bundle;
      const messageDigest = { algorithm: digest.algorithm, digest: toBase64(digest.value) };
      const messageSignature = { messageDigest, signature: toBase64(signature) };
      return toSignedEntity(bundleFromJSON({ ...value, messageSignature }), Buffer.from(content.artifact));
    }
  }
}

/** What the library refuses, by what it says of it; what it fails at is a bundle that it cannot read. */
function translated(error: unknown): ChainloopError {
  if (!(error instanceof VerificationError)) return refuse('BUNDLE_INVALID', 'its verification material cannot be read', error);
  const code = libraryCodes.find(([prefix]) => error.code.startsWith(prefix))?.[1] ?? 'BUNDLE_INVALID';
  return refuse(code, error.message, error);
}

const libraryCodes: readonly (readonly [string, ErrorCode])[] = [
  ['TIMESTAMP', 'TIMESTAMP_INVALID'],
  ['TLOG', 'TRANSPARENCY_INVALID'],
  ['SIGNATURE', 'SIGNATURE_INVALID'],
  ['CERTIFICATE', 'SIGNER_UNTRUSTED'],
  ['PUBLIC_KEY', 'SIGNER_UNTRUSTED'],
];

function authorityOf({ certChain, validFor }: TrustRootText['certificateAuthorities'][number]): Authority {
  const chain = certChain.certificates.map(({ rawBytes }) => {
    const read = readCertificate(fromBase64(rawBytes));
    if (typeof read === 'string') throw new ChainloopError('TRUST_ROOT_INVALID', `trusted root: a certificate is refused: ${read}`);
    return read;
  });
  return { chain, ...period(validFor) };
}

function logOf({ baseUrl, publicKey, logId, checkpointKeyId }: TrustRootText['tlogs'][number]): Log {
  return { keyId: fromBase64((checkpointKeyId ?? logId).keyId), names: namesOf(baseUrl), ...period(publicKey.validFor) };
}

function period({ start, end }: { readonly start: string; readonly end?: string | undefined }) {
  return { start: new Date(start), end: end === undefined ? undefined : new Date(end) };
}

function isBelieved({ start, end }: Pick<Authority, 'start' | 'end'>, time: Date): boolean {
  return start <= time && (end === undefined || time <= end);
}

function namesOf(baseUrl: string): readonly string[] {
  const url = URL.parse(baseUrl);
  return url === null ? [baseUrl] : [url.host, `${url.host}${url.pathname.replace(/\/$/, '')}`];
}

function refuse(code: ErrorCode, message: string, cause?: unknown): ChainloopError {
  return new ChainloopError(code, `bundle: ${message}`, { cause });
}
