import { MaterialFile, StartFile } from '../core/adapters/crafting-state.ts';
import type { Crafting, GitHead } from '../core/crafting.ts';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import type { CraftingStore } from '../core/ports.ts';
import type { Api } from './api.ts';

type Current = Awaited<ReturnType<Api['attestation']['current']['query']>>;

/**
 * The crafting that all jobs of a CI run share: what `init` fixed and the materials are kept by the control plane, so nothing has to be
 * passed between jobs. Only the sealed bundle, or statement, is kept here, in `local`: it is of the job that pushes. `job` is what the job is
 * called, for people.
 */
export function createSharedCraftingStore(deps: { readonly api: Api; readonly local: CraftingStore; readonly job: string }): CraftingStore {
  const { api, local, job } = deps;
  /** Where images of OCI layouts are, by the name of their material: it concerns this machine alone. */
  const layouts = new Map<string, string>();
  /** The run that was looked at last: what is sealed here is of one run, and of no other. */
  let runId: string | undefined;

  async function current(): Promise<Current> {
    try {
      const found = await api.attestation.current.query({});
      runId = found.run.runId;
      return found;
    } catch (error) {
      if (!isChainloopError(error, 'NOT_FOUND')) throw error;
      throw new ChainloopError('NO_CRAFTING', error.message, { cause: error });
    }
  }

  const ownRun = async (): Promise<string> => runId ?? (await current()).run.runId;

  /** The folder, for a bundle of this run: what an earlier run left there is forgotten. */
  async function claim(): Promise<void> {
    const own = await ownRun();
    if ((await local.reserve(own)) === own) return;
    await local.remove();
    await local.reserve(own);
  }

  /** What is kept in the folder, if it is of this run. */
  async function own<T>(look: () => Promise<T | undefined>): Promise<T | undefined> {
    if ((await look()) === undefined) return undefined;
    await claim();
    return look();
  }
  const sealed = () => own(() => local.sealed());

  const layoutOf = (name: string): { readonly layout?: string } => {
    const layout = layouts.get(name);
    return layout === undefined ? {} : { layout };
  };

  return {
    shared: true,
    // The control plane finds the run by what the CI system proved: there is no key to keep.
    reserve: async (key) => key,

    async begin({ env, annotations, head }) {
      const { kept } = await api.attestation.begin.mutate({
        runId: await ownRun(),
        start: { env: { ...env }, annotations: { ...annotations }, ...(head !== undefined && { head: copyOf(head) }) },
      });
      if (!kept) throw new ChainloopError('CRAFTING_OPEN', 'attestation: another job of this CI run began it at the same moment');
    },

    async load() {
      const found = await current();
      if (found.state !== 'initialized' && (await sealed()) === undefined) throw over(found);
      const crafting = craftingOf(found);
      return { ...crafting, materials: crafting.materials.map((one) => ({ ...one, ...layoutOf(one.name) })) };
    },

    async put(material) {
      const { annotations, layout, ...rest } = material;
      if (layout !== undefined) layouts.set(material.name, layout);
      const { recordedBy } = await api.attestation.collect.mutate({
        runId: await ownRun(),
        material: { ...rest, annotations: { ...annotations } },
        job,
      });
      return recordedBy ?? undefined;
    },

    async seal(bundle) {
      await claim();
      await local.seal(bundle);
    },
    sealed,
    async keepStatement(statement) {
      await claim();
      await local.keepStatement(statement);
    },
    keptStatement: () => own(() => local.keptStatement()),
    unseal: () => local.unseal(),
    remove: () => local.remove(),
  };
}

function craftingOf({ run, start, collected }: Current): Crafting {
  const materials = collected.map(({ material }) => understood(MaterialFile.safeParse(material)));
  const jobs = Object.fromEntries(collected.map(({ material, job }) => [material.name, job]));
  if (start !== null) return { start: understood(StartFile.safeParse(start)), materials, jobs };
  const { expiresAt: _, collected: __, contract, runner, initializedAt, ...identity } = run;
  const provisional = { version: 1, identity, contract, runner, initializedAt, env: {}, annotations: {}, dryRun: false, controlPlane: '' };
  return { start: understood(StartFile.safeParse(provisional)), materials, jobs, provisional: true };
}

/** What comes from the control plane gets signed: as strict as if a stranger had sent it. */
function understood<T>(parsed: { readonly success: true; readonly data: T } | { readonly success: false }): T {
  if (parsed.success) return parsed.data;
  throw new ChainloopError('CONTRACT_INVALID', 'attestation: the control plane sent one that this version does not know; update chainloop');
}

/** The input types of the API are not readonly. */
function copyOf({ parents, remotes, ...head }: GitHead) {
  return { ...head, ...(parents !== undefined && { parents: [...parents] }), remotes: remotes.map((remote) => ({ ...remote })) };
}

function over({ run: { runId }, state }: Current): ChainloopError {
  if (state === 'expired') {
    return new ChainloopError('RUN_EXPIRED', `attestation: run ${runId} of this CI run was open for too long and has expired`);
  }
  return new ChainloopError('RUN_ALREADY_FINISHED', `attestation: run ${runId} of this CI run has ended (${state})`);
}
