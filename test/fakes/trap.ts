import { createServer } from 'node:http';
import { listen } from './listen.ts';

/** A server that nobody should call; counts those who do, and whether they brought credentials. */
export async function startTrap(address = '127.0.0.1') {
  const seen: { path: string; authorization: string | undefined }[] = [];
  const server = createServer((request, response) => {
    seen.push({ path: request.url ?? '', authorization: request.headers.authorization });
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '16' }).end('{"token":"trap"}');
  });
  return { ...(await listen(server, address)), seen };
}
