import { randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { files } from '../core/adapters/files.ts';
import { createGit } from '../core/adapters/git.ts';
import { endings } from '../core/attestation/end.ts';
import { add, init, openShared, push, reset } from '../core/attestation.ts';
import { notSatisfied, openProblems } from '../core/completeness.ts';
import type { Crafting } from '../core/crafting.ts';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import type { ControlPlane, CraftingStore } from '../core/ports.ts';
import type { Env } from '../core/runner.ts';
import { builderId, controlPlaneOf, directoryOf, evidenceOf, imagesOf, openStore, signerOf } from './crafting.ts';
import { inTurns, understand } from './evidence.ts';
import type { Inputs } from './inputs.ts';
import { group, say } from './log.ts';
import { contractLabel, type Found, type Status } from './outcome.ts';
import { repositoryName, type Session, workflowFileName } from './session.ts';

export type WorkPorts = {
  readonly env: Env;
  readonly session: Session;
  /** Told of the run as soon as it is known: it may have to be ended at the end of the job. */
  readonly opened: (runId: string) => void;
};

type Choice = { readonly workflow: string | undefined; readonly project: string | undefined };

/** One step's work. Throws what keeps it from being done; what was found out by then is in `found`. */
export async function work(inputs: Inputs, ports: WorkPorts, found: Found): Promise<Status> {
  const { env, session, opened } = ports;
  const options = () => session.options();
  const controlPlane = controlPlaneOf(options);
  const store = watched(await openStore(env, inputs, session), found);
  const directory = directoryOf(env);
  const choice = await chosen(inputs, session, env);
  found.controlPlane = new URL(inputs.controlPlane).origin;

  async function load(): Promise<Crafting> {
    const crafting = await store.load();
    const { runId } = crafting.start.identity;
    if (inputs.attestationId !== undefined && inputs.attestationId !== runId) {
      throw new ChainloopError('CONFLICT', `attestation-id: this job attests with run ${runId}, not ${inputs.attestationId}; leave it out`);
    }
    opened(runId);
    return crafting;
  }

  const begin = async (): Promise<Crafting> => {
    if (store.shared !== true) {
      const open = await load().catch(unlessAbsent);
      if (open !== undefined) return open;
    }
    const git = createGit({ env });
    const newId = randomUUID;
    const from = { type: 'controlPlane', origin: inputs.controlPlane, ...choice, contractRevision: inputs.contractRevision } as const;
    await init({ store, controlPlane, git, newId, now: () => new Date() }, { from, env, directory, annotations: inputs.annotations });
    return load();
  };
  /** For a job that only adds: what no `init` has fixed yet stays open for the one that does. */
  const join = async (): Promise<Crafting> => {
    const open = await load().catch(unlessAbsent);
    if (open !== undefined) return open;
    if (store.shared !== true) return begin();
    await openShared({ controlPlane, newId: randomUUID }, { env, ...choice });
    return load();
  };

  switch (inputs.command) {
    case 'init': {
      await describe(await begin());
      return 'open';
    }
    case 'add': {
      await addAll(await join());
      await load();
      return 'open';
    }
    case 'status': {
      const crafting = await load();
      await describe(crafting);
      for (const { message } of openProblems(crafting)) say(message);
      return 'open';
    }
    case 'reset': {
      await load().catch(unlessAbsent);
      const { ended } = await reset({ store, controlPlane }, { state: 'cancelled', reason: `reset by job ${inputs.job}` });
      say(ended ? 'The run was cancelled.' : 'The run was over already.');
      return 'cancelled';
    }
    case 'push': {
      await describe(await load());
      await deliver();
      return 'passed';
    }
    case 'attest': {
      const crafting = await begin();
      await describe(crafting);
      await addAll(crafting);
      await deliver();
      return 'passed';
    }
  }

  async function describe({ start, materials }: Crafting): Promise<void> {
    const { contract, identity } = start;
    await group(`Contract ${contractLabel({ start, materials })}`, async () => {
      say(`organization ${identity.organization}, project ${identity.project}, workflow ${identity.workflowName}, run ${identity.runId}`);
      for (const { name, type, optional, output, group: member } of contract.materials) {
        const need = member === undefined ? (optional ? 'optional' : 'required') : `one of group ${member}`;
        say(`${name} (${type}): ${need}${output ? ', output' : ''}`);
      }
    });
  }

  async function addAll(crafting: Crafting): Promise<void> {
    const images = imagesOf(env);
    await group(`Materials (${inputs.materials.length})`, async () => {
      const { evidence, absent } = await understand({ files, images, directory }, crafting, inputs.materials);
      for (const { name, value } of absent) say(`${name}: no file matches ${value}; it is optional, and left out`);
      const store_ = evidenceOf(options, crafting.start.identity.organization);
      const failures: ChainloopError[] = [];
      await inTurns(evidence, async ({ wanted, value, source }) => {
        const { name } = wanted;
        try {
          const path = source === 'file' ? resolve(directory, value) : value;
          if (source === 'file') found.paths.set(name, value);
          const added = await add({ store, files, images, evidence: store_ }, { name, value: path, annotations: {} });
          found.summaries.set(name, added.summary);
          const what = added.material.digest ?? 'text';
          const who = added.recordedBy === undefined ? '' : `, already recorded by job ${added.recordedBy}`;
          say(`${name}: ${what}${added.material.uploaded && who === '' ? ', uploaded' : ''}${who}`);
        } catch (error) {
          if (!isChainloopError(error)) throw error;
          failures.push(error);
        }
      });
      const [first] = failures;
      if (first === undefined) return;
      if (failures.length === 1) throw first;
      const problems = failures.map(({ message }) => ({ message }));
      throw new ChainloopError(first.code, `${failures.length} materials were not added`, { problems });
    });
  }

  async function deliver(): Promise<void> {
    const before = await load();
    // What is missing is said before anything is signed, in the words of this step.
    const problems = openProblems({
      ...before,
      start: { ...before.start, annotations: { ...before.start.annotations, ...inputs.annotations } },
    });
    if (problems.length > 0 && before.provisional !== true) throw notSatisfied(before.start.contract, before.start, problems);
    const signer = signerOf({ env, inputs, options }, (name) => {
      found.signer = name;
      say(`signed by ${name}`);
    });
    const announced: ControlPlane = { ...controlPlane, push: (request) => group('Push', () => controlPlane.push(request)) };
    const kept = keepingBundle(store, bundlePathOf(env, inputs), found);
    const pushed = await push(
      {
        store: kept,
        controlPlane: announced,
        signer: { sign: (pae) => group('Sign', () => signer.sign(pae)) },
        now: () => new Date(),
        begin,
      },
      { builderId: await builderId(), annotations: inputs.annotations },
    );
    if (pushed.type === 'pushed') found.digest = pushed.digest;
  }
}

/** A service account and a CI job have a workflow of their own; an operator's token must be told which is meant. */
async function chosen({ workflow, project }: Inputs, session: Session, env: Env): Promise<Choice> {
  if (session.type === 'run') return { workflow, project };
  const { createApi } = await import('../client/api.ts');
  const { kind } = await createApi(await session.options()).auth.whoami.query();
  if (kind === 'service-account') return { workflow, project };
  return { workflow: workflow ?? workflowFileName(env), project: project ?? repositoryName(env) };
}

/** The same store; what it loads is remembered for the report. */
function watched(store: CraftingStore, found: Found): CraftingStore {
  return {
    ...store,
    async load() {
      const crafting = await store.load();
      found.crafting = crafting;
      for (const [name, job] of Object.entries(crafting.jobs ?? {})) found.jobs.set(name, job);
      return crafting;
    },
  };
}

/** The same store; a bundle that is sealed is also written where the job can use it, whatever becomes of the push. */
function keepingBundle(store: CraftingStore, path: string, found: Found): CraftingStore {
  const keep = async (bundle: string | undefined): Promise<string | undefined> => {
    if (bundle === undefined) return undefined;
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, bundle);
    found.bundlePath = path;
    return bundle;
  };
  return {
    ...store,
    async seal(bundle) {
      await store.seal(bundle);
      await keep(bundle);
    },
    sealed: async () => keep(await store.sealed()),
  };
}

export function bundlePathOf(env: Env, { bundlePath }: Pick<Inputs, 'bundlePath'>): string {
  if (bundlePath !== undefined) return resolve(directoryOf(env), bundlePath);
  return join(env.RUNNER_TEMP ?? '.', 'chainloop', `bundle-${randomUUID()}.json`);
}

/** Undefined when there is nothing open. */
function unlessAbsent(error: unknown): undefined {
  if (isChainloopError(error) && (error.code === 'NO_CRAFTING' || endings.has(error.code))) return undefined;
  throw error;
}
