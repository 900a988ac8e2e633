import { loadTrustRoot, type TrustRoot } from '../core/trust-root.ts';

/** Trusted roots that are ready to judge, by their text: reading one takes 10 ms, and every push asks for one. */
export type TrustRoots = { readonly load: (text: string) => Promise<TrustRoot> };

/** How many are kept. Few organizations have one of their own. */
const kept = 16;

export function createTrustRoots(): TrustRoots {
  const loaded = new Map<string, Promise<TrustRoot>>();
  return {
    load(text) {
      const known = loaded.get(text);
      if (known !== undefined) return known;
      const root = loadTrustRoot(text);
      loaded.set(text, root);
      root.catch(() => loaded.delete(text));
      for (const oldest of loaded.keys()) {
        if (loaded.size <= kept) break;
        loaded.delete(oldest);
      }
      return root;
    },
  };
}
