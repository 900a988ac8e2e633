import type { Crafting, CraftingStart } from '../crafting.ts';
import { type ErrorCode, isChainloopError, isOutage } from '../errors.ts';
import { limits } from '../limits.ts';
import type { ControlPlane, CraftingStore } from '../ports.ts';

/** The run is over, whoever ended it. */
export const endings: ReadonlySet<ErrorCode> = new Set(['RUN_ALREADY_FINISHED', 'RUN_EXPIRED', 'NOT_FOUND']);

export type Ended = {
  readonly runId?: string | undefined;
  /** False when there was nothing left to end, or nothing that could be. */
  readonly ended: boolean;
  /** What was kept could not be read: which run it was is not known, and it stays open until it expires. */
  readonly unreadable?: boolean;
};

/**
 * Ends the attestation without a push, for all jobs that share it, and forgets it here, also when the control plane says that it has ended
 * already, and when its state cannot be read. NO_CRAFTING; CONTROL_PLANE_UNREACHABLE leaves everything as it was.
 */
export async function reset(
  ports: { readonly store: CraftingStore; readonly controlPlane: ControlPlane },
  options: { readonly state: 'failed' | 'cancelled'; readonly reason: string },
): Promise<Ended> {
  const crafting = await ports.store.load().catch(async (error: unknown) => {
    if (!isChainloopError(error)) throw error;
    // What cannot be used is not kept: a broken file, or the key of an init that never came to its end.
    if (error.code === 'STATE_CORRUPT' || error.code === 'NO_CRAFTING' || endings.has(error.code)) await ports.store.remove();
    if (error.code === 'STATE_CORRUPT') return 'unreadable' as const;
    if (endings.has(error.code)) return undefined;
    throw error;
  });
  if (crafting === 'unreadable') return { ended: false, unreadable: true };
  if (crafting === undefined) return { ended: false };
  if (ports.store.shared !== true) await bring(ports.controlPlane, crafting);
  const ended = await endRun(ports.controlPlane, crafting.start, options);
  await ports.store.remove();
  return { runId: crafting.start.identity.runId || undefined, ended };
}

/** So that the gate and discover find the run by what it made. It is no reason not to end it: an older control plane, or a run that is over, takes nothing. */
async function bring(controlPlane: ControlPlane, { start, materials }: Crafting): Promise<void> {
  if (start.dryRun) return;
  try {
    for (const material of materials) {
      if (material.digest !== undefined) await controlPlane.bring({ runId: start.identity.runId, material });
    }
  } catch (error) {
    if (!isChainloopError(error) || isOutage(error)) throw error;
  }
}

/** Ends the run of a crafting; false when it was over already. */
export async function endRun(
  controlPlane: ControlPlane,
  start: CraftingStart,
  { state, reason }: { readonly state: 'failed' | 'cancelled'; readonly reason: string },
): Promise<boolean> {
  if (start.dryRun) return true;
  try {
    await controlPlane.end({ runId: start.identity.runId, state, reason: reason.slice(0, limits.textLength) });
    return true;
  } catch (error) {
    if (isChainloopError(error) && endings.has(error.code)) return false;
    throw error;
  }
}
