import { randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { createApi } from '../client/api.ts';
import { files } from '../core/adapters/files.ts';
import { createGit } from '../core/adapters/git.ts';
import { endings } from '../core/attestation/end.ts';
import { type AddPorts, add, init, openShared, push, reset } from '../core/attestation.ts';
import { openProblems } from '../core/completeness.ts';
import { Contract } from '../core/contract.ts';
import type { Crafting } from '../core/crafting.ts';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import type { ControlPlane, CraftingStore } from '../core/ports.ts';
import { attachmentLines } from './attachments.ts';
import { attacherOf, controlPlaneOf, imagesOf, openEvidence, openStore, signerOf } from './crafting.ts';
import { type Evidence, inTurns, understand } from './evidence.ts';
import type { Inputs } from './inputs.ts';
import { contractLabel, type Found, jobText, type Status } from './outcome.ts';
import type { Platform } from './platform.ts';
import type { Session } from './session.ts';
import { inputTerms } from './words.ts';

export type WorkPorts = {
  readonly platform: Platform;
  readonly session: Session;
  /** Told of the run as soon as it is known: it may have to be ended at the end of the job. */
  readonly opened: (runId: string) => void;
};

type Choice = { readonly workflow: string | undefined; readonly project: string | undefined };

/** One step's work. Throws what keeps it from being done; what was found out by then is in `found`. */
export async function work(inputs: Inputs, ports: WorkPorts, found: Found): Promise<Status> {
  const { platform, session } = ports;
  const { env, directory, say, group, timed } = platform;
  const options = () => session.options();
  const controlPlane = controlPlaneOf(options);
  const images = imagesOf(env);
  const choice = await chosen(inputs, session, platform);
  const store = watched(await openStore(platform, inputs, session), remember);
  found.controlPlane = new URL(inputs.controlPlane).origin;
  if (platform.repository !== undefined) found.repository = platform.repository;

  switch (inputs.command) {
    case 'init': {
      await describe(await begin());
      return 'open';
    }
    case 'add': {
      const evidence = await timed('check', async () => lookAt(await judging()));
      const crafting = await timed('init', openOrJoin);
      await timed('upload', () => record(crafting, evidence));
      await store.load();
      return 'open';
    }
    case 'status': {
      const crafting = await store.load().catch(unlessAbsent);
      if (crafting === undefined) return ended();
      await describe(crafting);
      for (const { message } of openProblems(crafting)) say(inputTerms(message));
      return 'open';
    }
    case 'reset': {
      const { ended } = await reset({ store, controlPlane }, { state: 'cancelled', reason: `reset by job ${inputs.job}` });
      say(ended ? 'The run was cancelled.' : 'The run was over already.');
      return 'cancelled';
    }
    case 'push': {
      await describe(await store.load());
      await deliver();
      return 'passed';
    }
    case 'attest': {
      const kept = (await store.sealed()) === undefined ? await store.keptStatement() : 'signed';
      if (kept !== undefined && (await store.load().catch(unlessAbsent)) !== undefined) {
        say(`An earlier step has ${kept === 'signed' ? 'signed' : 'sealed'} this attestation; it is sent as it is.`);
        await deliver();
        return 'passed';
      }
      const judged = await judging();
      await describe(judged);
      const evidence = await timed('check', () => lookAt(judged));
      const crafting = await timed('init', begin);
      await timed('upload', () => record(crafting, evidence));
      await deliver();
      return 'passed';
    }
  }

  function remember(crafting: Crafting): void {
    const { runId } = crafting.start.identity;
    if (inputs.attestationId !== undefined && inputs.attestationId !== runId) {
      throw new ChainloopError('CONFLICT', `attestation-id: this job attests with run ${runId}, not ${inputs.attestationId}; leave it out`);
    }
    found.crafting = crafting;
    for (const [name, job] of Object.entries(crafting.jobs ?? {})) found.jobs.set(name, job);
    ports.opened(runId);
  }

  /** What the evidence is judged by, before anything is recorded: the attestation that is open, else one as it would be. */
  async function judging(): Promise<Crafting> {
    const open = await store.load().catch(unlessAbsent);
    if (open !== undefined) return open;
    const answer = await createApi(await options()).attestation.contract.query({ ...choice, contractRevision: inputs.contractRevision });
    const contract = Contract.safeParse(answer.contract);
    if (!contract.success)
      throw new ChainloopError('CONTRACT_INVALID', 'contract: the control plane sent one that this version does not know');
    const crafting = notYet(answer.name, answer.revision, contract.data, inputs.workflow ?? '');
    found.crafting = crafting;
    return crafting;
  }

  /** How the run of these jobs has ended. */
  async function ended(): Promise<Status> {
    // Only what several jobs share is kept anywhere when it is over.
    if (store.shared !== true)
      throw new ChainloopError('NO_CRAFTING', 'attestation: none is open here; start one with: chainloop attestation init');
    const { run, state } = await createApi(await options()).attestation.current.query({});
    say(`Run ${run.runId} has ended: ${state}.`);
    return state === 'success' ? 'passed' : state === 'cancelled' ? 'cancelled' : 'failed';
  }

  async function begin(): Promise<Crafting> {
    if (store.shared !== true) {
      const open = await store.load().catch(unlessAbsent);
      if (open !== undefined) return open;
    }
    const git = createGit({ env });
    const from = { type: 'controlPlane', origin: inputs.controlPlane, ...choice, contractRevision: inputs.contractRevision } as const;
    const begun = await init(
      { store, controlPlane, git, newId: randomUUID, now: () => new Date() },
      { from, env, directory, annotations: inputs.annotations },
    );
    remember(begun);
    return begun;
  }

  /** For a job that only adds: what no `init` has fixed yet stays open for the one that does. */
  async function openOrJoin(): Promise<Crafting> {
    if (store.shared !== true) return begin();
    const open = await store.load().catch(unlessAbsent);
    if (open !== undefined) return open;
    await openShared({ controlPlane, newId: randomUUID }, { env, ...choice });
    return store.load();
  }

  async function describe({ start, materials }: Crafting): Promise<void> {
    const { contract, identity } = start;
    await group(`Contract ${contractLabel({ start, materials })}`, async () => {
      const run = identity.runId === '' ? '' : `, run ${identity.runId}`;
      say(`workflow ${identity.workflowName}${identity.project === '' ? '' : ` of project ${identity.project}`}${run}`);
      for (const { name, type, optional, output, group: member } of contract.materials) {
        const need = member === undefined ? (optional ? 'optional' : 'required') : `one of group ${member}`;
        say(`${name} (${type}): ${need}${output ? ', output' : ''}`);
      }
    });
  }

  async function lookAt({ start }: Crafting): Promise<readonly Evidence[]> {
    const { evidence, absent } = await understand({ files, images, directory }, start.contract, inputs.materials);
    for (const { name, value } of absent) say(`${name}: no file matches ${value}; it is optional, and left out`);
    return evidence;
  }

  async function record(crafting: Crafting, evidence: readonly Evidence[]): Promise<void> {
    // While materials are added, what was fixed before does not change.
    const still = { ...store, load: async () => crafting };
    const { organization } = crafting.start.identity;
    using storage = await openEvidence(platform, options, { organization, budgetMs: inputs.retryTimeoutMs });
    await group(`Materials (${evidence.length})`, async () => {
      const failures = await inTurns(evidence, ({ wanted, value, source }) => {
        const path = source === 'file' ? resolve(directory, value) : value;
        if (source === 'file') found.paths.set(wanted.name, value);
        return addOne({ store: still, files, images, evidence: storage }, wanted.name, path);
      });
      const failed = failures.filter((failure) => failure !== undefined);
      // The report says what the others have come to.
      if (failed.length > 0) await store.load().catch(() => undefined);
      throwTogether(failed);
    });
  }

  async function addOne(addPorts: AddPorts, name: string, value: string) {
    try {
      const { material, summary, recordedBy } = await add(addPorts, { name, value });
      found.summaries.set(name, summary);
      if (recordedBy !== undefined) say(`${name}: ${material.digest ?? 'text'}, already recorded by job ${jobText(recordedBy)}`);
      else say(`${name}: ${material.digest ?? 'text'}${material.uploaded ? ', uploaded' : ''}`);
      return undefined;
    } catch (error) {
      if (isChainloopError(error)) return error;
      throw error;
    }
  }

  async function deliver(): Promise<void> {
    const signer = signerOf({ platform, inputs, options }, (name) => {
      found.signer = name;
      say(`signed by ${name}`);
    });
    const announced: ControlPlane = {
      ...controlPlane,
      push: (request) => group('Push', () => timed('push', () => controlPlane.push(request))),
    };
    const pushed = await push(
      {
        store: keepingBundle(store, bundlePathOf(platform, inputs), found),
        controlPlane: announced,
        signer: { way: signer.way, sign: (pae) => group('Sign', () => timed('sign', () => signer.sign(pae))) },
        now: () => new Date(),
        begin,
        ...(inputs.attach && { attacher: attacherOf(env) }),
      },
      { builderId: await platform.builderId(), annotations: inputs.annotations, keepUnsigned: inputs.onOutage === 'defer' },
    );
    if (pushed.type !== 'pushed') return;
    found.digest = pushed.digest;
    if (!inputs.attach) return;
    found.attachments = pushed.attachments;
    if (pushed.attachments.length === 0) say('The attestation has no container image to be attached to.');
    for (const line of attachmentLines(pushed.attachments)) say(line);
  }
}

/** A service account and a CI job have a workflow of their own; an operator's token must be told which is meant. */
async function chosen({ workflow, project }: Inputs, session: Session, platform: Platform): Promise<Choice> {
  if (session.type === 'run') return { workflow, project };
  const { kind } = await createApi(await session.options()).auth.whoami.query();
  if (kind === 'service-account') return { workflow, project };
  return { workflow: workflow ?? platform.workflow, project: project ?? platform.project };
}

/** An attestation that nobody has begun: what it would be judged by. */
function notYet(contractName: string, contractRevision: number, contract: Contract, workflowName: string): Crafting {
  const names = { organization: '', project: '', team: '', workflowId: '', workflowName: workflowName || contractName, runId: '' };
  return {
    start: {
      version: 1,
      identity: { ...names, contractName, contractRevision },
      contract,
      runner: { authenticated: false },
      env: {},
      initializedAt: '',
      dryRun: false,
      controlPlane: '',
      annotations: {},
    },
    materials: [],
  };
}

/** The same store; whoever reports is told what it loads. */
function watched(store: CraftingStore, remember: (crafting: Crafting) => void): CraftingStore {
  return {
    ...store,
    async load() {
      const crafting = await store.load();
      remember(crafting);
      return crafting;
    },
  };
}

/** The same store; a bundle that is sealed is also written where the job can use it, whatever becomes of the push. */
function keepingBundle(store: CraftingStore, path: string | undefined, found: Found): CraftingStore {
  if (path === undefined) return store;
  const keep = async (bundle: string): Promise<string> => {
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
    async sealed() {
      const bundle = await store.sealed();
      return bundle === undefined ? undefined : keep(bundle);
    },
  };
}

function bundlePathOf({ directory, bundlePath }: Platform, inputs: Pick<Inputs, 'bundlePath'>): string | undefined {
  return inputs.bundlePath === undefined ? bundlePath : resolve(directory, inputs.bundlePath);
}

/** One failure as it is; several as one, with the code of the first. */
function throwTogether(failures: readonly ChainloopError[]): void {
  const [first, ...others] = failures;
  if (first === undefined) return;
  if (others.length === 0) throw first;
  const problems = failures.flatMap(({ message, problems }) => (problems.length === 0 ? [{ message }] : problems));
  throw new ChainloopError(first.code, `${failures.length} materials were not added`, { problems });
}

/** Undefined when there is nothing open. */
function unlessAbsent(error: unknown): undefined {
  if (isChainloopError(error) && (error.code === 'NO_CRAFTING' || endings.has(error.code))) return undefined;
  throw error;
}
