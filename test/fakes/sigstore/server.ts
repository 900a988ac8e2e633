import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { toBase64 } from '../../../core/base64.ts';
import { trustRootMediaType } from '../../../core/trust-root.ts';
import { answerTimestamp } from '../../../server/ca/timestamp.ts';
import { type Authority, createFakeAuthority } from '../authority.ts';
import { listen } from '../listen.ts';
import { certify } from './fulcio.ts';
import { createLog, type Log } from './log.ts';
import { enterFirst, enterSecond, getFirst } from './rekor.ts';

export type Answer = {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON, unless it is bytes. */
  readonly body: unknown;
};

export type ServiceName = 'fulcio' | 'rekor1' | 'rekor2' | 'tsa';

/** What becomes of an answer: another one, silence, or a connection that breaks before or after the work was done. */
export type Fault = (work: () => Promise<Answer>) => Promise<Answer | 'silence' | 'reset'>;

type Period = { readonly start: string; readonly end?: string };

/** A whole Sigstore on loopback that signs for real: Fulcio with its CT log, Rekor v1 and v2, a time-stamping authority. */
export type Sigstore = {
  readonly origin: string;
  readonly logs: { readonly rekor1: Log; readonly rekor2: Log };
  readonly authority: Authority;
  /** Which services sign; by default Rekor v2 and the time-stamping authority. */
  signingConfig(use?: { readonly rekor?: readonly (1 | 2)[]; readonly tsa?: boolean; readonly validFor?: Period }): string;
  /** Its trusted root; what is named is left out, or is believed only in that time. */
  trustRoot(change?: { readonly without?: readonly ('tlogs' | 'ctlogs' | 'timestampAuthorities')[]; readonly tlogs?: Period }): string;
  /** The next answers of a service, one after the other, until another list is given. `undefined`: as it should be. */
  fail(service: ServiceName, faults: readonly (Fault | undefined)[] | Fault): void;
  /** Certificates without the promise of the CT log. */
  withoutSct(): void;
  /** `METHOD /path`, in order. */
  readonly requests: readonly string[];
  [Symbol.asyncDispose](): Promise<void>;
};

export async function startSigstore(): Promise<Sigstore> {
  const authority = createFakeAuthority('fake sigstore');
  const requests: string[] = [];
  const faults = new Map<ServiceName, Fault | (Fault | undefined)[]>();
  let sct = true;
  const ct = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const ctLog = { key: ct.privateKey, keyId: createHash('sha256').update(spki(ct.publicKey)).digest() };

  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    answer(request).then(
      (given) => send(response, given),
      (error: unknown) => send(response, { status: 400, body: { code: 3, message: String(error) } }),
    );
  });
  const listening = await listen(server);
  const { host, origin } = listening;
  // As in the world: one log calls itself by its host, the other by its whole address.
  const logs = { rekor1: createLog(host, 'ec'), rekor2: createLog(`${host}/rekor2`, 'ed25519') };

  async function answer(request: IncomingMessage): Promise<Answer | 'silence' | 'reset'> {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece);
    const bytes = Buffer.concat(pieces);
    const [, name = '', ...rest] = (request.url ?? '').split('/');
    const path = `/${rest.join('/')}`;
    const work = async (): Promise<Answer> => workOf(name, request.method ?? '', path, bytes);
    const list = faults.get(name === 'fulcio' || name === 'rekor1' || name === 'rekor2' ? name : 'tsa');
    const fault = typeof list === 'function' ? list : list?.shift();
    return fault === undefined ? work() : fault(work);
  }

  async function workOf(name: string, method: string, path: string, bytes: Buffer): Promise<Answer> {
    switch (`${method} ${name}${path}`) {
      case 'POST fulcio/api/v2/signingCert':
        return certify(JSON.parse(bytes.toString()), { issuing: authority.issuing, root: authority.root.certificate, ctLog, sct });
      case 'POST rekor1/api/v1/log/entries':
        return enterFirst(logs.rekor1, JSON.parse(bytes.toString()));
      case 'POST rekor2/api/v2/log/entries':
        return enterSecond(logs.rekor2, JSON.parse(bytes.toString()));
      case 'POST tsa/api/v1/timestamp':
        return { status: 201, body: answerTimestamp(bytes, { signer: authority.stamping, intermediates: [], now: new Date() }) };
    }
    const [, uuid] = /^\/api\/v1\/log\/entries\/([0-9a-f]+)$/.exec(path) ?? [];
    if (method === 'GET' && name === 'rekor1' && uuid !== undefined) return getFirst(logs.rekor1, uuid);
    return { status: 404, body: { message: 'not found' } };
  }

  const always = { start: '2026-01-01T00:00:00Z' };
  return {
    origin,
    logs,
    authority,
    requests,
    signingConfig({ rekor = [2], tsa = true, validFor = always } = {}) {
      const service = (path: string, majorApiVersion: number, operator = 'test') => ({
        url: `${origin}${path}`,
        majorApiVersion,
        validFor,
        operator,
      });
      return JSON.stringify({
        mediaType: 'application/vnd.dev.sigstore.signingconfig.v0.2+json',
        caUrls: [service('/fulcio', 1)],
        oidcUrls: [],
        rekorTlogUrls: rekor.map((version) => service(`/rekor${version}`, version, `operator ${version}`)),
        tsaUrls: tsa ? [service('/tsa/api/v1/timestamp', 1)] : [],
        rekorTlogConfig: { selector: 'ALL' },
        tsaConfig: { selector: 'ANY' },
      });
    },
    trustRoot({ without = [], tlogs = always } = {}) {
      const log = (baseUrl: string, key: KeyObject, keyId: Buffer, keyDetails: string, validFor: Period) => ({
        ...{ baseUrl, hashAlgorithm: 'SHA2_256', publicKey: { rawBytes: toBase64(spki(key)), keyDetails, validFor } },
        logId: { keyId: toBase64(keyId) },
      });
      const ecdsa = 'PKIX_ECDSA_P256_SHA_256';
      const whole = {
        ...JSON.parse(authority.trustRoot()),
        mediaType: trustRootMediaType,
        tlogs: [
          log(`${origin}/rekor1`, logs.rekor1.publicKey, logs.rekor1.keyId, ecdsa, tlogs),
          log(`${origin}/rekor2`, logs.rekor2.publicKey, logs.rekor2.keyId, 'PKIX_ED25519', tlogs),
        ],
        ctlogs: [log(`${origin}/ct`, ct.publicKey, ctLog.keyId, ecdsa, always)],
      };
      return JSON.stringify({ ...whole, ...Object.fromEntries(without.map((name) => [name, []])) });
    },
    fail(service, given) {
      faults.set(service, typeof given === 'function' ? given : [...given]);
    },
    withoutSct() {
      sct = false;
    },
    [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose](),
  };
}

function send(response: ServerResponse, answer: Answer | 'silence' | 'reset'): void {
  if (answer === 'silence') return;
  if (answer === 'reset') {
    response.destroy();
    return;
  }
  const { status, headers, body } = answer;
  const bytes = body instanceof Uint8Array ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(bytes);
}

function spki(key: KeyObject): Buffer {
  return key.export({ type: 'spki', format: 'der' });
}
