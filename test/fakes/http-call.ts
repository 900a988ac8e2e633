import { request } from 'node:http';

export type Call = {
  readonly token?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string | undefined;
};
export type Answer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
  /** The first code of an error answer. */
  readonly code: string | undefined;
};

/** One HTTP request as it is: nothing in the path is normalised, nothing is followed, nothing is tried again. */
export function call(origin: string, method: string, path: string, { token, headers = {}, body }: Call = {}): Promise<Answer> {
  const { hostname, port } = new URL(origin);
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
  const options = { hostname, port, method, path, headers: { ...authorization, ...length, ...headers } };
  return new Promise((resolve, reject) => {
    const outgoing = request(options, (incoming) => {
      const pieces: Buffer[] = [];
      incoming.on('data', (piece: Buffer) => pieces.push(piece));
      incoming.on('error', reject);
      incoming.on('end', () => {
        const bytes = Buffer.concat(pieces);
        const code = /"errors":\[\{"code":"([A-Z_]+)"/.exec(bytes.toString('latin1'))?.[1];
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: bytes, code });
      });
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}
