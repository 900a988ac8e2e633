import { createHash, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { listen } from './listen.ts';
import { claimedIn, signatureOf } from './s3-signature.ts';

/** What goes wrong with an operation (PutObject, UploadPart, …), `times` times (default 1), after `skip` of them went through. */
export type S3Fault = {
  readonly operation: string;
  readonly code: string;
  /** 200 is an error that comes after a good status, as of a copy. */
  readonly status: number;
  readonly times?: number;
  readonly skip?: number;
  /** The work is done, and the answer says otherwise. */
  readonly after?: boolean;
};

type StoredObject = { readonly pieces: readonly Buffer[]; readonly etag: string; readonly type: string; readonly modifiedAt: Date };
type Multipart = { readonly key: string; readonly type: string; readonly initiatedAt: Date; readonly parts: Map<number, StoredObject> };

export type FakeS3 = {
  readonly host: string;
  readonly origin: string;
  readonly bucket: string;
  readonly region: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string };
  /** What it compares signatures with. */
  secretAccessKey: string;
  readonly objects: Map<string, StoredObject>;
  readonly multiparts: Map<string, Multipart>;
  /** `PutObject blobs/sha256/…`, in the order of arrival. */
  readonly seen: readonly string[];
  content(key: string): Buffer | undefined;
  inject(...faults: readonly S3Fault[]): void;
  /** From now on everything works. */
  clear(): void;
  /** How far its clock is ahead of ours. */
  skewMs: number;
  [Symbol.asyncDispose](): Promise<void>;
};

/**
 * One bucket of S3 in memory: signatures are verified, sizes and orders of parts are kept to, a read is whole or ranged, lists have pages,
 * conditions of reads and copies count. Objects share the buffers of the parts that they were made of.
 */
export async function startS3(
  options: { readonly sessionToken?: string; readonly pageSize?: number; readonly partSizeBytes?: number; readonly region?: string } = {},
): Promise<FakeS3> {
  const { pageSize = 1000, partSizeBytes = 5 * 1024 * 1024, region = 'eu-central-1' } = options;
  const bucket = 'evidence';
  const objects = new Map<string, StoredObject>();
  const multiparts = new Map<string, Multipart>();
  const seen: string[] = [];
  const armed: { fault: S3Fault; skip: number; times: number }[] = [];
  const server = createServer((request, response) => {
    request.on('error', () => {});
    answer(request, response).catch((error: unknown) => {
      if (error instanceof Refusal) refuse(request, response, error);
      else response.destroy(error instanceof Error ? error : undefined);
    });
  });
  const listening = await listen(server);
  const secretAccessKey = 'CANARY+secret/access-key';
  const fake: FakeS3 = {
    ...listening,
    secretAccessKey,
    ...{ bucket, region, objects, multiparts, seen },
    credentials: {
      accessKeyId: 'AKIAEVIDENCE',
      secretAccessKey,
      ...(options.sessionToken === undefined ? {} : { sessionToken: options.sessionToken }),
    },
    content: (key) => {
      const object = objects.get(key);
      return object && Buffer.concat(object.pieces);
    },
    inject(...faults) {
      for (const fault of faults) armed.push({ fault, skip: fault.skip ?? 0, times: fault.times ?? 1 });
    },
    clear() {
      armed.length = 0;
    },
    skewMs: 0,
  };
  return fake;

  function time(): Date {
    return new Date(Date.now() + fake.skewMs);
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('date', time().toUTCString());
    const url = new URL(request.url ?? '/', listening.origin);
    const isVirtual = request.headers.host === `${bucket}.localhost:${listening.host.split(':')[1]}`;
    const [, named = '', rest = ''] = /^\/([^/]*)\/?(.*)$/s.exec(decodeURIComponent(url.pathname)) ?? [];
    const key = isVirtual ? decodeURIComponent(url.pathname).slice(1) : rest;
    const operation = operationOf(request, url.searchParams, key);
    seen.push(`${operation} ${key}`);
    authenticate(request);
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece);
    const sha256 = hashOf('sha256', pieces);
    if (request.headers['x-amz-content-sha256'] !== sha256) throw new Refusal(400, 'XAmzContentSHA256Mismatch');
    if (!isVirtual && named !== bucket) throw new Refusal(404, 'NoSuchBucket');
    const fault = faultFor(operation);
    if (fault !== undefined && fault.after !== true) throw new Refusal(fault.status, fault.code);
    const result = perform(operation, key, url.searchParams, request, pieces);
    if (fault !== undefined) throw new Refusal(fault.status, fault.code);
    response.writeHead(result.status ?? 200, result.headers);
    if (result.pieces === undefined || request.method === 'HEAD') response.end(result.xml);
    // A client that leaves in the middle is not the bucket's concern.
    else await pipeline(result.pieces, response).catch(() => {});
  }

  function faultFor(operation: string): S3Fault | undefined {
    const row = armed.find(({ fault, times }) => fault.operation === operation && times > 0);
    if (row === undefined) return undefined;
    if (row.skip > 0) {
      row.skip--;
      return undefined;
    }
    row.times--;
    return row.fault;
  }

  function authenticate(request: IncomingMessage): void {
    const { headers } = request;
    const claimed = claimedIn(headers.authorization);
    if (claimed === undefined) throw new Refusal(403, 'AccessDenied');
    const { scope, signedHeaders, signature } = claimed;
    const at = String(headers['x-amz-date']).replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z');
    if (scope.accessKeyId !== fake.credentials.accessKeyId) throw new Refusal(403, 'InvalidAccessKeyId');
    if (scope.region !== region || scope.service !== 's3')
      throw new Refusal(400, 'AuthorizationHeaderMalformed', `<Region>${region}</Region>`);
    if (scope.date !== String(headers['x-amz-date']).slice(0, 8)) throw new Refusal(403, 'SignatureDoesNotMatch');
    if (headers['x-amz-security-token'] !== fake.credentials.sessionToken) throw new Refusal(400, 'InvalidToken');
    const mustBeSigned = ['host', ...Object.keys(headers).filter((name) => name.startsWith('x-amz-'))];
    if (!mustBeSigned.every((name) => signedHeaders.includes(name))) throw new Refusal(403, 'AccessDenied');
    const { method = '', url = '' } = request;
    if (signatureOf({ method, url, headers }, { scope, signedHeaders }, fake.secretAccessKey) !== signature) {
      throw new Refusal(403, 'SignatureDoesNotMatch');
    }
    const serverTime = time();
    if (Math.abs(serverTime.getTime() - Date.parse(at)) > 15 * 60_000) {
      throw new Refusal(403, 'RequestTimeTooSkewed', `<ServerTime>${serverTime.toISOString()}</ServerTime>`);
    }
  }

  function perform(operation: string, key: string, query: URLSearchParams, request: IncomingMessage, body: readonly Buffer[]): Result {
    const type = request.headers['content-type'] ?? 'binary/octet-stream';
    const part = Number(query.get('partNumber'));
    switch (operation) {
      case 'PutObject':
        return { headers: { etag: store(key, body, type) } };
      case 'GetObject':
      case 'HeadObject':
        return read(operation, key, request);
      case 'DeleteObject':
        objects.delete(key);
        return { status: 204 };
      case 'CopyObject':
        return { xml: `<CopyObjectResult><ETag>${escaped(store(key, source(request), type))}</ETag></CopyObjectResult>` };
      case 'ListObjectsV2':
        return { xml: list(query) };
      case 'CreateMultipartUpload': {
        const id = randomUUID();
        multiparts.set(id, { key, type, initiatedAt: time(), parts: new Map() });
        return { xml: `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>` };
      }
      case 'UploadPart': {
        const made = objectOf(body, type, time());
        multipart(key, query).parts.set(part, made);
        return { headers: { etag: made.etag } };
      }
      case 'UploadPartCopy': {
        const made = objectOf(source(request), type, time());
        multipart(key, query).parts.set(part, made);
        return { xml: `<CopyPartResult><ETag>${escaped(made.etag)}</ETag></CopyPartResult>` };
      }
      case 'CompleteMultipartUpload':
        return { xml: complete(key, query, Buffer.concat(body).toString()) };
      case 'AbortMultipartUpload':
        multipart(key, query);
        multiparts.delete(query.get('uploadId') ?? '');
        return { status: 204 };
      case 'ListParts':
        return { xml: listParts(multipart(key, query), Number(query.get('part-number-marker') ?? 0)) };
      case 'ListMultipartUploads': {
        const found = [...multiparts].filter(([, upload]) => upload.key.startsWith(query.get('prefix') ?? ''));
        const entries = found.map(
          ([id, upload]) =>
            `<Upload><Key>${upload.key}</Key><UploadId>${id}</UploadId><Initiated>${upload.initiatedAt.toISOString()}</Initiated></Upload>`,
        );
        return { xml: `<ListMultipartUploadsResult>${entries.join('')}</ListMultipartUploadsResult>` };
      }
      default:
        throw new Refusal(501, 'NotImplemented');
    }
  }

  function store(key: string, pieces: readonly Buffer[], type: string): string {
    const object = objectOf(pieces, type, time());
    objects.set(key, object);
    return object.etag;
  }

  function multipart(key: string, query: URLSearchParams): Multipart {
    const upload = multiparts.get(query.get('uploadId') ?? '');
    if (upload?.key !== key) throw new Refusal(404, 'NoSuchUpload');
    return upload;
  }

  function complete(key: string, query: URLSearchParams, xml: string): string {
    const upload = multipart(key, query);
    const asked = Array.from(xml.matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>(.*?)<\/ETag>/g), ([, number, etag]) => {
      const part = upload.parts.get(Number(number));
      if (part === undefined || escaped(part.etag) !== etag?.replaceAll('&#34;', '&quot;')) throw new Refusal(400, 'InvalidPart');
      return { number: Number(number), part };
    });
    if (asked.some(({ number }, index) => number <= (asked[index - 1]?.number ?? 0))) throw new Refusal(400, 'InvalidPartOrder');
    if (asked.slice(0, -1).some(({ part }) => sizeOf(part) < partSizeBytes)) throw new Refusal(400, 'EntityTooSmall');
    const pieces = asked.flatMap(({ part }) => part.pieces);
    const digest = createHash('md5');
    for (const { part } of asked) digest.update(part.etag);
    objects.set(key, { pieces, etag: `"${digest.digest('hex')}-${asked.length}"`, type: upload.type, modifiedAt: time() });
    multiparts.delete(query.get('uploadId') ?? '');
    return `<CompleteMultipartUploadResult><Key>${key}</Key></CompleteMultipartUploadResult>`;
  }

  function source(request: IncomingMessage): readonly Buffer[] {
    const path = decodeURIComponent(String(request.headers['x-amz-copy-source']));
    const object = objects.get(path.replace(`/${bucket}/`, ''));
    if (object === undefined) throw new Refusal(404, 'NoSuchKey');
    const condition = request.headers['x-amz-copy-source-if-match'];
    if (condition !== undefined && condition !== object.etag) throw new Refusal(412, 'PreconditionFailed');
    const range = /^bytes=(\d+)-(\d+)$/.exec(String(request.headers['x-amz-copy-source-range'] ?? ''));
    return range === null ? object.pieces : slice(object.pieces, Number(range[1]), Number(range[2]) + 1);
  }

  function read(operation: string, key: string, request: IncomingMessage): Result {
    const object = objects.get(key);
    if (object === undefined) throw new Refusal(404, 'NoSuchKey');
    const condition = request.headers['if-match'];
    if (condition !== undefined && condition !== object.etag) throw new Refusal(412, 'PreconditionFailed');
    const size = sizeOf(object);
    const range = operation === 'GetObject' ? /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') : null;
    const headers = { etag: object.etag, 'content-type': object.type, 'last-modified': object.modifiedAt.toUTCString() };
    if (range === null) return { headers: { ...headers, 'content-length': String(size) }, pieces: object.pieces };
    const first = Number(range[1]);
    const end = range[2] === '' ? size : Math.min(size, Number(range[2]) + 1);
    if (first >= size) throw new Refusal(416, 'InvalidRange');
    const contentRange = `bytes ${first}-${end - 1}/${size}`;
    const partial = { ...headers, 'content-length': String(end - first), 'content-range': contentRange };
    return { status: 206, headers: partial, pieces: slice(object.pieces, first, end) };
  }

  function list(query: URLSearchParams): string {
    const after = query.get('continuation-token') ?? query.get('start-after') ?? '';
    const matching = [...objects].filter(([key]) => key.startsWith(query.get('prefix') ?? '') && key > after);
    const keys = matching.map(([key]) => key).sort();
    const page = keys.slice(0, Math.min(pageSize, Number(query.get('max-keys') ?? 1000)));
    const entries = page.map(
      (key) => `<Contents><Key>${escaped(key)}</Key><LastModified>${objects.get(key)?.modifiedAt.toISOString()}</LastModified></Contents>`,
    );
    const more = page.length < keys.length ? `<NextContinuationToken>${escaped(page.at(-1) ?? '')}</NextContinuationToken>` : '';
    return `<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>${more !== ''}</IsTruncated>${entries.join('')}${more}</ListBucketResult>`;
  }

  function listParts(upload: Multipart, marker: number): string {
    const numbers = [...upload.parts.keys()].filter((number) => number > marker).sort((one, other) => one - other);
    const page = numbers.slice(0, pageSize);
    const entries = page.map((number) => {
      const part = upload.parts.get(number);
      return part && `<Part><PartNumber>${number}</PartNumber><ETag>${escaped(part.etag)}</ETag><Size>${sizeOf(part)}</Size></Part>`;
    });
    return `<ListPartsResult><IsTruncated>${page.length < numbers.length}</IsTruncated><NextPartNumberMarker>${page.at(-1)}</NextPartNumberMarker>${entries.join('')}</ListPartsResult>`;
  }
}

type Result = {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly xml?: string;
  readonly pieces?: readonly Buffer[];
};

class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly details: string;

  constructor(status: number, code: string, details = '') {
    super(code);
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

function refuse(request: IncomingMessage, response: ServerResponse, { status, code, details }: Refusal): void {
  request.resume();
  const xml = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>it said so</Message>${details}</Error>`;
  response.writeHead(status, { 'content-type': 'application/xml' }).end(request.method === 'HEAD' ? undefined : xml);
}

function operationOf({ method, headers }: IncomingMessage, query: URLSearchParams, key: string): string {
  const copies = headers['x-amz-copy-source'] !== undefined;
  if (key === '') return query.has('uploads') ? 'ListMultipartUploads' : 'ListObjectsV2';
  if (query.has('uploads')) return 'CreateMultipartUpload';
  const isUpload = query.has('uploadId');
  const operations: Readonly<Record<string, string>> = {
    PUT: isUpload ? (copies ? 'UploadPartCopy' : 'UploadPart') : copies ? 'CopyObject' : 'PutObject',
    GET: isUpload ? 'ListParts' : 'GetObject',
    POST: 'CompleteMultipartUpload',
    DELETE: isUpload ? 'AbortMultipartUpload' : 'DeleteObject',
    HEAD: 'HeadObject',
  };
  return operations[method ?? ''] ?? 'Unknown';
}

function objectOf(pieces: readonly Buffer[], type: string, modifiedAt: Date): StoredObject {
  return { pieces, etag: `"${hashOf('md5', pieces)}"`, type, modifiedAt };
}

function sizeOf({ pieces }: StoredObject): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0);
}

function slice(pieces: readonly Buffer[], first: number, end: number): readonly Buffer[] {
  let at = 0;
  return pieces.flatMap((piece) => {
    const part = piece.subarray(Math.max(0, first - at), Math.max(0, end - at));
    at += piece.length;
    return part.length === 0 ? [] : [part];
  });
}

function hashOf(algorithm: 'sha256' | 'md5', pieces: readonly Buffer[]): string {
  const hash = createHash(algorithm);
  for (const piece of pieces) hash.update(piece);
  return hash.digest('hex');
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
