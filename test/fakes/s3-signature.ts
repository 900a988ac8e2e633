import { createHash, createHmac } from 'node:crypto';

/** A request as it arrived. `headers` by lower-case name. */
export type SignedRequest = {
  readonly method: string;
  /** As sent: path and query. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
};

export type Scope = { readonly accessKeyId: string; readonly date: string; readonly region: string; readonly service: string };
export type Claimed = { readonly scope: Scope; readonly signedHeaders: readonly string[]; readonly signature: string };

/** What an Authorization header claims, or undefined: it is not of AWS4-HMAC-SHA256. */
export function claimedIn(authorization: string | undefined): Claimed | undefined {
  const pattern =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$/;
  const [, accessKeyId = '', date = '', region = '', service = '', signed = '', signature] = pattern.exec(authorization ?? '') ?? [];
  if (signature === undefined) return undefined;
  return { scope: { accessKeyId, date, region, service }, signedHeaders: signed.split(';'), signature };
}

/**
 * The signature that a request must have (Amazon S3 API reference, "Signature Calculations for the Authorization Header: Transferring Payload
 * in a Single Chunk"), written from that text alone, so that it can judge a library that signs.
 */
export function signatureOf(request: SignedRequest, { scope, signedHeaders }: Omit<Claimed, 'signature'>, secretAccessKey: string): string {
  // Task 1: the canonical request.
  const [path = '', query = ''] = request.url.split(/\?(.*)/s);
  const parameters = query
    .split('&')
    .filter((parameter) => parameter !== '')
    .map((parameter) => {
      const [name = '', value = ''] = parameter.split(/=(.*)/s).map(decodeURIComponent);
      return [uriEncode(name), uriEncode(value)] as const;
    })
    .sort(([a, b], [c, d]) => (a === c ? compare(b, d) : compare(a, c)))
    .map((pair) => pair.join('='));
  const canonical = [
    request.method,
    decodeURIComponent(path).split('/').map(uriEncode).join('/'),
    parameters.join('&'),
    ...signedHeaders.map((name) => `${name}:${String(request.headers[name] ?? '').trim()}`),
    '',
    signedHeaders.join(';'),
    String(request.headers['x-amz-content-sha256']),
  ].join('\n');
  // Task 2: the string to sign.
  const { date, region, service } = scope;
  const hashed = createHash('sha256').update(canonical).digest('hex');
  const toSign = ['AWS4-HMAC-SHA256', request.headers['x-amz-date'], `${date}/${region}/${service}/aws4_request`, hashed].join('\n');
  // Task 3: the signature.
  const key = [date, region, service, 'aws4_request'].reduce<string | Buffer>(
    (secret, text) => createHmac('sha256', secret).update(text).digest(),
    `AWS4${secretAccessKey}`,
  );
  return createHmac('sha256', key).update(toSign).digest('hex');
}

function compare(one: string, other: string): number {
  return one < other ? -1 : Number(one > other);
}

/** Every byte but the unreserved ones (the same page, "UriEncode()"). */
function uriEncode(text: string): string {
  return Array.from(Buffer.from(text), (byte) => {
    const character = String.fromCharCode(byte);
    return /[A-Za-z0-9._~-]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }).join('');
}
