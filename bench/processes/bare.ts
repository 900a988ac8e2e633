import { createServer } from 'node:http';
import * as z from 'zod';
import { wire } from '../../core/wire.ts';

// The least that an API in Node can do: read a body, parse it, check it with zod, answer. No authentication, no database. Prints its origin.
const schemas: Readonly<Record<string, z.ZodType>> = { '/trivial': z.object({}), '/push': wire.attestationPush };
const server = createServer((request, response) => {
  const pieces: Buffer[] = [];
  request.on('data', (piece: Buffer) => pieces.push(piece));
  request.on('end', () => {
    const result = schemas[request.url ?? '']?.safeParse(JSON.parse(Buffer.concat(pieces).toString()));
    response.writeHead(result?.success === true ? 200 : 400, { 'content-type': 'application/json' });
    response.end('{"result":{"data":{"kind":"owner","name":"owner","organization":null,"workflow":null,"project":null,"expiresAt":null}}}');
  });
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') process.stdout.write(`http://127.0.0.1:${address.port}\n`);
});
