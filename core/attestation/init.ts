import { withFixed } from '../annotations.ts';
import { notSatisfied, unstartable } from '../completeness.ts';
import type { Contract } from '../contract.ts';
import type { Crafting, CraftingStart, RunIdentity } from '../crafting.ts';
import { digestOf, hexOf } from '../digest.ts';
import { ChainloopError, type ErrorCode, isChainloopError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Clock, ControlPlane, CraftingStore, Git, InitAnswer } from '../ports.ts';
import { detectRunner, type Env, runnerVariables } from '../runner.ts';
import { credentialVariables } from '../vocabulary.ts';
import { endRun, reset } from './end.ts';

export type InitOptions = {
  readonly from:
    | {
        readonly type: 'controlPlane';
        /** Its origin, kept so that later steps go to the same one. */
        readonly origin: string;
        readonly workflow?: string | undefined;
        readonly project?: string | undefined;
        readonly contractRevision?: number | undefined;
      }
    /** Fully offline: nothing but the contract and the names that go into the statement. */
    | {
        readonly type: 'dryRun';
        readonly contract: Contract;
        readonly contractName?: string | undefined;
        readonly workflow?: string | undefined;
        readonly project?: string | undefined;
      };
  readonly env: Env;
  /** The folder whose commit is attested. */
  readonly directory: string;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  /** Ends the attestation that is open here first. */
  readonly replace?: boolean | undefined;
};

export type InitPorts = {
  readonly store: CraftingStore;
  /** Not called in a dry run. */
  readonly controlPlane: ControlPlane;
  readonly git: Git;
  readonly now: Clock;
  /** A new random id. */
  readonly newId: () => string;
};

/** `joined`: another job that shares the attestation has begun it, and what that one fixed counts. */
type Begun = Crafting & { readonly joined: boolean };

/**
 * Opens an attestation: the contract from the control plane or a file, the runner, the variables that the contract allows, the commit.
 * May be repeated after a crash: it goes on with the run that it opened. CRAFTING_OPEN when one is open here; RUNNER_MISMATCH or
 * CONTRACT_NOT_SATISFIED with every variable and annotation that is missing or wrong, and the run is cancelled then. Where jobs share
 * the attestation, the one that is open is joined, and none is cancelled.
 */
export async function init(ports: InitPorts, options: InitOptions): Promise<Begun> {
  if (ports.store.shared === true) return join(ports, options);
  await makeRoom(ports, options.replace === true);
  const head = await ports.git.head(options.directory);
  const opened = await open(ports, options);
  const start = startOf(opened, head, options);
  try {
    refuseUnstartable(start);
    await ports.store.begin(start);
  } catch (error) {
    await giveUp(ports, start, error);
    throw error;
  }
  return { start, materials: [], joined: false };
}

/** The first `init` of the jobs fixes what is fixed; the others find it so. */
async function join(ports: InitPorts, options: InitOptions): Promise<Begun> {
  if (options.replace === true) {
    throw new ChainloopError(
      'USAGE',
      'attestation: all jobs of this CI run share it, so it is not replaced; end it for all of them with: chainloop attestation reset',
    );
  }
  const head = await ports.git.head(options.directory);
  const opened = await open(ports, options);
  const there = await ports.store.load();
  if (there.provisional !== true) return { ...there, joined: true };
  const start = startOf(opened, head, options);
  refuseUnstartable(start);
  try {
    await ports.store.begin(start);
  } catch (error) {
    if (!isChainloopError(error, 'CRAFTING_OPEN')) throw error;
    return { ...(await ports.store.load()), joined: true };
  }
  return { ...there, start, provisional: false, joined: false };
}

function startOf(opened: Opened, head: CraftingStart['head'], { env, annotations = {} }: InitOptions): CraftingStart {
  const { contract, runner } = opened;
  return {
    version: 1,
    ...opened,
    env: { ...captured(env, runnerVariables(runner.type), isPublic), ...captured(env, contract.envAllowList) },
    ...(head === undefined ? {} : { head }),
    annotations: withFixed(contract.annotations, annotations),
  };
}

function refuseUnstartable(start: CraftingStart): void {
  const problems = unstartable(start.contract, start);
  if (problems.length > 0) throw notSatisfied(start.contract, start, problems);
}

/** Opens the run of an attestation that jobs share, or finds it open, and fixes nothing: for the `add` of a job that comes first. */
export async function openShared(
  { controlPlane, newId }: Pick<InitPorts, 'controlPlane' | 'newId'>,
  { env, workflow, project }: { readonly env: Env; readonly workflow?: string | undefined; readonly project?: string | undefined },
): Promise<void> {
  await controlPlane.init({ workflow, project, runner: detectRunner(env), idempotencyKey: newId() });
}

async function makeRoom(ports: InitPorts, replace: boolean): Promise<void> {
  const crafting = await ports.store.load().catch((error: unknown) => {
    if (isChainloopError(error, 'NO_CRAFTING')) return undefined;
    // What cannot be read can be replaced, and nothing else.
    if (isChainloopError(error, 'STATE_CORRUPT') && replace) return 'corrupt' as const;
    throw error;
  });
  // Also the key of an init that crashed stays: it is not open, and goes on.
  if (crafting === undefined) return;
  if (replace || crafting === 'corrupt') {
    await reset(ports, { state: 'cancelled', reason: 'replaced by another attestation' });
    return;
  }
  const { identity, initializedAt } = crafting.start;
  throw new ChainloopError(
    'CRAFTING_OPEN',
    `attestation: one of workflow '${identity.workflowName}' is open here since ${initializedAt}; go on with it, end it with: chainloop attestation reset, or start over with: chainloop attestation init --replace`,
  );
}

type Opened = Pick<CraftingStart, 'identity' | 'contract' | 'runner' | 'initializedAt' | 'dryRun' | 'controlPlane'>;

async function open(ports: InitPorts, { from, env }: InitOptions): Promise<Opened> {
  const runner = detectRunner(env);
  switch (from.type) {
    case 'dryRun': {
      const identity: RunIdentity = {
        organization: '',
        project: from.project ?? '',
        team: '',
        workflowId: '',
        workflowName: from.workflow ?? '',
        runId: '',
        contractName: from.contractName ?? '',
        contractRevision: 0,
      };
      return { identity, contract: from.contract, runner, initializedAt: ports.now().toISOString(), dryRun: true, controlPlane: '' };
    }
    case 'controlPlane': {
      const { origin, workflow, project, contractRevision } = from;
      const request = { workflow, project, contractRevision, runner };
      const answer = await openRun(ports, request);
      const { contract, initializedAt, expiresAt: _, runner: recorded, collected: __, ...identity } = answer;
      return { identity, contract, runner: recorded, initializedAt, dryRun: false, controlPlane: origin };
    }
  }
}

/** The run, by a key that survives a crash: an init that is repeated gets the run that it opened the first time. */
async function openRun(ports: InitPorts, request: Omit<Parameters<ControlPlane['init']>[0], 'idempotencyKey'>): Promise<InitAnswer> {
  const { workflow, project, contractRevision } = request;
  const ask = async () => {
    const key = await ports.store.reserve(ports.newId());
    const idempotencyKey = hexOf(digestOf(JSON.stringify([key, workflow, project, contractRevision])));
    return ports.controlPlane.init({ ...request, idempotencyKey });
  };
  // Whether it has expired is the control plane's to say: the clock of a job may be wrong.
  const answer = await ask().catch(unless('RUN_ALREADY_FINISHED', 'RUN_EXPIRED'));
  if (answer !== undefined) return answer;
  // The key is of an init that crashed long ago, and its run is over.
  await ports.store.remove();
  return ask();
}

/** Ends the run of an init that failed. Should that fail too, the run expires by itself, and the first error is the one that counts. */
async function giveUp(ports: InitPorts, start: CraftingStart, error: unknown): Promise<void> {
  if (isChainloopError(error, 'CRAFTING_OPEN')) {
    // Somebody else won, perhaps with this very run.
    const winner = await ports.store.load().catch(() => undefined);
    if (winner === undefined || winner.start.identity.runId === start.identity.runId) return;
    await endRun(ports.controlPlane, start, { state: 'cancelled', reason: 'another attestation was opened at the same moment' }).catch(
      () => false,
    );
    return;
  }
  await endRun(ports.controlPlane, start, { state: 'cancelled', reason: reasonOf(error) }).catch(() => false);
  await ports.store.remove().catch(() => undefined);
}

/** What the run is remembered by: of several problems the message has the number alone. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'init failed';
  const problems = isChainloopError(error) && error.problems.length > 1 ? error.problems.map(({ message }) => message) : [];
  return problems.length === 0 ? error.message : `${error.message}: ${problems.join('; ')}`;
}

/** Of what nobody asked for by name: a URL with a user or password in it is left out, as is what is too large. */
function isPublic(value: string): boolean {
  return Buffer.byteLength(value) <= limits.envValueSizeBytes && !/:\/\/[^\s/]*@/.test(value);
}

/** Only what is asked for, and set: nothing else of the environment ever leaves the job. */
function captured(env: Env, names: readonly string[], passes: (value: string) => boolean = () => true): Record<string, string> {
  const set = names.flatMap((name): [string, string][] => {
    // The control plane refuses such a contract; a job does not rely on it.
    const value = Object.hasOwn(env, name) && !credentialVariables.includes(name) ? env[name] : undefined;
    return value === undefined || value === '' || !passes(value) ? [] : [[name, value.toWellFormed()]];
  });
  return Object.fromEntries(set);
}

/** For `catch`: undefined for these codes of ours. */
function unless(...codes: readonly ErrorCode[]): (error: unknown) => undefined {
  return (error) => {
    if (isChainloopError(error) && codes.includes(error.code)) return undefined;
    throw error;
  };
}
