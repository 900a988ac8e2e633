import type { Crafting } from '../core/crafting.ts';
import type { ControlPlane, CraftingStore, EvidenceStore, ImageResolver } from '../core/ports.ts';
import { text } from './command.ts';
import { apiOptions } from './connect.ts';
import type { Context } from './context.ts';
import { openEvidenceStore, openGateway } from './evidence.ts';
import { readSettings } from './settings.ts';

// The ports of core/attestation.ts, each opened when it is first used: a dry run connects to nothing, a STRING needs no token.

/** Which of several attestations in one job and workspace is meant. */
export const attestationId = text('<name>', 'tells several attestations of one job apart');

/** The memory of the attestation of this job and folder. */
export async function openStore(context: Context, attestationId: string | undefined): Promise<CraftingStore> {
  const { craftingDirectory, createCraftingStore } = await import('../core/adapters/crafting-store.ts');
  return createCraftingStore(await craftingDirectory({ env: context.env, workspace: process.cwd(), attestationId }));
}

/** The same command at the control plane where the attestation was begun, in its organization. */
export function inCrafting(context: Context, { start }: Crafting): Context {
  if (start.dryRun) return context;
  const place = { url: start.controlPlane, organization: start.identity.organization };
  return { ...context, settings: () => readSettings(place, context.env) };
}

export function controlPlaneOf(context: Context): ControlPlane {
  const open = async (): Promise<ControlPlane> => {
    const { createControlPlane } = await import('../client/control-plane.ts');
    return createControlPlane(await apiOptions(context));
  };
  return {
    init: async (request) => (await open()).init(request),
    push: async (request) => (await open()).push(request),
    end: async (request) => (await open()).end(request),
  };
}

export function evidenceOf(context: Context, { start }: Crafting): EvidenceStore {
  return {
    async upload(file) {
      const client = await openGateway(context, start.identity.organization);
      try {
        return await (await openEvidenceStore(client, context)).upload(file);
      } finally {
        client.close();
      }
    },
  };
}

export function imagesOf(
  context: Context,
  registry: { readonly username: string | undefined; readonly password: string | undefined },
): ImageResolver {
  return {
    async resolve(reference) {
      const { createImageResolver } = await import('../core/adapters/oci/image-resolver.ts');
      const registryPassword = registry.password ?? (context.env.CHAINLOOP_REGISTRY_PASSWORD || undefined);
      return createImageResolver({ env: context.env, registryUsername: registry.username, registryPassword }).resolve(reference);
    },
  };
}
