import { createPrivateKey, generateKeyPair, type KeyObject, X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';
import * as z from 'zod';
import { limits } from '../../core/limits.ts';
import type { Secrets } from '../secrets.ts';
import type { CertifiedKey } from './certificate.ts';

/** A certificate chain, its holder first, its root last; and the holder's private key, sealed. Absent: it lives in files of the operator. */
const Holder = z.strictObject({ chain: z.array(z.string()).min(1), key: z.string().optional() });

/**
 * The certificate authority of the control plane from one moment until the next generation begins. Generations are only ever added:
 * what an old one signed keeps verifying, within the time that it was in use.
 */
export const Generation = z.strictObject({
  version: z.literal(1),
  createdAt: z.iso.datetime().transform((text) => new Date(text)),
  issuing: Holder,
  timestamping: Holder,
});
export type Generation = z.infer<typeof Generation> & { readonly number: number };
export type Holder = z.infer<typeof Holder>;

/** Who signs now: an issuing authority with what is above it, and a time-stamping authority. */
export type Signers = { readonly issuing: ChainedKey; readonly timestamping: ChainedKey };
export type ChainedKey = CertifiedKey & {
  /** Between the certificate and its root, neither included. */
  readonly intermediates: readonly X509Certificate[];
};

const generateKeys = promisify(generateKeyPair);
const lifetimeMs = 10 * 365 * 24 * 60 * 60 * 1000;

/** Where the keys of a generation are sealed to: they do not open in another place. */
const context = (number: number, holder: 'issuing' | 'timestamping'): string => `ca/${number}/${holder}`;

/**
 * New keys, P-256, and their certificates: root → issuing authority, root → time-stamping authority, ten years. The root's key signs these
 * two and is forgotten with the return of this function: nobody can steal it, and a new generation has a new root.
 */
export async function makeGeneration(number: number, createdAt: Date, secrets: Secrets): Promise<string> {
  const { rootCertificate, issuingCertificate, timestampingCertificate, certificatePem } = await import('./certificate.ts');
  const [root, issuing, timestamping] = await Promise.all([newKey(), newKey(), newKey()]);
  const notBefore = new Date(createdAt.getTime() - limits.certificateClockSkewMs);
  notBefore.setUTCMilliseconds(0);
  const period = { notBefore, notAfter: new Date(notBefore.getTime() + lifetimeMs) };
  const certified = { key: root.privateKey, certificate: rootCertificate(root.privateKey, `Chainloop root ${number}`, period) };
  const chainOf = (certificate: X509Certificate): string[] => [certificatePem(certificate), certificatePem(certified.certificate)];
  const sealed = (holder: 'issuing' | 'timestamping', key: KeyObject): string =>
    secrets.seal(key.export({ type: 'pkcs8', format: 'pem' }).toString(), context(number, holder));
  return JSON.stringify({
    version: 1,
    createdAt: createdAt.toISOString(),
    issuing: {
      chain: chainOf(issuingCertificate(certified, issuing.publicKey, `Chainloop signing ${number}`, period)),
      key: sealed('issuing', issuing.privateKey),
    },
    timestamping: {
      chain: chainOf(timestampingCertificate(certified, timestamping.publicKey, `Chainloop timestamping ${number}`, period)),
      key: sealed('timestamping', timestamping.privateKey),
    },
  } satisfies z.input<typeof Generation>);
}

/** The generation in a setting. */
export function readGeneration(number: number, text: string): Generation {
  return { number, ...Generation.parse(JSON.parse(text)) };
}

/** Opens the keys. Undefined when they are not in the database. Throws STORAGE_UNAVAILABLE under another master key. */
export function openGeneration({ number, issuing, timestamping }: Generation, secrets: Secrets): Signers | undefined {
  if (issuing.key === undefined || timestamping.key === undefined) return undefined;
  const open = ({ chain }: Holder, holder: 'issuing' | 'timestamping', sealed: string): ChainedKey =>
    chainedKey(chain, createPrivateKey(secrets.open(sealed, context(number, holder))));
  return { issuing: open(issuing, 'issuing', issuing.key), timestamping: open(timestamping, 'timestamping', timestamping.key) };
}

/** A private key with its chain of PEM certificates. */
export function chainedKey(chain: readonly string[], key: KeyObject): ChainedKey {
  const [certificate, ...above] = chain.map((pem) => new X509Certificate(pem));
  if (certificate === undefined) throw new Error('an authority has no certificate');
  return { certificate, key, intermediates: above.slice(0, -1) };
}

function newKey(): Promise<{ readonly publicKey: KeyObject; readonly privateKey: KeyObject }> {
  return generateKeys('ec', { namedCurve: 'P-256' });
}
