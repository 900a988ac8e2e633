import { createPublicKey, X509Certificate } from 'node:crypto';
import type { TransparencyLogEntry } from './bundle.ts';
import { sameBytes } from './der.ts';
import { jsonValue } from './json-value.ts';

/** A transparency log of a trusted root. */
export type Log = {
  readonly keyId: Uint8Array;
  /** What it may call itself in a checkpoint: its host, or its address without the scheme (C2SP tlog-checkpoint, "origin"). */
  readonly names: readonly string[];
  readonly start: Date;
  readonly end: Date | undefined;
};

/** Whom an entry must be of: the signer's certificate, or the SPKI of its key, in DER. */
export type EntrySigner = { readonly type: 'certificate' | 'publicKey'; readonly der: Uint8Array };

/**
 * What @sigstore/verify leaves open of an entry whose signature, digest and inclusion it has verified; the answer is why it is refused.
 * The classic hole (CVE-2022-36056, CVE-2024-51746, CVE-2024-53267, CVE-2026-22703) is an entry that is of this signature or artifact,
 * but of another key. With `strict`, also whatever nobody signed and nobody compares.
 */
export function entryProblem(
  entry: TransparencyLogEntry,
  expected: { readonly signer: EntrySigner; readonly times: readonly Date[]; readonly logs: readonly Log[]; readonly strict: boolean },
): string | undefined {
  if (!isOf(entry, expected.signer)) return 'it is of another key or certificate than the bundle';
  const log = expected.logs.find(({ keyId }) => sameBytes(keyId, Buffer.from(entry.logId.keyId, 'base64')));
  if (log === undefined) return 'it is of a log that the trusted root does not name';
  // The library looks at the log's period only where there is a promise; an entry without one has no time but the signature's.
  if (expected.times.some((time) => time < log.start || (log.end !== undefined && time > log.end))) {
    return 'the signature was made outside the period in which its log is trusted';
  }
  const { inclusionPromise, inclusionProof: proof, integratedTime = '0', logIndex } = entry;
  const checkpoint = proof?.checkpoint?.envelope;
  if (checkpoint !== undefined) {
    const [, size, root] = checkpoint.split('\n');
    if (proof?.treeSize !== size || proof?.rootHash !== root) return 'its proof speaks of another tree than its checkpoint';
  }
  if (!expected.strict) return undefined;
  if (inclusionPromise === undefined && (integratedTime !== '0' || logIndex !== proof?.logIndex))
    return 'it has a time or an index that nobody signed';
  return checkpoint === undefined || isBareCheckpoint(checkpoint, log.names) ? undefined : 'its checkpoint has more than the log signed';
}

/** One signature, of the log (C2SP tlog-checkpoint): others could say anything here, since nobody knows their keys. */
function isBareCheckpoint(envelope: string, names: readonly string[]): boolean {
  const [body = '', signatures = '', ...others] = envelope.split('\n\n');
  const [, name = '', signature = ''] = /^\u2014 (\S+) (\S+)\n$/.exec(signatures) ?? [];
  return others.length === 0 && body !== '' && names.includes(name) && Buffer.from(signature, 'base64').toString('base64') === signature;
}

/** Where each kind of entry that the library verifies keeps the signer. */
const signerPaths: Readonly<Record<string, readonly string[]>> = {
  'hashedrekord/0.0.1': ['signature', 'publicKey', 'content'],
  'dsse/0.0.1': ['signatures', '0', 'verifier'],
  'intoto/0.0.2': ['content', 'envelope', 'signatures', '0', 'publicKey'],
  'hashedrekord/0.0.2': ['hashedRekordV002', 'signature', 'verifier'],
  'dsse/0.0.2': ['dsseV002', 'signatures', '0', 'verifier'],
};

function isOf({ kindVersion: { kind, version }, canonicalizedBody }: TransparencyLogEntry, signer: EntrySigner): boolean {
  const path = signerPaths[`${kind}/${version}`];
  if (path === undefined) return false;
  const found = valueAt(jsonValue(Buffer.from(canonicalizedBody, 'base64')), ['spec', ...path]);
  if (typeof found === 'string') return sameBytes(pemContent(Buffer.from(found, 'base64'), signer.type), signer.der);
  const raw = valueAt(found, [signer.type === 'certificate' ? 'x509Certificate' : 'publicKey', 'rawBytes']);
  return typeof raw === 'string' && sameBytes(Buffer.from(raw, 'base64'), signer.der);
}

function pemContent(pem: Buffer, type: EntrySigner['type']): Uint8Array | undefined {
  const isCertificate = pem.includes('-----BEGIN CERTIFICATE-----');
  if (isCertificate !== (type === 'certificate')) return undefined;
  try {
    return isCertificate ? new X509Certificate(pem).raw : createPublicKey(pem).export({ type: 'spki', format: 'der' });
  } catch {
    return undefined;
  }
}

function valueAt(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (at, key) => (typeof at === 'object' && at !== null && Object.hasOwn(at, key) ? Reflect.get(at, key) : undefined),
    value,
  );
}
