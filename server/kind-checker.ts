import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import * as z from 'zod';
import type { Digest } from '../core/digest.ts';
import { ChainloopError, isErrorCode } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { kinds } from '../core/material.ts';
import type { MaterialType } from '../core/names.ts';

/**
 * Whether stored evidence is what its kind promises. The job checked it before it was uploaded, and a job's word is not enough. An SBOM
 * of 64 MiB takes seconds to read, so that is done in a thread, with limits on memory and time, one at a time.
 */
export type KindChecker = {
  /**
   * Resolves when the bytes are of that kind, at once for kinds that take any file. `read` is asked only when it has to be: what was
   * accepted once is remembered by its digest. MATERIAL_KIND_MISMATCH, MATERIAL_INVALID, LIMIT_EXCEEDED.
   */
  check(evidence: {
    readonly type: MaterialType;
    readonly digest: Digest;
    readonly fileName: string;
    readonly sizeBytes: number;
    readonly read: () => Promise<Uint8Array>;
  }): Promise<void>;
  close(): Promise<void>;
};

export type KindQuestion = { readonly type: MaterialType; readonly fileName: string; readonly bytes: Uint8Array<ArrayBuffer> };
const KindAnswer = z.discriminatedUnion('type', [
  z.object({ type: z.literal('accepted') }),
  z.object({
    type: z.literal('refused'),
    code: z.string(),
    message: z.string(),
    problems: z.array(
      z.object({ message: z.string(), path: z.string().optional(), line: z.number().optional(), column: z.number().optional() }),
    ),
  }),
  z.object({ type: z.literal('failed'), message: z.string() }),
]);
export type KindAnswer = z.infer<typeof KindAnswer>;

/** Digests that are remembered: some megabytes. */
const maxRemembered = 10_000;

export function createKindChecker(): KindChecker {
  const accepted = new Set<string>();
  let worker: Worker | undefined;
  let turn: Promise<unknown> = Promise.resolve();

  /** The thread stays for the next one, and keeps nobody from ending. One that misbehaves is ended, and the next question gets a new one. */
  function thread(): Worker {
    if (worker !== undefined) return worker;
    const started = new Worker(new URL(`./kind-worker${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: limits.sbomHeapMiB },
      env: {},
    });
    started.unref();
    // Whoever waits for an answer is told; between questions nobody is there to be told.
    started.on('error', () => undefined);
    started.once('exit', () => {
      if (worker === started) worker = undefined;
    });
    worker = started;
    return started;
  }

  async function ask(question: KindQuestion): Promise<KindAnswer> {
    const asked = thread();
    const signal = AbortSignal.timeout(limits.sbomTimeoutMs);
    try {
      asked.postMessage(question, [question.bytes.buffer]);
      const [answer]: unknown[] = await once(asked, 'message', { signal });
      return KindAnswer.parse(answer);
    } catch (cause) {
      await asked.terminate();
      const why = signal.aborted ? `more than ${limits.sbomTimeoutMs / 1000} s` : `more than ${limits.sbomHeapMiB} MiB of memory`;
      throw new ChainloopError('LIMIT_EXCEEDED', `${question.fileName}: reading it takes ${why}; split it`, { cause });
    }
  }

  async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = turn.then(work, work);
    turn = mine.catch(() => undefined);
    return mine;
  }

  return {
    async check({ type, digest, fileName, sizeBytes, read }) {
      const { format } = kinds[type];
      const key = `${type} ${digest}`;
      if (format === undefined || accepted.has(key)) return;
      if (sizeBytes > format.maxBytes) {
        throw new ChainloopError('LIMIT_EXCEEDED', `${fileName}: ${sizeBytes} bytes; the limit of ${format.title} is ${format.maxBytes}`);
      }
      const answer = await inTurn(async () => ask({ type, fileName, bytes: new Uint8Array(await read()) }));
      switch (answer.type) {
        case 'accepted':
          if (accepted.size >= maxRemembered) accepted.clear();
          accepted.add(key);
          return;
        case 'refused':
          if (isErrorCode(answer.code)) throw new ChainloopError(answer.code, answer.message, { problems: answer.problems });
          throw new Error(`kind checker: unknown code '${answer.code}'`);
        case 'failed':
          throw new Error(`kind checker: ${answer.message}`);
      }
    },
    async close() {
      await turn;
      await worker?.terminate();
    },
  };
}
