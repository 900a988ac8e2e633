import assert from 'node:assert/strict';
import { ChainloopError } from '../core/errors.ts';

/** The error of ours with which the work is refused. Fails when it is not, or by anything else. */
export function refusal(work: () => unknown): ChainloopError {
  try {
    work();
  } catch (error) {
    return ours(error);
  }
  return assert.fail('it was accepted');
}

/** The same of work that takes its time. */
export async function rejection(work: Promise<unknown>): Promise<ChainloopError> {
  try {
    await work;
  } catch (error) {
    return ours(error);
  }
  return assert.fail('it was accepted');
}

function ours(error: unknown): ChainloopError {
  if (error instanceof ChainloopError) return error;
  throw error;
}
