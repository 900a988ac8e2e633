import type { Signer } from '../core/ports.ts';
import type { Context } from './context.ts';

/** The signer with the key at a path or `env://VAR`; without one, none. */
export function signerOf({ env }: Context, key: string | undefined): Signer | undefined {
  const reference = key ?? (env.CHAINLOOP_SIGNING_KEY || undefined);
  if (reference === undefined) return undefined;
  return {
    async sign(pae) {
      const { loadSigner } = await import('../core/adapters/keys.ts');
      const password = env.CHAINLOOP_SIGNING_PASSWORD ? 'env://CHAINLOOP_SIGNING_PASSWORD' : undefined;
      return (await loadSigner(reference, { env, password })).sign(pae);
    },
  };
}
