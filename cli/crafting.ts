import { randomUUID } from 'node:crypto';
import type { InitPorts } from '../core/attestation.ts';
import type { ControlPlane, CraftingStore, EvidenceStore, ImageResolver } from '../core/ports.ts';
import { apiOptions } from './connect.ts';
import type { Context } from './context.ts';
import { openEvidenceStore, openGateway } from './evidence.ts';

// The ports of core/attestation.ts, each opened when it is first used: a dry run connects to nothing, a STRING needs no token.

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

export function evidenceOf(context: Context, organization: string): EvidenceStore {
  return {
    async upload(file) {
      const client = await openGateway(context, organization);
      try {
        return await (await openEvidenceStore(client, context)).upload(file);
      } finally {
        client.close();
      }
    },
  };
}

export async function initPortsOf(context: Context, store: CraftingStore): Promise<InitPorts> {
  const { createGit } = await import('../core/adapters/git.ts');
  return { store, controlPlane: controlPlaneOf(context), git: createGit({ env: context.env }), now: () => new Date(), newId: randomUUID };
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
