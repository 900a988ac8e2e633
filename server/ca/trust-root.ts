import { X509Certificate } from 'node:crypto';
import { toBase64 } from '../../core/base64.ts';
import { limits } from '../../core/limits.ts';
import type { Generation, Holder } from './generation.ts';

/** A Sigstore trusted root, as JSON (protobuf-specs, sigstore_trustroot.proto). Without transparency logs: we have none. */
export type TrustedRootText = {
  readonly mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1';
  readonly tlogs: readonly [];
  readonly certificateAuthorities: readonly AuthorityText[];
  readonly ctlogs: readonly [];
  readonly timestampAuthorities: readonly AuthorityText[];
};

type AuthorityText = {
  readonly subject: { readonly organization: string; readonly commonName: string };
  readonly uri: string;
  readonly certChain: { readonly certificates: readonly { readonly rawBytes: string }[] };
  readonly validFor: { readonly start: string; readonly end?: string };
};

/**
 * What a verifier needs: every generation there ever was, each for the time that it was in use. A retired one stays valid for as
 * long as its last certificate may be signed with, on servers whose clocks differ.
 */
export function trustedRoot(generations: readonly Generation[], origin: string): TrustedRootText {
  const authorities = (holder: 'issuing' | 'timestamping', uri: string): AuthorityText[] =>
    generations.map((generation, at) => authority(generation[holder], uri, generations[at + 1]?.createdAt));
  return {
    mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
    tlogs: [],
    certificateAuthorities: authorities('issuing', origin),
    ctlogs: [],
    timestampAuthorities: authorities('timestamping', `${origin}/tsa`),
  };
}

function authority({ chain }: Holder, uri: string, retiredAt: Date | undefined): AuthorityText {
  const certificates = chain.map((pem) => new X509Certificate(pem));
  const [first] = certificates;
  if (first === undefined) throw new Error('an authority has no certificate');
  const overlapMs = limits.certificateLifetimeMs + limits.certificateClockSkewMs;
  return {
    subject: { organization: part(first, 'O'), commonName: part(first, 'CN') },
    uri,
    certChain: { certificates: certificates.map(({ raw }) => ({ rawBytes: toBase64(raw) })) },
    validFor: {
      start: first.validFromDate.toISOString(),
      ...(retiredAt !== undefined && { end: new Date(retiredAt.getTime() + overlapMs).toISOString() }),
    },
  };
}

/** A part of the subject name, as Node writes it: one a line. */
function part(certificate: X509Certificate, type: 'O' | 'CN'): string {
  const line = certificate.subject?.split('\n').find((text) => text.startsWith(`${type}=`));
  return line?.slice(type.length + 1) ?? '';
}
