import { createApi } from '../client/api.ts';
import { createControlPlane } from '../client/control-plane.ts';
import { createSharedCraftingStore } from '../client/crafting-store.ts';
import { createKeylessPorts } from '../client/signing.ts';
import { craftingDirectory, createCraftingStore } from '../core/adapters/crafting-store.ts';
import { createKeylessSigner } from '../core/adapters/keyless.ts';
import { createRegistryClient } from '../core/adapters/oci/client.ts';
import { createEvidenceStore } from '../core/adapters/oci/evidence-store.ts';
import type { BundleAttacher, ControlPlane, CraftingStore, EvidenceStore, ImageResolver, Signer } from '../core/ports.ts';
import type { Env } from '../core/runner.ts';
import { attestationName, type Inputs } from './inputs.ts';
import type { Platform } from './platform.ts';
import type { Connected, Session } from './session.ts';
import { publishedIn, sigstoreSigner } from './sigstore.ts';

// The ports of core/attestation.ts for a job. What every job needs is loaded at once: a file costs more than what is in it.

/** The memory of this attestation: on the control plane where all jobs of the CI run share it, else in the temporary folder of this job. */
export async function openStore({ env, directory }: Platform, inputs: Inputs, session: Session | undefined): Promise<CraftingStore> {
  const attestationId = attestationName(inputs);
  const local = createCraftingStore(await craftingDirectory({ env, workspace: directory, attestationId }));
  if (session?.type !== 'run') return local;
  return createSharedCraftingStore({ api: createApi(await session.options()), local, job: inputs.job });
}

export function controlPlaneOf(options: () => Promise<Connected>): ControlPlane {
  const open = async (): Promise<ControlPlane> => createControlPlane(await options());
  return {
    init: async (request) => (await open()).init(request),
    push: async (request) => (await open()).push(request),
    bring: async (request) => (await open()).bring(request),
    end: async (request) => (await open()).end(request),
  };
}

/** A control plane that starts again is there again in seconds. */
const longestPauseMs = 2_000;

/**
 * The evidence storage behind the gateway; one that is away is waited for as long as calls are. Its connections are kept from file to file;
 * close it afterwards.
 */
export async function openEvidence(
  { program, version }: Platform,
  options: () => Promise<Connected>,
  { organization, budgetMs }: { readonly organization: string; readonly budgetMs: number },
): Promise<EvidenceStore & Disposable> {
  const client = createRegistryClient({
    origin: (await options()).url,
    repository: organization,
    credentials: { type: 'bearer', token: async () => (await options()).token },
    userAgent: `chainloop-${program}/${version}`,
    noun: 'control plane',
    fetchPolicy: { attempts: Number.POSITIVE_INFINITY, maxDelayMs: longestPauseMs, budgetMs },
    advice: 'check who may attest here',
  });
  return { ...createEvidenceStore({ client }), [Symbol.dispose]: () => client.close() };
}

/** Asks a registry once for each image: what was looked at is what is recorded. */
export function imagesOf(env: Env): ImageResolver {
  const asked = new Map<string, ReturnType<ImageResolver['resolve']>>();
  let opened: Promise<ImageResolver> | undefined;
  const ask: ImageResolver['resolve'] = async (reference) => {
    opened ??= import('../core/adapters/oci/image-resolver.ts').then(({ createImageResolver }) => createImageResolver({ env }));
    return (await opened).resolve(reference);
  };
  return {
    resolve(reference) {
      const answer = asked.get(reference) ?? ask(reference);
      asked.set(reference, answer);
      return answer;
    },
  };
}

/** Puts bundles on images; opened when it is used. */
export function attacherOf(env: Env): BundleAttacher {
  let opened: Promise<BundleAttacher> | undefined;
  return {
    async attach(image, bundle) {
      opened ??= import('../core/adapters/oci/bundle-attacher.ts').then(({ createBundleAttacher }) => createBundleAttacher({ env }));
      return (await opened).attach(image, bundle);
    },
  };
}

/** Sigstore if it is asked for, the key that was given, else a certificate of the control plane for this job; `signed` is told by whom. */
export function signerOf(
  { platform, inputs, options }: { readonly platform: Platform; readonly inputs: Inputs; readonly options: () => Promise<Connected> },
  signed: (signer: string) => void,
): Signer {
  const { signing, signingKey, sigstore, retryTimeoutMs: retryBudgetMs } = inputs;
  const { env, directory: workspace, mask, say } = platform;
  // Nobody is called the signer before there is a signature.
  let identity = '';
  if (signing === 'sigstore') {
    const signer = sigstoreSigner(sigstore, {
      ...{ env, workspace, retryBudgetMs, mask },
      signing(name, logs) {
        identity = name;
        if (logs.length > 0) say(publishedIn(logs));
      },
    });
    return {
      way: 'sigstore',
      async sign(pae) {
        const made = await signer.sign(pae);
        signed(identity);
        return made;
      },
    };
  }
  if (signingKey !== undefined && signing !== 'keyless') {
    return {
      way: 'key',
      async sign(pae) {
        const { loadSigner } = await import('../core/adapters/keys.ts');
        const password = env.CHAINLOOP_SIGNING_PASSWORD ? 'env://CHAINLOOP_SIGNING_PASSWORD' : undefined;
        const made = await (await loadSigner(signingKey, { env, password })).sign(pae);
        if (made.verification.type === 'publicKey') signed(`key ${made.verification.hint}`);
        return made;
      },
    };
  }
  return {
    way: 'keyless',
    async sign(pae) {
      const ports = createKeylessPorts(createApi(await options()));
      const signer = createKeylessSigner({
        ...ports,
        async identity() {
          identity = await ports.identity();
          return identity;
        },
      });
      const made = await signer.sign(pae);
      signed(identity);
      return made;
    },
  };
}
