import type { CiTokenSource } from '../core/adapters/ci-token.ts';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import type { CraftingStore } from '../core/ports.ts';
import { jobName } from '../core/runner.ts';
import { text } from './command.ts';
import { addressOf, apiOptions } from './connect.ts';
import type { Context } from './context.ts';
import { readSettings, type Settings } from './settings.ts';

/** Which attestation a command of a job is about. */
export const jobFlags = {
  workflow: text('<name>', 'the workflow, where bindings let a CI job into several (CHAINLOOP_WORKFLOW)'),
  project: text('<name>', 'its project (CHAINLOOP_PROJECT)'),
  attestationId: text('<name>', 'tells several attestations of one job apart; not for jobs that need no token'),
};

type Choice = { readonly workflow: string | undefined; readonly project: string | undefined; readonly attestationId: string | undefined };

/** What a command of a job works on, and as whom. */
export type Job = {
  readonly store: CraftingStore;
  /** All jobs of the CI run work on it. Otherwise it is remembered here, for this job and folder. */
  readonly shared: boolean;
  /** To begin an attestation. */
  readonly context: Context;
  /** To go on with one: at the control plane where it was begun, in its organization. */
  begun(): Promise<{ readonly context: Context; readonly organization: string; readonly dryRun: boolean }>;
};

/**
 * Without CHAINLOOP_TOKEN a job whose CI system proves what it is needs no secret: it exchanges that proof, also when a token is kept in the
 * configuration. An attestation that is open in this folder is gone on with as it was begun.
 */
export async function openJob(context: Context, choice: Choice, { dryRun = false } = {}): Promise<Job> {
  const { env } = context;
  const workspace = currentFolder();
  const { craftingDirectory, createCraftingStore } = await import('../core/adapters/crafting-store.ts');
  const local = createCraftingStore(await craftingDirectory({ env, workspace, attestationId: choice.attestationId }));
  const source = dryRun || env.CHAINLOOP_TOKEN ? undefined : await sourceOf(context);
  if (source === undefined || (await isOpen(local))) return localJob(context, local);
  if (choice.attestationId !== undefined) {
    throw new ChainloopError(
      'USAGE',
      '--attestation-id: the attestation of this job is that of its CI run and workflow; leave it out, or name another workflow',
    );
  }
  const shared = withCredential(context, source, choice, workspace);
  const [{ createApi }, { createSharedCraftingStore }, options] = await Promise.all([
    import('../client/api.ts'),
    import('../client/crafting-store.ts'),
    apiOptions(shared),
  ]);
  return {
    store: createSharedCraftingStore({ api: createApi(options), local, job: jobName(env) }),
    shared: true,
    context: shared,
    begun: async () => ({ context: shared, organization: (await shared.settings()).organization ?? '', dryRun: false }),
  };
}

/** The same command as the job that runs it, where there is no token and the CI system proves what the job is. */
export async function withoutToken(context: Context): Promise<Context> {
  const source = (await context.settings()).token === undefined ? await sourceOf(context) : undefined;
  if (source === undefined) return context;
  return withCredential(context, source, { workflow: undefined, project: undefined, attestationId: undefined }, currentFolder());
}

async function sourceOf({ env }: Context): Promise<CiTokenSource | undefined> {
  const { ciTokenSource } = await import('../core/adapters/ci-token.ts');
  return ciTokenSource(env);
}

/** What cannot be read is there too, and has to be ended first. */
async function isOpen(local: CraftingStore): Promise<boolean> {
  return local.load().then(
    () => true,
    (error: unknown) => !isChainloopError(error, 'NO_CRAFTING'),
  );
}

function localJob(context: Context, store: CraftingStore): Job {
  return {
    store,
    shared: false,
    context,
    async begun() {
      const { dryRun, controlPlane: url, identity } = (await store.load()).start;
      const { organization } = identity;
      if (dryRun) return { context, organization, dryRun };
      refuseAnotherPlace(await context.settings(), { url, organization });
      return { context: { ...context, settings: () => readSettings({ url, organization }, context.env) }, organization, dryRun };
    },
  };
}

/** Where the command was called. USAGE when that folder is gone. */
export function currentFolder(): string {
  try {
    return process.cwd();
  } catch (cause) {
    throw new ChainloopError('USAGE', 'the current folder does not exist any more; go to one that does', { cause });
  }
}

/** What was begun at one control plane is not gone on with at another, and the token of one is not sent to the other. */
function refuseAnotherPlace({ said, url, organization }: Settings, begun: { readonly url: string; readonly organization: string }): void {
  const other = said?.url !== undefined && url !== begun.url;
  if (!other && (said?.organization === undefined || organization === begun.organization)) return;
  const [how, where] = other ? [said.url, `at ${begun.url}`] : [said?.organization, `in organization ${begun.organization}`];
  throw new ChainloopError(
    'USAGE',
    `${how}: the attestation that is open here was begun ${where}; leave ${how} out to go on with it, or begin another with --attestation-id`,
  );
}

/** The same command with the run credential of the job, as long as that is good, then with another. */
function withCredential(context: Context, source: CiTokenSource, { workflow, project }: Choice, workspace: string): Context {
  const { env } = context;
  let settings: (() => Promise<Settings>) | undefined;
  const open = async () => {
    const [found, { keepCredential }] = await Promise.all([context.settings(), import('../client/run-credential.ts')]);
    const kept = keepCredential({
      ...{ env, source, workspace },
      options: addressOf(context, found),
      choice: { workflow: workflow ?? (env.CHAINLOOP_WORKFLOW || undefined), project: project ?? (env.CHAINLOOP_PROJECT || undefined) },
      now: () => new Date(),
    });
    return async () => {
      const { token, organization } = await kept.current();
      return { url: found.url, organization, token };
    };
  };
  return {
    ...context,
    async settings() {
      settings ??= await open();
      return settings();
    },
  };
}
