import { contractFromValue, type NamedContract, parseContract } from '../core/contract.ts';
import { limits } from '../core/limits.ts';
import { evaluateCue, parseYamlApart } from './cue.ts';

/** Reads contracts from outside, as a service that stays up must. */
export type ContractReader = {
  /**
   * The contract in a text, of either schema, in any of the three languages. Does not stall the event loop, and runs at most
   * `limits.cueConcurrency` processes at a time: others wait their turn. Throws CONTRACT_INVALID with every problem, LIMIT_EXCEEDED.
   */
  read(text: string, format: 'yaml' | 'json' | 'cue'): Promise<NamedContract>;
};

/** One reader for one server. */
export function createContractReader(): ContractReader {
  const waiting: (() => void)[] = [];
  let running = 0;

  async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (running >= limits.cueConcurrency) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      return await work();
    } finally {
      // A turn is handed over, not given back, so that nobody can slip in between.
      const next = waiting.shift();
      if (next === undefined) running--;
      else next();
    }
  }

  return {
    async read(text, format) {
      if (format === 'cue') return contractFromValue(await inTurn(() => evaluateCue(text)));
      const isSlow = format === 'yaml' && Buffer.byteLength(text) > limits.inlineYamlSizeBytes;
      return isSlow ? await inTurn(() => parseYamlApart(text)) : parseContract(text, format);
    },
  };
}
