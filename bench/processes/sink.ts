import { createServer } from 'node:net';

// A registry that takes every byte and keeps none: what an upload costs without a registry. Prints its origin.
// HTTP is read by hand, into one buffer, so that the sink needs less time than those who send to it.
const server = createServer({ highWaterMark: 1024 ** 2 }, (socket) => {
  let head = '';
  let bodyBytes = 0;
  let offset = 0;
  socket.on('error', () => {});
  socket.on('data', (piece: Buffer) => {
    for (let at = 0; at < piece.length; ) {
      if (bodyBytes > 0) {
        const taken = Math.min(bodyBytes, piece.length - at);
        bodyBytes -= taken;
        at += taken;
        if (bodyBytes === 0) answer();
        continue;
      }
      head += piece.toString('latin1', at);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) return;
      at = piece.length - (head.length - end - 4);
      head = head.slice(0, end);
      bodyBytes = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
      offset = bodyBytes;
      if (bodyBytes === 0) answer();
    }
  });
  function answer(): void {
    const method = head.slice(0, head.indexOf(' '));
    head = '';
    const line = { HEAD: '404 Not Found', POST: '202 Accepted', PATCH: '202 Accepted', PUT: '201 Created' }[method] ?? '405 No';
    const location = method === 'PUT' ? '' : `location: /v2/sink/blobs/uploads/1\r\nrange: 0-${Math.max(0, offset - 1)}\r\n`;
    socket.write(`HTTP/1.1 ${line}\r\ncontent-length: 0\r\n${location}\r\n`);
  }
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') process.stdout.write(`http://127.0.0.1:${address.port}\n`);
});
