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
 * of 64 MiB takes seconds to read, so that is done in a thread, with limits on memory and time, one at a time. Its bytes come before its
 * turn: an organization whose storage is slow waits for itself alone, with `limits.sbomsPerOrganization` at a time.
 */
export type KindChecker = {
  /**
   * Resolves when the bytes are of that kind, at once for kinds that take any file. `read` is asked only when it has to be: what was
   * accepted once is remembered by its digest. MATERIAL_KIND_MISMATCH, MATERIAL_INVALID, LIMIT_EXCEEDED; STORAGE_UNAVAILABLE when the bytes
   * do not come in time, and then the signal says that nobody waits for them any more.
   */
  check(evidence: {
    readonly organizationId: string;
    readonly type: MaterialType;
    readonly digest: Digest;
    readonly fileName: string;
    readonly sizeBytes: number;
    readonly read: (signal: AbortSignal) => Promise<Uint8Array>;
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

export function createKindChecker(options: { readonly readTimeoutMs?: number } = {}): KindChecker {
  const { readTimeoutMs = limits.sbomReadTimeoutMs } = options;
  const accepted = new Set<string>();
  const places = new Map<string, { taken: number; readonly waiting: (() => void)[] }>();
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

  /** Runs it when the organization has a place; one that becomes free is handed to who waits longest. */
  async function inPlace<T>(organizationId: string, work: () => Promise<T>): Promise<T> {
    const own = places.get(organizationId) ?? { taken: 0, waiting: [] };
    places.set(organizationId, own);
    if (own.taken < limits.sbomsPerOrganization) own.taken++;
    else await new Promise<void>((resolve) => own.waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = own.waiting.shift();
      if (next !== undefined) next();
      else if (--own.taken === 0) places.delete(organizationId);
    }
  }

  async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = turn.then(work, work);
    turn = mine.catch(() => undefined);
    return mine;
  }

  return {
    async check({ organizationId, type, digest, fileName, sizeBytes, read }) {
      const { format } = kinds[type];
      const key = `${type} ${digest}`;
      if (format === undefined || accepted.has(key)) return;
      if (sizeBytes > format.maxBytes) {
        throw new ChainloopError('LIMIT_EXCEEDED', `${fileName}: ${sizeBytes} bytes; the limit of ${format.title} is ${format.maxBytes}`);
      }
      const answer = await inPlace(organizationId, async () => {
        const bytes = new Uint8Array(await within(readTimeoutMs, fileName, read));
        return inTurn(() => ask({ type, fileName, bytes }));
      });
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

async function within(timeoutMs: number, fileName: string, read: (signal: AbortSignal) => Promise<Uint8Array>): Promise<Uint8Array> {
  const controller = new AbortController();
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const why = `${fileName}: it did not come from storage within ${timeoutMs / 1000} s; check the CAS backend, and push again`;
    controller.abort(new ChainloopError('STORAGE_UNAVAILABLE', why));
    reject(controller.signal.reason);
  }, timeoutMs);
  try {
    return await Promise.race([read(controller.signal), late]);
  } finally {
    clearTimeout(timer);
  }
}
