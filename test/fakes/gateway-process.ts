import { createInterface } from 'node:readline';
import { startGateway } from './gateway.ts';

/** The fake gateway in a process of its own, to see its memory. Prints its origin, and for each line on stdin its peak in bytes. */
await using gateway = await startGateway();
process.stdout.write(`${gateway.origin}\n`);
for await (const _ of createInterface({ input: process.stdin })) process.stdout.write(`${process.resourceUsage().maxRSS * 1024}\n`);
