import { type Agent, request } from 'node:http';

export type Answer = { readonly status: number; readonly body: string };

/** One POST of JSON over node:http: a client that costs little, so that the server is what is measured. */
export function post(agent: Agent, url: string, headers: Readonly<Record<string, string>>, body: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const bytes = Buffer.from(body);
    const outgoing = request(
      url,
      { agent, method: 'POST', headers: { ...headers, 'content-type': 'application/json', 'content-length': bytes.length } },
      (incoming) => {
        const pieces: Buffer[] = [];
        incoming.on('data', (piece: Buffer) => pieces.push(piece));
        incoming.on('error', reject);
        incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, body: Buffer.concat(pieces).toString() }));
      },
    );
    outgoing.on('error', reject);
    outgoing.end(bytes);
  });
}
