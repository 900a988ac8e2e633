import { limits } from '../core/limits.ts';
import { loadTrustRoot, type TrustRoot } from '../core/trust-root.ts';

/** Trusted roots that are ready to judge, by their text: reading one takes 10 ms, and every push asks for one. */
export type TrustRoots = {
  /** The control plane's own. The last one is kept, whatever organizations bring. */
  readonly loadBuiltIn: (text: string) => Promise<TrustRoot>;
  /** One that an organization brought. */
  readonly load: (text: string) => Promise<TrustRoot>;
};

/** How much text of theirs is kept: as much as one organization may have. Few have any. */
const keptSizeBytes = limits.ownRoots * limits.ownRootSizeBytes;

export function createTrustRoots(): TrustRoots {
  return { loadBuiltIn: createCache(0), load: createCache(keptSizeBytes) };
}

/** The last one, and those before it as far as they have room. */
function createCache(room: number): TrustRoots['load'] {
  const loaded = new Map<string, Promise<TrustRoot>>();
  let sizeBytes = 0;
  const forget = (text: string): void => {
    if (loaded.delete(text)) sizeBytes -= Buffer.byteLength(text);
  };
  return (text) => {
    const root = loaded.get(text) ?? loadTrustRoot(text);
    forget(text);
    loaded.set(text, root);
    sizeBytes += Buffer.byteLength(text);
    root.catch(() => forget(text));
    for (const oldest of loaded.keys()) {
      if (sizeBytes <= room || loaded.size === 1) break;
      forget(oldest);
    }
    return root;
  };
}
