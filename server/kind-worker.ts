import { parentPort } from 'node:worker_threads';
import { isChainloopError } from '../core/errors.ts';
import { checkKind } from '../core/material.ts';
import type { KindAnswer, KindQuestion } from './kind-checker.ts';

/** The thread that reads SBOMs for server/kind-checker.ts, which limits its memory and its time. */
parentPort?.on('message', async (question: KindQuestion) => {
  parentPort?.postMessage(await answer(question));
});

async function answer({ type, fileName, bytes }: KindQuestion): Promise<KindAnswer> {
  async function* read(): AsyncGenerator<Uint8Array> {
    yield bytes;
  }
  try {
    await checkKind(type, { fileName, sizeBytes: bytes.byteLength, read });
    return { type: 'accepted' };
  } catch (error) {
    if (isChainloopError(error)) return { type: 'refused', code: error.code, message: error.message, problems: [...error.problems] };
    return { type: 'failed', message: error instanceof Error ? `${error.name}: ${error.message}` : 'unknown' };
  }
}
