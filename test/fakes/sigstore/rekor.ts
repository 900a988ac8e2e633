import { createHash, sign, verify, X509Certificate } from 'node:crypto';
import * as z from 'zod';
import { pae } from '../../../core/dsse.ts';
import { type Log, leafHash } from './log.ts';
import type { Answer } from './server.ts';

const treeId = '1193050959916656506';
const prefix = '108e9186e8c5677a';

const FirstRequest = z.object({
  apiVersion: z.literal('0.0.1'),
  kind: z.literal('dsse'),
  spec: z.object({ proposedContent: z.object({ envelope: z.string(), verifiers: z.tuple([z.base64()]) }) }),
});
const Envelope = z.object({ payload: z.base64(), payloadType: z.string(), signatures: z.tuple([z.object({ sig: z.base64() })]) });

/** Rekor v1: a `dsse` entry whose signature holds; 409 for one that is there, with its place. */
export function enterFirst(log: Log, body: unknown): Answer {
  const { envelope: text, verifiers } = FirstRequest.parse(body).spec.proposedContent;
  const envelope = Envelope.parse(JSON.parse(text));
  const payload = Buffer.from(envelope.payload, 'base64');
  const [{ sig }] = envelope.signatures;
  const certificate = new X509Certificate(Buffer.from(verifiers[0], 'base64'));
  if (!verify('sha256', pae(envelope.payloadType, payload), certificate.publicKey, Buffer.from(sig, 'base64')))
    return { status: 400, body: { code: 400, message: 'error processing entry: could not verify envelope' } };
  const hash = (bytes: Uint8Array | string) => ({ algorithm: 'sha256', value: createHash('sha256').update(bytes).digest('hex') });
  // RFC 8785: the keys in their order.
  const spec = { envelopeHash: hash(text), payloadHash: hash(payload), signatures: [{ signature: sig, verifier: verifiers[0] }] };
  const canonical = Buffer.from(JSON.stringify({ apiVersion: '0.0.1', kind: 'dsse', spec }));
  const { index, isNew } = log.add(canonical);
  if (isNew) return { status: 201, body: firstEntry(log, index) };
  const uuid = `${prefix}${leafHash(canonical).toString('hex')}`;
  const message = `an equivalent entry already exists in the transparency log with UUID ${uuid}`;
  return { status: 409, headers: { location: `/api/v1/log/entries/${uuid}` }, body: { code: 409, message } };
}

/** An entry by its UUID. */
export function getFirst(log: Log, uuid: string): Answer {
  const { size } = log.prove(0);
  for (let index = 0; index < size; index++)
    if (uuid.endsWith(leafHash(log.body(index)).toString('hex'))) return { status: 200, body: firstEntry(log, index) };
  return { status: 404, body: { code: 404, message: 'entry not found' } };
}

function firstEntry(log: Log, index: number) {
  const body = log.body(index).toString('base64');
  const { size, root, hashes } = log.prove(index);
  const integratedTime = Math.floor(Date.now() / 1000);
  const logIndex = 25_579 + index;
  const logID = log.keyId.toString('hex');
  const promise = JSON.stringify({ body, integratedTime, logID, logIndex });
  return {
    [`${prefix}${leafHash(log.body(index)).toString('hex')}`]: {
      body,
      integratedTime,
      logID,
      logIndex,
      verification: {
        inclusionProof: {
          checkpoint: log.checkpoint(`${log.name} - ${treeId}`),
          hashes: hashes.map((hash) => hash.toString('hex')),
          logIndex: index,
          rootHash: root.toString('hex'),
          treeSize: size,
        },
        signedEntryTimestamp: sign('sha256', Buffer.from(promise), log.key).toString('base64'),
      },
    },
  };
}

const SecondRequest = z.strictObject({
  hashedRekordRequestV002: z.strictObject({
    digest: z.base64().length(44),
    signature: z.strictObject({
      content: z.base64(),
      verifier: z.strictObject({
        x509Certificate: z.strictObject({ rawBytes: z.base64() }),
        keyDetails: z.literal('PKIX_ECDSA_P256_SHA_256'),
      }),
    }),
  }),
});

/** Rekor v2: a `hashedrekord`, and nothing else; its checkpoint is signed by a witness too. */
export function enterSecond(log: Log, request: unknown): Answer {
  const { digest, signature } = SecondRequest.parse(request).hashedRekordRequestV002;
  const { keyDetails, x509Certificate } = signature.verifier;
  const spec = {
    hashedRekordV002: {
      data: { algorithm: 'SHA2_256', digest },
      signature: { content: signature.content, verifier: { keyDetails, x509Certificate } },
    },
  };
  const canonical = Buffer.from(JSON.stringify({ apiVersion: '0.0.2', kind: 'hashedrekord', spec }));
  const { index, isNew } = log.add(canonical);
  if (!isNew) {
    const message = `an equivalent entry already exists in the transparency log with index ${index}`;
    return { status: 409, body: { code: 6, message, details: [] } };
  }
  const { size, root, hashes } = log.prove(index);
  const witness = `\u2014 witness.example ${Buffer.alloc(76, 7).toString('base64')}\n`;
  return {
    status: 200,
    body: {
      logIndex: String(index),
      logId: { keyId: log.keyId.toString('base64') },
      kindVersion: { kind: 'hashedrekord', version: '0.0.2' },
      integratedTime: '0',
      inclusionPromise: null,
      inclusionProof: {
        logIndex: String(index),
        rootHash: root.toString('base64'),
        treeSize: String(size),
        hashes: hashes.map((hash) => hash.toString('base64')),
        checkpoint: { envelope: `${log.checkpoint(log.name)}${witness}` },
      },
      canonicalizedBody: canonical.toString('base64'),
    },
  };
}
