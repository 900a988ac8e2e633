import { join } from 'node:path';
import { ChainloopError } from '../core/errors.ts';
import type { Saved } from '../plugin/ending.ts';
import { failed } from '../plugin/failure.ts';
import { attestationName, type Inputs } from '../plugin/inputs.ts';
import { finished, nothingFound, type Outcome } from '../plugin/outcome.ts';
import { reasonOf } from '../plugin/words.ts';
import { attestFlags, readAttestInputs, readReports } from './attest-inputs.ts';
import { answerOf, report } from './attest-report.ts';
import { reportFiles, writeReports } from './attest-reports.ts';
import { ciPlatform, forkOf } from './ci.ts';
import { command } from './command.ts';
import type { Context } from './context.ts';
import { openJobMemory } from './job-memory.ts';

export const attest = command({
  name: 'attest',
  about: 'attest in one step: collect evidence, check it against the contract, sign and push it',
  examples: [
    'chainloop attest --materials binary=dist/app --materials sbom=dist/app.cdx.json',
    'chainloop attest --workflow release --on-outage defer --reports .',
    'chainloop attest --command add --materials binary-arm64=dist/app-arm64',
  ],
  details: `What a CI job calls, whichever CI system it is of. Every option can be given as a variable too: CHAINLOOP_ON_OUTAGE for --on-outage. All
problems of the evidence are found, and said, before anything is sent. At the end of the job 'chainloop ci-finish' ends what this began.`,
  flags: attestFlags,
  run: async (context, flags) => {
    const reports = readReports(context, flags);
    const found = nothingFound();
    let inputs: Inputs | undefined;
    let outcome: Outcome;
    try {
      inputs = await readAttestInputs(context, flags);
      found.given = inputs.materials.map(({ name }) => name);
      outcome = await perform(context, inputs, { found, reports });
    } catch (error) {
      outcome = failed(error, inputs, found);
    }
    const answer = answerOf(outcome);
    if (reports !== undefined)
      for (const failure of await writeReports(reports, outcome, answer)) context.log.warn(`the report could not be written: ${failure}`);
    report(context, outcome, answer, inputs ?? { onViolation: 'contract' });
  },
});

type Place = { readonly found: Outcome['found']; readonly reports: string | undefined };

async function perform(context: Context, inputs: Inputs, { found, reports }: Place): Promise<Outcome> {
  const { command } = inputs;
  const reason = inputs.auth === 'token' ? undefined : forkOf(context.env);
  const dry = inputs.dryRun || (reason !== undefined && inputs.forkPr === 'dry-run');
  if (reason !== undefined && !dry) {
    if (inputs.forkPr === 'skip') return { command, status: 'skipped', reason, found };
    throw new ChainloopError('UNAUTHENTICATED', `${reason}, and fork-pr is 'fail'`);
  }
  const { attested, tried } = await import('../plugin/perform.ts');
  const platform = ciPlatform(context, { bundlePath: reports === undefined ? undefined : join(reports, reportFiles.bundle) });
  if (dry) {
    await tried(inputs, platform, found);
    return { command, status: 'dry-run', reason, found };
  }

  const memory = await openJobMemory(context);
  let saved: Saved = { command, session: undefined, runId: '', status: '', reason: '' };
  const keep = (change: Partial<Saved>): void => {
    saved = { ...saved, ...change };
    memory?.keep(attestationName(inputs), saved);
  };
  keep({});
  try {
    const status = await attested(inputs, platform, { session: (session) => keep({ session }), run: (runId) => keep({ runId }) }, found);
    keep({ status });
    return finished(command, status, found);
  } catch (error) {
    const outcome = failed(error, inputs, found);
    keep({ status: outcome.status, ...(outcome.error !== undefined && { reason: reasonOf(outcome.error, found) }) });
    return outcome;
  }
}
