import { generateKeyPair as generate, sign, X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';
import { buildBundle, parseBundle } from '../../bundle.ts';
import { readCertificate } from '../../certificate.ts';
import { readPae } from '../../dsse.ts';
import { ChainloopError, isChainloopError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { Signer } from '../../ports.ts';
import { type SigningServices, selectServices } from '../../signing-config.ts';
import { loadTrustRoot } from '../../trust-root.ts';
import { type Policy, verifyBundle } from '../../verify.ts';
import { createHttp } from '../http.ts';
import { defaultRetryPolicy, type RetryPolicy } from '../retry.ts';
import { answers, timestampRequest } from '../timestamp-request.ts';
import { requestCertificate } from './fulcio.ts';
import { enterLog } from './rekor.ts';
import { createServices, type Services, unusable } from './service.ts';

/** Which Sigstore signs: where its services are, and whom a verifier of it believes. Both are JSON texts. */
export type SigstoreInstance = { readonly trustRoot: string; readonly signingConfig: string };

export type SigstorePorts = {
  /** Asked when there is something to sign. */
  instance(): Promise<SigstoreInstance>;
  /** The token of this job for Fulcio, an OpenID Connect ID token. */
  token(): Promise<string>;
  /** Told before anything becomes public, and who signs. */
  readonly signing?: ((identity: string, logs: readonly string[]) => void) | undefined;
  readonly now: () => Date;
  readonly retryPolicy?: RetryPolicy | undefined;
  /** Until an answer begins; Rekor v2 waits for its next checkpoint first. Without it, `limits.requestTimeoutMs`. */
  readonly answerTimeoutMs?: number | undefined;
};

const generateKeys = promisify(generate);
type Keys = Awaited<ReturnType<typeof newKeys>>;
const newKeys = () => generateKeys('ec', { namedCurve: 'P-256' });

/**
 * A signer whose certificates are of Fulcio, whose signatures stand in Rekor and are stamped by time-stamping authorities, as the signing config
 * wants it. Each signature has a new P-256 key, which is forgotten with it. Before anything is answered, it is verified under the trusted
 * root as any verifier would: with all that the root calls for. SIGNING_UNAVAILABLE, SIGNING_REFUSED, UNAUTHENTICATED, and the codes of core/verify.ts.
 */
export function createSigstoreSigner(ports: SigstorePorts): Signer {
  return {
    way: 'sigstore',
    async sign(pae) {
      const { trustRoot: rootText, signingConfig } = await ports.instance();
      const selected = selectServices(signingConfig, ports.now());
      const trustRoot = await loadTrustRoot(rootText);
      const token = await ports.token();
      const http = createHttp();
      try {
        const services = createServices(http, { policy: ports.retryPolicy ?? defaultRetryPolicy, answerTimeoutMs: ports.answerTimeoutMs });
        const keys = await newKeys();
        const certificatesPem = await requestCertificate(services, selected.authority, token, keys);
        const certificate = readCertificate(new Uint8Array(new X509Certificate(certificatesPem[0] ?? '').raw));
        if (typeof certificate === 'string' || certificate.identity === undefined)
          throw unusable('Fulcio', selected.authority, 'sent a certificate that does not name exactly one identity');
        const { identity, identityIssuer: issuer } = certificate;
        ports.signing?.(
          identity,
          selected.logs.map(({ url }) => url.host),
        );
        const made = await logged(services, selected, {
          pae,
          keys,
          certificatePem: certificatesPem[0] ?? '',
          certificate: certificate.der,
        });
        const timestamps = await Promise.all(selected.timestampers.map((url) => stamp(services, url, made.signature)));
        const signed = { ...made, verification: { type: 'certificate', certificatesPem }, timestamps } as const;
        verifyOwn(buildBundle({ ...readPae(pae), ...signed }), {
          type: 'identity',
          trustRoot,
          identity: { exact: identity },
          issuer,
          strict: true,
        });
        return signed;
      } finally {
        http.close();
      }
    },
  };
}

/** With the eyes of whoever verifies it under the same trusted root; thresholds are what that root calls for. */
function verifyOwn(bundle: string, policy: Policy): void {
  try {
    verifyBundle(parseBundle(bundle, { canonical: true }), policy);
  } catch (error) {
    if (!isChainloopError(error)) throw error;
    const { code, message, problems } = error;
    const advice = 'what Sigstore answered does not hold under the trusted root; nothing was sent to the control plane';
    throw new ChainloopError(code, `${message}; ${advice}`, { problems, cause: error });
  }
}

type ToSign = { readonly pae: Uint8Array; readonly keys: Keys; readonly certificatePem: string; readonly certificate: Uint8Array };

/** A signature that stands in every log. An equal entry that no log gives out is no help: another signature is another entry. */
async function logged(services: Services, { logs }: SigningServices, { pae, keys, ...certificate }: ToSign) {
  for (let tries = 0; tries < limits.sigstoreSignatures; tries++) {
    const signature = new Uint8Array(sign('sha256', pae, keys.privateKey));
    const entries = await Promise.all(logs.map((log) => enterLog(services, log, { pae, signature, ...certificate })));
    const transparencyLogEntries = entries.flatMap((entry) => entry ?? []);
    if (transparencyLogEntries.length === logs.length) return { signature, transparencyLogEntries };
  }
  throw new ChainloopError('SIGNING_REFUSED', 'Rekor: it says of each new signature that an equal entry is there already');
}

async function stamp(services: Services, url: URL, signature: Uint8Array): Promise<Uint8Array> {
  const request = timestampRequest(signature);
  const { bytes } = await services({
    service: 'time-stamping authority',
    url,
    accept: 'application/timestamp-reply',
    body: { type: 'application/timestamp-query', bytes: request.der },
  });
  const response = new Uint8Array(bytes);
  if (!answers(response, request)) throw unusable('time-stamping authority', url, 'did not stamp this signature');
  return response;
}
