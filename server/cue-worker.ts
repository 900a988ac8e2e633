/**
 * The process that reads one untrusted contract text and is then ended by its parent (server/cue.ts), which sets its limits. Nothing
 * else may be done here: it has no environment, cannot write, and is killed when it takes too long.
 */
import { Worker } from 'node:worker_threads';
import { parseContract } from '../core/contract.ts';
import { ChainloopError, type ErrorCode, type Problem } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { printable } from '../core/source/place.ts';
import { countProblems } from '../core/source.ts';
import { type ContractMessage, type ContractQuestion, memoryMessage } from './cue.ts';

// Evaluation blocks this thread for as long as it likes. Should the parent die meanwhile, nobody else would end it.
new Worker(`setTimeout(() => process.kill(process.pid, 'SIGKILL'), ${limits.cueStartTimeoutMs + limits.cueTimeoutMs * 2})`, { eval: true });
process.once('disconnect', () => process.exit());

const format = process.argv[2];
// 0.5 s and 120 MB, before the time limit begins.
const cue = format === 'cue' ? await (await import('cue-wasm')).init() : undefined;

function answer({ text }: ContractQuestion): ContractMessage {
  try {
    if (cue === undefined) return { type: 'contract', ...parseContract(text, 'yaml') };
    const json = cue.toJSON(text);
    if (Buffer.byteLength(json) <= limits.contractSizeBytes) return { type: 'value', json };
    return refused('LIMIT_EXCEEDED', `contract: the CUE evaluates to more than ${limits.contractSizeBytes} bytes of JSON`, []);
  } catch (error) {
    if (error instanceof ChainloopError) return refused(error.code, error.message, error.problems);
    // The library throws what CUE says as text, and a RangeError when its stack is exhausted.
    if (typeof error === 'string') return invalid(error.split('\n', limits.problems));
    if (error instanceof RangeError) return invalid(['it nests too deeply']);
    return refused('LIMIT_EXCEEDED', memoryMessage, []);
  }
}

function invalid(messages: readonly string[]): ContractMessage {
  const problems = messages.map((message) => ({ message: printable(message, 500) }));
  return refused('CONTRACT_INVALID', `contract: ${countProblems(problems.length)}`, problems);
}

function refused(code: ErrorCode, message: string, problems: readonly Problem[]): ContractMessage {
  return { type: 'refused', code, message, problems: [...problems] };
}

process.once('message', (question: ContractQuestion) => process.send?.(answer(question)));
process.send?.({ type: 'ready' } satisfies ContractMessage);
