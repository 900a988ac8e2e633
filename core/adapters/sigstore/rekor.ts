import { createHash } from 'node:crypto';
import * as z from 'zod';
import { Base64, toBase64 } from '../../base64.ts';
import type { TransparencyLogEntry } from '../../bundle.ts';
import { readPae } from '../../dsse.ts';
import { jsonValue } from '../../json-value.ts';
import type { SigningServices } from '../../signing-config.ts';
import { type Services, unusable } from './service.ts';

/** What goes into a log: a signature over a pre-authentication encoding, and the certificate of its key. */
export type LoggedSignature = {
  readonly pae: Uint8Array;
  readonly signature: Uint8Array;
  readonly certificatePem: string;
  /** The same in DER. */
  readonly certificate: Uint8Array;
};

/**
 * Enters a signature into a log, and answers the proof. Undefined when an equal entry is there and the log has no way to give it: then another
 * signature is needed. Nothing that the log says is believed here: whoever signs verifies the bundle that is made of it.
 */
export function enterLog(services: Services, log: SigningServices['logs'][number], logged: LoggedSignature) {
  switch (log.version) {
    case 1:
      return enterFirst(services, log.url, logged);
    case 2:
      return enterSecond(services, log.url, logged);
  }
}

const Hex = z.string().regex(/^([0-9a-f]{2})+$/i);
const Index = z.int().min(0);
const Size = z.union([z.int().min(0).transform(String), z.string().regex(/^\d{1,19}$/)]);

/** rekor openapi.yaml, LogEntry: one entry by its UUID. */
const FirstEntry = z
  .record(
    z.string(),
    z.looseObject({
      body: Base64,
      integratedTime: Index,
      logID: Hex,
      logIndex: Index,
      verification: z.looseObject({
        signedEntryTimestamp: Base64,
        inclusionProof: z.looseObject({
          checkpoint: z.string().min(1),
          hashes: z.array(Hex).max(64),
          logIndex: Index,
          rootHash: Hex,
          treeSize: Index,
        }),
      }),
    }),
  )
  .transform((answer) => Object.values(answer)[0]);

/** Rekor v1: a `dsse` v0.0.1 entry. The log keeps digests of the envelope, not the envelope. */
async function enterFirst(services: Services, log: URL, { pae, signature, certificatePem }: LoggedSignature) {
  const { payload, payloadType } = readPae(pae);
  const envelope = { payload: toBase64(payload), payloadType, signatures: [{ sig: toBase64(signature) }] };
  const entry = {
    apiVersion: '0.0.1',
    kind: 'dsse',
    spec: { proposedContent: { envelope: JSON.stringify(envelope), verifiers: [Buffer.from(certificatePem).toString('base64')] } },
  };
  const url = beneath(log, '/api/v1/log/entries');
  let answer = await services({ ...asked(url), body: json(entry), understood: [409] });
  if (answer.status === 409) {
    // The answer to an earlier try was lost: the entry is ours. It is fetched where the log says, by its own UUID alone.
    const uuid = /\/([0-9a-f]{64,128})$/i.exec(answer.location ?? '')?.[1];
    if (uuid === undefined) throw unusable('Rekor', url, 'has such an entry already, and does not say which');
    answer = await services(asked(beneath(log, `/api/v1/log/entries/${uuid}`)));
  }
  const read = FirstEntry.safeParse(jsonValue(answer.bytes)).data;
  if (read === undefined) throw unusable('Rekor', url, 'sent no log entry');
  const { body, integratedTime, logID, logIndex, verification } = read;
  const { inclusionProof: proof, signedEntryTimestamp } = verification;
  const keyId = Buffer.from(logID, 'hex');
  return {
    logIndex: String(logIndex),
    logId: { keyId: toBase64(keyId) },
    kindVersion: kindOf(body),
    integratedTime: String(integratedTime),
    inclusionPromise: { signedEntryTimestamp },
    inclusionProof: {
      logIndex: String(proof.logIndex),
      rootHash: Buffer.from(proof.rootHash, 'hex').toString('base64'),
      treeSize: String(proof.treeSize),
      hashes: proof.hashes.map((hash) => Buffer.from(hash, 'hex').toString('base64')),
      checkpoint: { envelope: bareCheckpoint(proof.checkpoint, keyId) },
    },
    canonicalizedBody: body,
  };
}

/** sigstore_rekor.proto, TransparencyLogEntry, as ProtoJSON may spell it: numbers of 64 bits in strings, defaults written out or not. */
const SecondEntry = z.looseObject({
  logIndex: Size.default('0'),
  logId: z.looseObject({ keyId: Base64 }),
  inclusionProof: z.looseObject({
    logIndex: Size.default('0'),
    rootHash: Base64,
    treeSize: Size,
    hashes: z.array(Base64).max(64).default([]),
    checkpoint: z.looseObject({ envelope: z.string().min(1) }),
  }),
  canonicalizedBody: Base64,
});

/** Rekor v2: a `hashedrekord` v0.0.2 entry over the pre-authentication encoding, which is all that it takes (rekor-tiles #744). */
async function enterSecond(services: Services, log: URL, logged: LoggedSignature): Promise<TransparencyLogEntry | undefined> {
  const { pae, signature, certificate } = logged;
  const entry = {
    hashedRekordRequestV002: {
      digest: createHash('sha256').update(pae).digest('base64'),
      signature: {
        content: toBase64(signature),
        verifier: { x509Certificate: { rawBytes: toBase64(certificate) }, keyDetails: 'PKIX_ECDSA_P256_SHA_256' },
      },
    },
  };
  const url = beneath(log, '/api/v2/log/entries');
  const answer = await services({ ...asked(url), body: json(entry), understood: [409] });
  if (answer.status === 409) return undefined;
  const read = SecondEntry.safeParse(jsonValue(answer.bytes)).data;
  if (read === undefined) throw unusable('Rekor', url, 'sent no log entry');
  const { logIndex, logId, inclusionProof: proof, canonicalizedBody } = read;
  return {
    logIndex,
    logId: { keyId: logId.keyId },
    kindVersion: kindOf(canonicalizedBody),
    inclusionProof: {
      logIndex: proof.logIndex,
      rootHash: proof.rootHash,
      treeSize: proof.treeSize,
      hashes: proof.hashes,
      checkpoint: { envelope: bareCheckpoint(proof.checkpoint.envelope, Buffer.from(logId.keyId, 'base64')) },
    },
    canonicalizedBody,
  };
}

/**
 * The checkpoint with the signature of the log alone (C2SP tlog-checkpoint). What witnesses have added says nothing to who does not know their
 * keys, so evidence has no room for it.
 */
function bareCheckpoint(envelope: string, keyId: Uint8Array): string {
  const at = envelope.indexOf('\n\n');
  const own = envelope
    .slice(at + 2)
    .split('\n')
    .find((line) => {
      const hint = Buffer.from(/^\u2014 \S+ (\S+)$/.exec(line)?.[1] ?? '', 'base64').subarray(0, 4);
      return hint.length === 4 && hint.equals(keyId.subarray(0, 4));
    });
  return at === -1 || own === undefined ? envelope : `${envelope.slice(0, at + 2)}${own}\n`;
}

function kindOf(body: string): TransparencyLogEntry['kindVersion'] {
  const { kind, apiVersion: version } = Kind.safeParse(jsonValue(Buffer.from(body, 'base64'))).data ?? {
    kind: 'unknown',
    apiVersion: 'unknown',
  };
  return { kind, version };
}

const Kind = z.looseObject({ kind: z.string().min(1).max(100), apiVersion: z.string().min(1).max(100) });

function beneath(log: URL, path: string): URL {
  return new URL(`${log.pathname.replace(/\/$/, '')}${path}`, log);
}

function asked(url: URL) {
  return { service: 'Rekor', url, accept: 'application/json' } as const;
}

function json(value: unknown) {
  return { type: 'application/json', bytes: new Uint8Array(Buffer.from(JSON.stringify(value))) };
}
