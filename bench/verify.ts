import { generateKeyPairSync, randomBytes, sign, verify as verifySignature } from 'node:crypto';
import { formatBundle } from '../core/bundle.ts';
import { digestOf } from '../core/digest.ts';
import { pae, statementPayloadType } from '../core/dsse.ts';
import { parsePublicKey } from '../core/key.ts';
import { loadTrustRoot } from '../core/trust-root.ts';
import { type Policy, verifyBundle } from '../core/verify.ts';
import { acme, certifiedBundle, createFakeAuthority, logEntry, noon } from '../test/fakes/authority.ts';
import type { Group } from './context.ts';
import { pairs } from './measure.ts';
import { compared } from './report.ts';

/** Signatures of one keyless bundle: its own, of two certificates of the signer, of a timestamp, of a log's promise and of its checkpoint. */
const keylessSignatures = 6;

/** G15: a bundle verified from its text, in this process, beside node:crypto doing nothing but the same signatures. */
export const verify: Group = async function* ({ quick, runs }) {
  const ms = quick ? 200 : 500;
  for (const materials of [10, 10_000]) {
    const { text, policy, raw } = keyBundle(materials);
    const size = `${materials.toLocaleString('en')} materials`;
    const measured = await pairs(
      runs.long,
      rate(ms, () => verifyBundle(text, policy)),
      rate(ms, raw),
    );
    yield compared(`G15 verify, local key, ${size}`, measured, {
      ...{ unit: '/s', reference: 'JSON.parse and one P-256' },
      goal: { of: 'ratio', atLeast: 0.5 },
    });
  }
  for (const materials of [10, 10_000]) {
    const { text, policy } = await keylessBundle(materials);
    const raw = signatures(keylessSignatures);
    const size = `${materials.toLocaleString('en')} materials`;
    const measured = await pairs(
      runs.long,
      each(ms, () => verifyBundle(text, policy)),
      each(ms, raw),
    );
    yield compared(`G15 verify, keyless, ${size}`, measured, {
      ...{ unit: 'ms', reference: `${keylessSignatures} P-256 alone` },
      // The signatures alone do not depend on the size: the goal is of small ones.
      goal: materials === 10 ? { of: 'ratio', atMost: 10 } : undefined,
    });
  }
};

/** How often a second. */
function rate(ms: number, call: () => unknown) {
  return async (): Promise<number> => 1000 / (await each(ms, call)());
}

/** Milliseconds of one, on the mean of as many as fit. */
function each(ms: number, call: () => unknown) {
  return async (): Promise<number> => {
    const startedAt = performance.now();
    let count = 0;
    while (performance.now() - startedAt < ms) {
      call();
      count++;
    }
    return (performance.now() - startedAt) / count;
  };
}

function keyBundle(materials: number) {
  const { privateKey, publicKey } = newKey();
  const payload = statement(materials);
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const { hint } = parsePublicKey(pem);
  const signature = new Uint8Array(sign('sha256', pae(statementPayloadType, payload), privateKey));
  const signer = { type: 'publicKey', hint } as const;
  const text = formatBundle({
    ...{ payload, payloadType: statementPayloadType, signature, keyid: undefined },
    ...{ signer, transparencyLogEntries: [], timestamps: [] },
  });
  const policy: Policy = { type: 'keys', keys: [{ name: 'ci', pem }] };
  const raw = (): void => {
    const { dsseEnvelope } = JSON.parse(text);
    const content = pae(dsseEnvelope.payloadType, Buffer.from(dsseEnvelope.payload, 'base64'));
    const good = verifySignature('sha256', content, publicKey, Buffer.from(dsseEnvelope.signatures[0].sig, 'base64'));
    if (!good) throw new Error('the signature does not hold');
  };
  return { text, policy, raw };
}

async function keylessBundle(materials: number) {
  const authority = createFakeAuthority();
  const payload = statement(materials);
  const { bundle } = certifiedBundle(authority, payload);
  if (bundle.signer.type !== 'certificate') throw new Error('it has no certificate');
  const entry = logEntry(authority, { payload, signature: bundle.signature, signer: bundle.signer.der, at: noon });
  const trustRoot = await loadTrustRoot(authority.trustRoot({ log: true }));
  const policy: Policy = { type: 'identity', trustRoot, identity: { exact: acme } };
  return { text: formatBundle({ ...bundle, transparencyLogEntries: [entry] }), policy };
}

/** So many of P-256 over as many bytes as a certificate has. */
function signatures(count: number) {
  const { privateKey, publicKey } = newKey();
  const content = randomBytes(600);
  const signature = sign('sha256', content, privateKey);
  return (): void => {
    for (let index = 0; index < count; index++) {
      if (!verifySignature('sha256', content, publicKey, signature)) throw new Error('the signature does not hold');
    }
  };
}

function newKey() {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

/** An in-toto statement of so many materials, each of them about 180 bytes. */
function statement(materials: number): Uint8Array {
  const text = JSON.stringify({
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: 'app', digest: { sha256: digestOf('app').slice('sha256:'.length) } }],
    predicateType: 'chainloop.dev/attestation/v0.2',
    predicate: {
      materials: Array.from({ length: materials }, (_, index) => ({
        name: `material-${index}.tar`,
        digest: { sha256: digestOf(String(index)).slice('sha256:'.length) },
        annotations: { 'chainloop.material.name': `m${index}`, 'chainloop.material.type': 'ARTIFACT' },
      })),
    },
  });
  return new Uint8Array(Buffer.from(text));
}
