import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import * as z from 'zod';
import { Contract } from '../core/contract/schema.ts';
import type { NamedContract } from '../core/contract.ts';
import { ChainloopError, isErrorCode } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { printable } from '../core/source/place.ts';

export const memoryMessage = `contract: reading it takes more than ${(limits.cueMemoryPages * 64) / 1024} MiB of memory; make it simpler`;
const timeMessage = `contract: reading it takes more than ${limits.cueTimeoutMs / 1000} seconds; make it simpler`;

/** What the process is asked: one text, then it ends. */
export type ContractQuestion = { readonly format: 'cue' | 'yaml'; readonly text: string };

const Problem = z.object({
  message: z.string(),
  path: z.string().optional(),
  line: z.number().optional(),
  column: z.number().optional(),
});
const Message = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ready') }),
  z.object({ type: z.literal('value'), json: z.string() }),
  z.object({ type: z.literal('contract'), name: z.string().optional(), contract: Contract }),
  z.object({ type: z.literal('refused'), code: z.string(), message: z.string(), problems: z.array(Problem) }),
]);
/** What the process answers: that it is ready, then one of the others. */
export type ContractMessage = z.infer<typeof Message>;

/**
 * The JSON value of a CUE text. It is evaluated in a process of its own, without environment, write access or other programs, and with
 * limits on time and memory: evaluation need not end, and WebAssembly memory can only be limited for a whole process (the embedded
 * database of this one needs more). Throws CONTRACT_INVALID, LIMIT_EXCEEDED.
 */
export async function evaluateCue(text: string): Promise<unknown> {
  const answer = await ask({ format: 'cue', text });
  if (answer.type !== 'value') throw new Error(`contract process: unexpected answer '${answer.type}'`);
  return JSON.parse(answer.json);
}

/** A YAML contract, parsed where a slow text stalls nobody. Throws as `parseContract` does. */
export async function parseYamlApart(text: string): Promise<NamedContract> {
  const answer = await ask({ format: 'yaml', text });
  if (answer.type !== 'contract') throw new Error(`contract process: unexpected answer '${answer.type}'`);
  return { ...(answer.name === undefined ? {} : { name: answer.name }), contract: answer.contract };
}

async function ask(question: ContractQuestion): Promise<ContractMessage> {
  if (Buffer.byteLength(question.text) > limits.contractSizeBytes)
    throw new ChainloopError('LIMIT_EXCEEDED', `contract: more than ${limits.contractSizeBytes} bytes`);
  const child = fork(
    fileURLToPath(new URL(`./cue-worker${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)),
    [question.format],
    {
      execArgv: [
        `--wasm-max-mem-pages=${limits.cueMemoryPages}`,
        '--max-old-space-size=512',
        '--permission',
        '--allow-fs-read=*',
        '--allow-worker',
      ],
      env: {},
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    },
  );
  try {
    return await converse(child, question);
  } finally {
    child.kill('SIGKILL');
  }
}

function converse(child: ChildProcess, question: ContractQuestion): Promise<ContractMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<ContractMessage>();
  const limitExceeded = (message: string): void => reject(new ChainloopError('LIMIT_EXCEEDED', message));
  let timer = setTimeout(() => reject(new Error('contract process: it did not start in time')), limits.cueStartTimeoutMs);
  child.on('error', reject);
  child.on('exit', () => limitExceeded(memoryMessage));
  child.on('message', (raw) => {
    const parsed = Message.safeParse(raw);
    if (!parsed.success) return reject(new Error('contract process: an answer that is none', { cause: parsed.error }));
    const message = parsed.data;
    if (message.type === 'refused') return reject(refusal(message));
    if (message.type !== 'ready') return resolve(message);
    clearTimeout(timer);
    timer = setTimeout(() => limitExceeded(timeMessage), limits.cueTimeoutMs);
    child.send(question, (error) => {
      if (error !== null) reject(error);
    });
  });
  return promise.finally(() => clearTimeout(timer));
}

function refusal({ code, message, problems }: ContractMessage & { readonly type: 'refused' }): Error {
  if (!isErrorCode(code)) return new Error(`contract process: ${printable(message)}`);
  return new ChainloopError(code, message, { problems });
}
