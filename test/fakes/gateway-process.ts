import { createInterface } from 'node:readline';
import { startGateway, tokens } from './gateway.ts';

/** The fake gateway in a process of its own, to see its memory. Prints its origin and a token of acme, and for each line on stdin its peak in bytes. */
await using gateway = await startGateway();
process.stdout.write(`${gateway.origin} ${tokens.api}\n`);
for await (const _ of createInterface({ input: process.stdin })) process.stdout.write(`${process.resourceUsage().maxRSS * 1024}\n`);
