import { Agent } from 'node:http';
import { text } from 'node:stream/consumers';
import * as z from 'zod';
import { load } from '../measure.ts';
import { post } from '../post.ts';

// Sends the POST that standard input describes, over and over on some connections, and prints what came of it as JSON.
const Input = z.object({
  url: z.string(),
  headers: z.record(z.string(), z.string()),
  body: z.string(),
  connections: z.int(),
  seconds: z.number(),
  /** Of every answer. */
  status: z.int(),
});

const { url, headers, body, connections, seconds, status } = Input.parse(JSON.parse(await text(process.stdin)));
const agent = new Agent({ keepAlive: true, maxSockets: connections });
const result = await load(connections, seconds, async () => {
  const answer = await post(agent, url, headers, body);
  if (answer.status !== status) throw new Error(`${url} answered ${answer.status}: ${answer.body.slice(0, 500)}`);
});
process.stdout.write(JSON.stringify(result));
agent.destroy();
