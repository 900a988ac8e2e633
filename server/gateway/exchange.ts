import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { type Digest, isDigest } from '../../core/digest.ts';
import type { Storage } from '../storage/storage.ts';
import type { GatewayCaller, GatewayOrganization } from './actor.ts';
import { DistributionError } from './errors.ts';

/** What is recorded of evidence that arrived: the referee's check 7 looks here. `fileName` and what follows come with the manifest. */
export type Evidence = {
  readonly organizationId: string;
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly fileName?: string | undefined;
  readonly mediaType?: string | undefined;
  /** The manifest that the material's tag names. */
  readonly manifestDigest?: Digest | undefined;
};

/** One request inside one organization, after it was allowed. */
export type Exchange = {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly query: URLSearchParams;
  readonly caller: GatewayCaller;
  readonly organization: GatewayOrganization;
  readonly storage: Storage;
  readonly record: (evidence: Omit<Evidence, 'organizationId'>) => Promise<void>;
  /** True when evidence of exactly this size is there. */
  readonly hasSize: (sizeBytes: number) => Promise<boolean>;
  readonly idleTimeoutMs: number;
  /** Bytes of bodies so far. */
  readonly traffic: Traffic;
};

export type Traffic = { receivedBytes: number; sentBytes: number };

/** The digest in a path or query. DIGEST_INVALID. */
export function digestIn(text: string | null): Digest {
  if (isDigest(text)) return text;
  throw new DistributionError(
    'DIGEST_INVALID',
    'the digest must be sha256:<64 lower-case hex digits>; this registry keeps no content under other algorithms',
  );
}

/**
 * The body of a request, piece by piece; the client sends no faster than it is asked. A client that sends nothing for the idle timeout
 * is cut off. Leaving early does not close the connection, so that the refusal can still be sent.
 */
export async function* receive({ request, idleTimeoutMs, traffic }: Exchange): AsyncGenerator<Uint8Array> {
  let waiting = true;
  const timer = setTimeout(() => {
    // Our own slowness (a full disk queue, a slow registry) is not the client's.
    if (waiting) request.destroy(new Error('the client sent nothing for too long'));
    else timer.refresh();
  }, idleTimeoutMs);
  try {
    for await (const piece of request.iterator({ destroyOnReturn: false })) {
      waiting = false;
      if (!(piece instanceof Uint8Array)) throw new TypeError('the request has an encoding set');
      traffic.receivedBytes += piece.byteLength;
      yield piece;
      waiting = true;
      timer.refresh();
    }
  } finally {
    clearTimeout(timer);
  }
}

/** The body as a whole. SIZE_INVALID beyond the limit, before it is buffered. */
export async function receiveAll(exchange: Exchange, maxBytes: number, what: string): Promise<Buffer> {
  const tooLarge = (): DistributionError => new DistributionError('SIZE_INVALID', `${what} is larger than ${maxBytes} bytes`);
  if (Number(exchange.request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge();
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const piece of receive(exchange)) {
    sizeBytes += piece.byteLength;
    if (sizeBytes > maxBytes) throw tooLarge();
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** Sends a body no faster than the client takes it. One that takes nothing for the idle timeout is cut off. */
export async function sendBody({ response, idleTimeoutMs, traffic }: Exchange, body: AsyncIterable<Uint8Array>): Promise<void> {
  response.setTimeout(idleTimeoutMs, () => response.destroy(new Error('the client took nothing for too long')));
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const piece of body) {
      traffic.sentBytes += piece.byteLength;
      yield piece;
    }
  }
  try {
    await pipeline(counted, response);
  } finally {
    response.setTimeout(0);
  }
}

/** What it takes to answer. */
export type Answering = Pick<Exchange, 'request' | 'response' | 'traffic'>;

/** An answer that is in memory; nothing but its headers when the request was HEAD. */
export function send({ request, response, traffic }: Answering, status: number, headers: Record<string, string>, body?: Uint8Array): void {
  response.writeHead(status, { 'content-length': String(body?.byteLength ?? 0), ...headers });
  if (body !== undefined && request.method !== 'HEAD') traffic.sentBytes += body.byteLength;
  response.end(body);
}

/** A JSON answer. */
export function sendJson(exchange: Answering, value: unknown, headers: Record<string, string> = {}): void {
  send(exchange, 200, { 'content-type': 'application/json', ...headers }, Buffer.from(JSON.stringify(value)));
}
