import { randomUUID } from 'node:crypto';
import type { InitPorts } from '../core/attestation.ts';
import type { BundleAttacher, ControlPlane, CraftingStore, EvidenceStore, ImageResolver } from '../core/ports.ts';
import { apiOptions, retryBudgetOf } from './connect.ts';
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
    bring: async (request) => (await open()).bring(request),
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

/** A registry that does not answer is not waited for longer than the user said. */
export function patienceOf(context: Context): { readonly budgetMs?: number } {
  const budgetMs = retryBudgetOf(context);
  return budgetMs === undefined ? {} : { budgetMs };
}

/** As the flags have it. */
type RegistryLogin = { readonly registryUsername: string | undefined; readonly registryPassword: string | undefined };

export function imagesOf(context: Context, registry: RegistryLogin): ImageResolver {
  return {
    async resolve(reference) {
      const { createImageResolver } = await import('../core/adapters/oci/image-resolver.ts');
      return createImageResolver({ env: context.env, ...registry, fetchPolicy: patienceOf(context) }).resolve(reference);
    },
  };
}

/** Opened when the bundle is there: a push that fails before needs no registry. */
export function attacherOf(context: Context, registry: RegistryLogin): BundleAttacher {
  let opened: Promise<BundleAttacher> | undefined;
  return {
    async attach(image, bundle) {
      opened ??= import('../core/adapters/oci/bundle-attacher.ts').then(({ createBundleAttacher }) =>
        createBundleAttacher({ env: context.env, ...registry }),
      );
      return (await opened).attach(image, bundle);
    },
  };
}
