import { createHash, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { listen } from './listen.ts';

export type TinyRegistry = {
  readonly host: string;
  readonly origin: string;
  readonly blobs: Map<string, Buffer>;
  /** By tag, and by digest: what a tag named before is still there by its digest. */
  readonly manifests: Map<string, { readonly type: string; readonly bytes: Buffer }>;
  /** How many tokens were sold, and what was shown for each. */
  readonly tokenRequests: readonly (string | undefined)[];
  /** From now on every token that was sold so far is refused. */
  expireTokens(): void;
  [Symbol.asyncDispose](): Promise<void>;
};

/**
 * An OCI registry in memory, for what docker-registry cannot show: uploads that survive a cut inside a PATCH, bearer tokens that expire at
 * a chosen moment, and the referrers API. `onRequest` runs before each request is looked at.
 */
export async function startTinyRegistry(
  options: {
    readonly account?: { readonly username: string; readonly password: string };
    readonly referrers?: boolean;
    /** Looks at If-Match and If-None-Match of a manifest that is written. */
    readonly conditional?: boolean;
    /** Takes the fallback tag of a manifest for its digest, as registry.gitlab.com does. */
    readonly tagIsDigest?: boolean;
    readonly onRequest?: (method: string, path: string, registry: TinyRegistry) => void;
  } = {},
): Promise<TinyRegistry> {
  const blobs = new Map<string, Buffer>();
  const uploads = new Map<string, Buffer[]>();
  const manifests = new Map<string, { type: string; bytes: Buffer }>();
  const tokenRequests: (string | undefined)[] = [];
  let valid = new Set<string>();

  const server = createServer((request, response) => {
    request.on('error', () => {});
    options.onRequest?.(request.method ?? '', request.url ?? '', registry);
    answer(request, response).catch(() => response.destroy());
  });
  const listening = await listen(server);
  const registry: TinyRegistry = {
    ...listening,
    blobs,
    manifests,
    tokenRequests,
    expireTokens() {
      valid = new Set();
    },
  };
  return registry;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', listening.origin);
    const { authorization } = request.headers;
    if (url.pathname === '/token') {
      tokenRequests.push(authorization);
      const { username, password } = options.account ?? { username: '', password: '' };
      if (authorization !== `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`)
        return refuse(response, 401, 'UNAUTHORIZED');
      const token = randomUUID();
      valid.add(token);
      return send(response, 200, {}, JSON.stringify({ token, expires_in: 3600 }));
    }
    if (options.account !== undefined && !valid.has(authorization?.replace('Bearer ', '') ?? '')) {
      response.setHeader('www-authenticate', `Bearer realm="${listening.origin}/token",service="tiny"`);
      return refuse(response, 401, 'UNAUTHORIZED');
    }
    if (url.pathname === '/v2/') return send(response, 200, {}, '{}');
    const [, name, kind, rest = ''] = /^\/v2\/(.+)\/(blobs|manifests|referrers)\/(.*)$/.exec(url.pathname) ?? [];
    if (name === undefined) return refuse(response, 404, 'NAME_UNKNOWN');
    if (kind === 'referrers') return options.referrers === true ? listReferrers(response, rest) : refuse(response, 404, 'UNSUPPORTED');
    if (kind === 'manifests') return manifest(request, response, rest);
    if (rest.startsWith('uploads/')) return upload(request, response, url, rest.slice('uploads/'.length));
    const blob = blobs.get(rest);
    if (blob === undefined) return refuse(response, 404, 'BLOB_UNKNOWN');
    send(response, 200, { 'content-length': String(blob.length) }, request.method === 'HEAD' ? undefined : blob);
  }

  async function upload(request: IncomingMessage, response: ServerResponse, url: URL, id: string): Promise<void> {
    if (request.method === 'POST') {
      const opened = randomUUID();
      uploads.set(opened, []);
      // Relative, as the specification allows.
      return send(response, 202, { location: `${url.pathname}${opened}?state=1` });
    }
    const pieces = uploads.get(id);
    if (pieces === undefined) return refuse(response, 404, 'BLOB_UPLOAD_UNKNOWN');
    const size = () => pieces.reduce((sum, piece) => sum + piece.length, 0);
    const stand = () => ({ location: `${url.pathname}?state=${size()}`, range: `0-${Math.max(0, size() - 1)}` });
    if (request.method === 'GET') return send(response, 204, stand());
    if (request.method === 'DELETE') {
      uploads.delete(id);
      return send(response, 204, {});
    }
    const start = /^(\d+)-/.exec(request.headers['content-range'] ?? '')?.[1];
    if (start !== undefined && Number(start) !== size()) return send(response, 416, stand());
    for await (const piece of request) pieces.push(piece);
    if (request.method === 'PATCH') return send(response, 202, stand());
    const bytes = Buffer.concat(pieces);
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    if (url.searchParams.get('digest') !== digest) return refuse(response, 400, 'DIGEST_INVALID');
    blobs.set(digest, bytes);
    uploads.delete(id);
    send(response, 201, { location: `/blobs/${digest}`, 'docker-content-digest': digest });
  }

  async function manifest(request: IncomingMessage, response: ServerResponse, reference: string): Promise<void> {
    if (request.method === 'PUT') {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece);
      const bytes = Buffer.concat(pieces);
      const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
      if (options.conditional === true && !holds(request, manifests.get(reference)?.bytes))
        return refuse(response, 412, 'PRECONDITION_FAILED');
      const stored = { type: request.headers['content-type'] ?? '', bytes };
      manifests.set(reference, stored).set(digest, stored);
      const { subject } = JSON.parse(bytes.toString('utf8'));
      const known = options.referrers === true && subject !== undefined ? { 'oci-subject': subject.digest } : {};
      return send(response, 201, { 'docker-content-digest': digest, ...known });
    }
    const found = manifests.get(options.tagIsDigest === true ? reference.replace('sha256-', 'sha256:') : reference);
    if (found === undefined) return refuse(response, 404, 'MANIFEST_UNKNOWN');
    const digest = `sha256:${createHash('sha256').update(found.bytes).digest('hex')}`;
    const etag = { etag: `"${digest}"` };
    const headers = { ...etag, 'content-type': found.type, 'content-length': String(found.bytes.length), 'docker-content-digest': digest };
    send(response, 200, headers, request.method === 'HEAD' ? undefined : found.bytes);
  }

  function listReferrers(response: ServerResponse, subject: string): void {
    const entries = [...manifests].flatMap(([reference, { type, bytes }]) => {
      const parsed = JSON.parse(bytes.toString('utf8'));
      if (!reference.startsWith('sha256:') || parsed.subject?.digest !== subject) return [];
      return [{ mediaType: type, digest: reference, size: bytes.length, artifactType: parsed.artifactType }];
    });
    const index = { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: entries };
    send(response, 200, { 'content-type': index.mediaType }, JSON.stringify(index));
  }
}

/** RFC 9110, section 13.1, as far as anybody here uses it. */
function holds({ headers }: IncomingMessage, standing: Buffer | undefined): boolean {
  const etag = standing && `"sha256:${createHash('sha256').update(standing).digest('hex')}"`;
  if (headers['if-none-match'] === '*') return etag === undefined;
  return headers['if-match'] === undefined || headers['if-match'] === etag;
}

function send(response: ServerResponse, status: number, headers: Readonly<Record<string, string>>, body?: string | Buffer): void {
  response.writeHead(status, headers).end(body);
}

function refuse(response: ServerResponse, status: number, code: string): void {
  send(response, status, { 'content-type': 'application/json' }, JSON.stringify({ errors: [{ code, message: code.toLowerCase() }] }));
}
