import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { toBase64 } from '../../core/base64.ts';
import type { ParsedBundle, TransparencyLogEntry } from '../../core/bundle.ts';
import { derTag, membersOf, onlyDer } from '../../core/der.ts';
import { pae, statementPayloadType } from '../../core/dsse.ts';
import { pemText } from '../../core/pem.ts';
import type { Signer } from '../../core/ports.ts';
import { trustRootMediaType } from '../../core/trust-root.ts';
import {
  type CertifiedKey,
  issuingCertificate,
  rootCertificate,
  signingCertificate,
  timestampingCertificate,
} from '../../server/ca/certificate.ts';
import { answerTimestamp } from '../../server/ca/timestamp.ts';

// A certificate authority, a time-stamping authority and a transparency log that sign for real, and anything that a test wants to lie about.

export const acme = 'https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1';
export const github = 'https://token.actions.githubusercontent.com';
/** When everything here is signed, unless a test says otherwise. */
export const noon = new Date('2026-11-23T12:00:00Z');
export const minutes = (count: number): Date => after(noon, count);
const after = (time: Date, count: number): Date => new Date(time.getTime() + count * 60_000);

type Period = { readonly start: string; readonly end?: string };

export type Authority = {
  readonly root: CertifiedKey;
  readonly issuing: CertifiedKey;
  readonly stamping: CertifiedKey;
  readonly log: { readonly key: KeyObject; readonly keyId: Buffer };
  /** The files of `--ca-dir`, by name. */
  files(): Readonly<Record<string, string>>;
  /** The trusted root of it, with or without its log; `validFor` of each authority may be changed. */
  trustRoot(change?: { readonly log?: boolean; readonly issuing?: Period; readonly stamping?: Period }): string;
};

type Dates = { readonly notBefore: Date; readonly notAfter: Date };
const years: Dates = { notBefore: new Date('2026-01-01T00:00:00Z'), notAfter: new Date('2036-01-01T00:00:00Z') };

export function createFakeAuthority(name = 'test', periods: { readonly root?: Dates; readonly stamping?: Dates } = {}): Authority {
  const [root, issuing, stamping, log] = [newKey(), newKey(), newKey(), newKey()];
  const certified = { key: root.privateKey, certificate: rootCertificate(root.privateKey, `${name} root`, periods.root ?? years) };
  const issuer = { key: issuing.privateKey, certificate: issuingCertificate(certified, issuing.publicKey, `${name} signing`, years) };
  const stamper = {
    key: stamping.privateKey,
    certificate: timestampingCertificate(certified, stamping.publicKey, `${name} stamping`, periods.stamping ?? years),
  };
  const logSpki = log.publicKey.export({ type: 'spki', format: 'der' });
  const keyId = createHash('sha256').update(logSpki).digest();
  const chain = ({ certificate }: CertifiedKey) => ({
    certificates: [certificate, certified.certificate].map(({ raw }) => ({ rawBytes: toBase64(raw) })),
  });
  const always = { start: years.notBefore.toISOString() };
  // Required by the specification, and by the sigstore package of Python.
  const subject = { organization: 'Chainloop', commonName: name };
  return {
    root: certified,
    issuing: issuer,
    stamping: stamper,
    log: { key: log.privateKey, keyId },
    files() {
      const pem = ({ certificate }: CertifiedKey): string => certificate.toString() + certified.certificate.toString();
      const key = ({ key }: CertifiedKey): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();
      return { 'issuing.pem': pem(issuer), 'issuing.key': key(issuer), 'timestamping.pem': pem(stamper), 'timestamping.key': key(stamper) };
    },
    trustRoot: (change = {}) =>
      JSON.stringify({
        mediaType: trustRootMediaType,
        tlogs: change.log
          ? [
              {
                baseUrl: 'https://log.example',
                hashAlgorithm: 'SHA2_256',
                publicKey: { rawBytes: toBase64(logSpki), keyDetails: 'PKIX_ECDSA_P256_SHA_256', validFor: always },
                logId: { keyId: toBase64(keyId) },
              },
            ]
          : [],
        certificateAuthorities: [{ subject, certChain: chain(issuer), validFor: change.issuing ?? always }],
        ctlogs: [],
        timestampAuthorities: [{ subject, certChain: chain(stamper), validFor: change.stamping ?? always }],
      }),
  };
}

export type Signature = {
  readonly san?: string;
  readonly issuer?: string;
  /** Fulcio's extension 12; without it, none. */
  readonly sourceRepository?: string;
  /** When it is stamped; the certificate is of ten minutes around it, unless said otherwise. */
  readonly signedAt?: Date;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly stamped?: boolean;
  /** In place of the authority's own. */
  readonly issuing?: CertifiedKey;
  readonly stamping?: CertifiedKey;
};

/** A bundle that the authority vouches for, in parts, and its ephemeral key. */
export function certifiedBundle(
  authority: Authority,
  payload: Uint8Array,
  options: Signature & { readonly payloadType?: string } = {},
): { readonly bundle: ParsedBundle; readonly key: KeyObject } {
  const { payloadType = statementPayloadType } = options;
  const { key, certificate, signature, timestamps } = certified(authority, pae(payloadType, payload), options);
  const signer = { type: 'certificate' as const, der: new Uint8Array(certificate.raw) };
  return { bundle: { payload, payloadType, signature, keyid: undefined, signer, transparencyLogEntries: [], timestamps }, key };
}

/** A signer that the authority vouches for: each signature with a new key and certificate, as a keyless job makes it. */
export function certifiedSigner(authority: Authority, options: Signature = {}): Signer {
  return {
    async sign(content) {
      const { certificate, signature, timestamps } = certified(authority, content, options);
      return { signature, verification: { type: 'certificate', certificatesPem: [certificate.toString()] }, timestamps };
    },
  };
}

function certified(authority: Authority, content: Uint8Array, options: Signature) {
  const { san = acme, issuer = github, signedAt = noon, issuing = authority.issuing, stamping = authority.stamping } = options;
  const { notBefore = after(signedAt, -1), notAfter = after(signedAt, 9), stamped = true } = options;
  const { privateKey, publicKey } = newKey();
  const extensions = { 8: issuer, ...(options.sourceRepository !== undefined && { 12: options.sourceRepository }) };
  const certificate = signingCertificate(issuing, publicKey, { san, extensions }, { notBefore, notAfter });
  const signature = new Uint8Array(sign('sha256', content, privateKey));
  return { key: privateKey, certificate, signature, timestamps: stamped ? [timestamp(stamping, signature, signedAt)] : [] };
}

/** One element of DER. */
export function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const length = content.length < 0x80 ? [content.length] : [0x82, content.length >> 8, content.length & 0xff];
  if (content.length >= 0x80 && content.length < 0x100) length.splice(0, 3, 0x81, content.length);
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

/** The certificate with other extensions (each a whole SEQUENCE in DER), signed again by `issuer`. */
export function reissued(
  issuer: CertifiedKey,
  certificate: Uint8Array,
  change: (extensions: readonly Buffer[]) => readonly Uint8Array[],
): Uint8Array {
  const [body, algorithm] = membersOf(onlyDer(certificate, derTag.sequence), derTag.sequence) ?? [];
  const fields = membersOf(body, derTag.sequence) ?? [];
  const list = fields.find(({ tag }) => tag === derTag.context(3));
  const extensions = membersOf(onlyDer(list?.content ?? new Uint8Array(), derTag.sequence), derTag.sequence) ?? [];
  const changed = change(extensions.map(({ bytes }) => Buffer.from(bytes)));
  const rest = fields.filter((field) => field !== list).map(({ bytes }) => bytes);
  const made = der(derTag.sequence, ...rest, der(derTag.context(3), der(derTag.sequence, ...changed)));
  const signature = Buffer.concat([Buffer.from([0]), sign('sha256', made, issuer.key)]);
  return new Uint8Array(der(derTag.sequence, made, algorithm?.bytes ?? new Uint8Array(), der(derTag.bitString, signature)));
}

/** An RFC 3161 response over the bytes, without certificates unless they are asked for. */
export function timestamp(signer: CertifiedKey, bytes: Uint8Array, now: Date, certificates = false): Uint8Array {
  const imprint = createHash('sha256').update(bytes).digest();
  const rest = Buffer.concat([Buffer.from('020101302f300b06096086480165030402010420', 'hex'), imprint]);
  const asked = Buffer.concat([rest, Buffer.from(certificates ? '0101ff' : '', 'hex')]);
  return answerTimestamp(Buffer.concat([Buffer.from([0x30, asked.length]), asked]), { signer, intermediates: [], now });
}

/** An entry of the log, the only one of its tree: `dsse` v0.0.1, promised and proven. */
export function logEntry(
  { log }: Authority,
  of: {
    readonly payload: Uint8Array;
    readonly signature: Uint8Array;
    /** A certificate in DER, or a public key in PEM. */
    readonly signer: Uint8Array | string;
    readonly at?: Date;
  },
): TransparencyLogEntry {
  const pem = typeof of.signer === 'string' ? of.signer : pemText('CERTIFICATE', of.signer);
  const verifier = Buffer.from(pem).toString('base64');
  const payloadHash = { algorithm: 'sha256', value: createHash('sha256').update(of.payload).digest('hex') };
  const signatures = [{ signature: toBase64(of.signature), verifier }];
  const body = Buffer.from(JSON.stringify({ apiVersion: '0.0.1', kind: 'dsse', spec: { payloadHash, signatures } }));
  const root = createHash('sha256')
    .update(Buffer.concat([Buffer.from([0]), body]))
    .digest('base64');
  const integratedTime = Math.floor((of.at ?? noon).getTime() / 1000);
  // RFC 8785 of these four members is what JSON.stringify writes of them in this order.
  const promise = JSON.stringify({ body: body.toString('base64'), integratedTime, logID: log.keyId.toString('hex'), logIndex: 0 });
  const note = `log.example\n1\n${root}\n`;
  const noteSignature = Buffer.concat([log.keyId.subarray(0, 4), sign('sha256', Buffer.from(note), log.key)]).toString('base64');
  return {
    logIndex: '0',
    logId: { keyId: log.keyId.toString('base64') },
    kindVersion: { kind: 'dsse', version: '0.0.1' },
    integratedTime: String(integratedTime),
    inclusionPromise: { signedEntryTimestamp: sign('sha256', Buffer.from(promise), log.key).toString('base64') },
    inclusionProof: {
      logIndex: '0',
      rootHash: root,
      treeSize: '1',
      hashes: [],
      checkpoint: { envelope: `${note}\n\u2014 log.example ${noteSignature}\n` },
    },
    canonicalizedBody: body.toString('base64'),
  };
}

function newKey() {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}
