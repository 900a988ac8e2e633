import { ChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';

/** Buckets of one generation. Two are kept: whoever was not there for so many others is forgotten, and begins with a full bucket. */
const generation = 50_000;

/**
 * Takes `cost` requests of whoever `key` is; `who` is for the message. Throws RATE_LIMITED when there is no room for them; then
 * nothing was taken.
 */
export type RateLimit = (key: string, who: string, cost: number) => void;

/**
 * A token bucket for each key: `perSecond` requests on and on, and `limits.rateBurstSeconds` of them at once after a rest, so that a
 * pipeline may start all its jobs in one moment. 0: no limit. It counts in this process alone (docs/decisions.md, "Rate limits").
 */
export function createRateLimit(perSecond: number, nowMs: () => number = () => performance.now()): RateLimit {
  if (perSecond === 0) return () => {};
  const capacity = perSecond * limits.rateBurstSeconds;
  type Bucket = { readonly room: number; readonly atMs: number };
  let young = new Map<string, Bucket>();
  let old = young;
  return (key, who, cost) => {
    const atMs = nowMs();
    const before = young.get(key) ?? old.get(key) ?? { room: capacity, atMs };
    const room = Math.min(capacity, before.room + ((atMs - before.atMs) / 1000) * perSecond);
    const allowed = room >= cost;
    if (young.size >= generation) [old, young] = [young, new Map()];
    young.set(key, { room: allowed ? room - cost : room, atMs });
    if (allowed) return;
    throw new ChainloopError('RATE_LIMITED', `${who}: more than ${perSecond} requests a second, for too long; try again in a second`);
  };
}
