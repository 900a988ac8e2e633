import { ChainloopError } from '../../core/errors.ts';

/** One writer at a time, and the latest one wins. */
export type Turns = {
  /**
   * Runs `work` with the body after whoever had the turn is done. That one's body throws CONFLICT at once: a client that lost its connection
   * and comes back does not wait for the dead connection to be noticed. `work` keeps what arrived before its body threw.
   */
  take<T>(body: AsyncIterable<Uint8Array>, work: (body: AsyncIterable<Uint8Array>) => Promise<T>): Promise<T>;
};

export function createTurns(): Turns {
  let interrupt = (): void => {};
  let last: Promise<unknown> = Promise.resolve();
  return {
    take(body, work) {
      interrupt();
      const input = interruptible(body);
      interrupt = input.interrupt;
      const turn = last.then(() => work(input.body));
      last = turn.catch(() => {});
      return turn;
    },
  };
}

function interruptible(source: AsyncIterable<Uint8Array>): { readonly body: AsyncIterable<Uint8Array>; interrupt(): void } {
  const taken = (): ChainloopError => new ChainloopError('CONFLICT', 'upload: another request has taken it over');
  let interrupted = false;
  let wake = (_error: Error): void => {};
  return {
    interrupt() {
      interrupted = true;
      wake(taken());
    },
    body: {
      async *[Symbol.asyncIterator]() {
        const pieces = source[Symbol.asyncIterator]();
        try {
          for (;;) {
            if (interrupted) throw taken();
            const next = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
              wake = reject;
              pieces.next().then(resolve, reject);
            });
            if (next.done === true) return;
            yield next.value;
          }
        } finally {
          // Not awaited: a generator that waits for a dead connection ends only with it.
          pieces.return?.().catch(() => {});
        }
      },
    },
  };
}

/** A body without bytes. */
export async function* nothing(): AsyncGenerator<Uint8Array> {}
