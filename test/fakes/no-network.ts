import { Socket } from 'node:net';

// For a process that must reach nobody (`--import`): the first connection ends it, with a code of its own.

Socket.prototype.connect = () => {
  process.stderr.write('no network: a connection was opened\n');
  process.exit(99);
};
