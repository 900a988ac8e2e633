import { join } from 'node:path';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { failed, isTolerated } from '../plugin/failure.ts';
import type { Inputs } from '../plugin/inputs.ts';
import { contractLabel, type Found, nothingFound, type Outcome, unbrought } from '../plugin/outcome.ts';
import { messageOf } from '../plugin/words.ts';
import { attestFlags, readAttestInputs } from './attest-inputs.ts';
import { ciPlatform, forkOf, reportsOf } from './ci.ts';
import { command } from './command.ts';
import { type Context, print } from './context.ts';

export const attest = command({
  name: 'attest',
  about: 'attest in one step: collect evidence, check it against the contract, sign and push it',
  examples: [
    'chainloop attest --materials binary=dist/app --materials sbom=dist/app.cdx.json',
    'chainloop attest --workflow release --on-outage defer',
    'chainloop attest --command add --materials binary-arm64=dist/app-arm64',
  ],
  details: `What a CI job calls, whichever CI system it is of: every option can be given as a variable too, CHAINLOOP_MATERIALS for --materials.
Every problem of the evidence is found and said before anything is sent.`,
  flags: attestFlags,
  run: async (context, flags) => {
    const found = nothingFound();
    let inputs: Inputs | undefined;
    let outcome: Outcome;
    try {
      inputs = await readAttestInputs(context, flags);
      found.given = inputs.materials.map(({ name }) => name);
      outcome = await perform(context, inputs, found);
    } catch (error) {
      outcome = failed(error, inputs, found);
    }
    report(context, outcome, inputs ?? { onViolation: 'contract' });
  },
});

async function perform(context: Context, inputs: Inputs, found: Found): Promise<Outcome> {
  const { command } = inputs;
  const reason = inputs.auth === 'token' ? undefined : forkOf(context.env);
  const dry = inputs.dryRun || (reason !== undefined && inputs.forkPr === 'dry-run');
  if (reason !== undefined && !dry) {
    if (inputs.forkPr === 'skip') return { command, status: 'skipped', reason, found };
    throw new ChainloopError('UNAUTHENTICATED', `${reason}; and fork-pr is 'fail'`);
  }
  const { attested, tried } = await import('../plugin/perform.ts');
  const reports = reportsOf(context.env);
  const platform = ciPlatform(context, { bundlePath: reports === undefined ? undefined : join(reports, 'chainloop-bundle.json') });
  if (!dry) return { command, status: await attested(inputs, platform, { session: () => undefined, run: () => undefined }, found), found };
  await tried(inputs, platform, found);
  return { command, status: 'dry-run', reason, found };
}

function report(context: Context, outcome: Outcome, inputs: Pick<Inputs, 'onViolation'>): void {
  const { status, error, found, reason } = outcome;
  const { log } = context;
  const run = found.crafting?.start.identity;
  if (error !== undefined) {
    const spoken = inWords(error, found);
    if (!isTolerated(outcome, inputs)) throw spoken;
    log.warn(spoken.message);
    for (const { message } of spoken.problems) log.detail(message);
  }
  if (reason !== undefined) log.warn(reason);
  const shown = {
    status,
    runId: run?.runId || null,
    url: run?.runId && found.controlPlane ? `${found.controlPlane}/runs/${run.runId}` : null,
    digest: found.digest ?? null,
    contract: found.crafting === undefined ? null : contractLabel(found.crafting),
    missing: unbrought(found).map(({ name }) => name),
    bundle: found.bundlePath ?? null,
  };
  print(context, shown, () => [
    {
      rows: [
        ['Status', status],
        ['Contract', shown.contract ?? ''],
        ['Run', shown.url ?? ''],
        ['Digest', shown.digest ?? ''],
      ],
    },
  ]);
}

/** The error in terms of the inputs: its message, and every problem that is not in it. Claims stay as they are, and are shown as a table. */
function inWords(error: ChainloopError, found: Found): ChainloopError {
  const claims = error.problems.filter(({ claim }) => claim !== undefined);
  if (claims.length > 0) return error;
  const [first = '', ...others] = messageOf(error, found).split('\n');
  const cause = isChainloopError(error.cause) ? error.cause : error;
  return new ChainloopError(error.code, first, { problems: others.filter((line) => line !== '').map((message) => ({ message })), cause });
}
